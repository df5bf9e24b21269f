"""Models whose configs lack what others have, or name one of several classes: answers as the library's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as library
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_model
from tests.builders import tokenizers
from tests.builders.families import save
from tests.builders.fixtures import Ask

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
PROMPTS = ["the cat", "Once upon a time there was a small fox"]


def gpt2_tokenizer() -> Any:
    """Bytes, with an end token and no padding token."""
    return tokenizers.byte_level(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")


def codegen() -> tuple[Any, Any]:
    """Its config has no padding token."""
    tokenizer = gpt2_tokenizer()
    config = library.CodeGenConfig(
        vocab_size=len(tokenizer), n_positions=64, n_ctx=64, n_embd=32, n_layer=2, n_head=4, rotary_dim=4,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return tokenizer, library.CodeGenForCausalLM(config)


def rwkv() -> tuple[Any, Any]:
    """Nor has its, and its passes do not look at a mask."""
    tokenizer = gpt2_tokenizer()
    config = library.RwkvConfig(
        vocab_size=len(tokenizer), context_length=64, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32,
        intermediate_size=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return tokenizer, library.RwkvForCausalLM(config)


def perceiver() -> tuple[Any, Any]:
    """Nor has its; reads bytes."""
    config = library.PerceiverConfig(
        num_latents=8, d_latents=32, d_model=32, num_blocks=1, num_self_attends_per_block=2,
        num_self_attention_heads=2, num_cross_attention_heads=2, vocab_size=262, max_position_embeddings=64,
        qk_channels=16, v_channels=32,
    )  # fmt: skip
    return library.PerceiverTokenizer(model_max_length=64), library.PerceiverForMaskedLM(config)


def ibert() -> tuple[Any, Any]:
    """Its embeddings are a class of its own."""
    config = library.IBertConfig(vocab_size=400, max_position_embeddings=66, pad_token_id=1, **SMALL)
    return tokenizers.wordpiece(), library.IBertForSequenceClassification(config)


def funnel() -> tuple[Any, Any]:
    """The second of two classes of one type."""
    config = library.FunnelConfig(
        vocab_size=400, block_sizes=[1, 1], num_decoder_layers=1, d_model=32, n_head=2, d_head=16, d_inner=64
    )
    return tokenizers.wordpiece(), library.FunnelBaseModel(config)


def bros() -> tuple[Any, Any]:
    """Reads words and where they are on a page, and will not do without the latter."""
    config = library.BrosConfig(vocab_size=400, max_position_embeddings=64, **{**SMALL, "hidden_size": 64})
    return tokenizers.wordpiece(), library.BrosForTokenClassification(config)


@pytest.mark.parametrize("make", [codegen, rwkv])
def test_generators_without_a_padding_token_write_the_librarys_tokens(made: Any, ask: Ask, make: Any) -> None:
    model, task = made(make, "text-generation"), get_task("text-generation")
    params = {"max_new_tokens": 6, "do_sample": False}
    tokenizer = library.AutoTokenizer.from_pretrained(model.path)
    own = library.AutoModelForCausalLM.from_pretrained(model.path).eval()
    wanted = []
    for prompt in PROMPTS:
        ids = own.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=6, do_sample=False)
        wanted.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    assert ask(task, model, *({"text": prompt, "params": params} for prompt in PROMPTS)) == wanted


@pytest.mark.parametrize(
    ("make", "task", "auto"),
    [
        (perceiver, "fill-mask", "AutoModelForMaskedLM"),
        (ibert, "text-classification", "AutoModelForSequenceClassification"),
    ],
)
def test_outputs_are_the_librarys(made: Any, make: Any, task: str, auto: str) -> None:
    model = made(make, task)
    inputs = model.tokenizer(PROMPTS[:1], return_tensors="np")
    own = getattr(library, auto).from_pretrained(model.path).eval()
    with torch.inference_mode():
        wanted = own(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()
    np.testing.assert_allclose(model.forward(dict(inputs))["logits"], wanted, atol=1e-5)
    assert model.max_length == 64


def test_the_class_that_a_model_was_saved_with_is_loaded(made: Any, ask: Ask) -> None:
    model = made(funnel, "feature-extraction")
    assert type(model.module) is library.FunnelBaseModel
    own = library.FunnelBaseModel.from_pretrained(model.path).eval()
    with torch.inference_mode():
        states = own(**model.tokenizer(PROMPTS[1], return_tensors="pt")).last_hidden_state[0]
    answer = ask(get_task("feature-extraction"), model, {"text": PROMPTS[1]})
    np.testing.assert_allclose(answer, states.mean(0).numpy(), atol=1e-5)


def test_words_of_which_nobody_says_where_they_are_have_boxes_of_zeros(made: Any) -> None:
    model = made(bros, "token-classification")
    inputs = model.tokenizer(PROMPTS[1], return_tensors="np")
    own = library.BrosForTokenClassification.from_pretrained(model.path).eval()
    with torch.inference_mode():
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        wanted = own(**given, bbox=torch.zeros(*given["input_ids"].shape, 4)).logits.numpy()
    np.testing.assert_allclose(model.forward(dict(inputs))["logits"], wanted, atol=1e-5)


def test_an_image_model_beside_a_tokenizer_is_loaded_with_its_own_class(tmp_path: Path) -> None:
    config = library.DeiTConfig(image_size=32, patch_size=8, **SMALL)
    torch.manual_seed(0)
    save(tmp_path, tokenizers.wordpiece(), library.DeiTForImageClassificationWithTeacher(config))
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    model: Any = load_model("transformers", tmp_path, get_task("image-classification").heads, device="cpu")
    assert type(model.module) is library.DeiTForImageClassificationWithTeacher
    pixels = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    own = library.DeiTForImageClassificationWithTeacher.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        wanted = own(torch.from_numpy(pixels)).logits.numpy()
    np.testing.assert_allclose(model.forward({"pixel_values": pixels})["logits"], wanted, atol=1e-5)
