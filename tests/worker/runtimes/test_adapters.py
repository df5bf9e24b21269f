"""A base with an adapter in its weights answers what PEFT's own merged model answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as library
from safetensors.torch import load_file, save_file

from modelyard.errors import ModelRefused
from modelyard.worker.runtimes.adapters import load_adapted_model
from tests.builders.adapters import change_config, greedy, make_adapter, merged, peft_config
from tests.worker.runtimes.conftest import Preloaded
from tests.worker.runtimes.preloaded import TEXT

LLAMA = {"target_modules": ["q_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM"}
Folder = Callable[[str], Path]


def lora(**more: Any) -> Any:
    return peft_config("LoraConfig", **{"r": 4, "lora_alpha": 8, **LLAMA, **more})


def tokens(model: Any, text: str = TEXT, count: int = 12) -> list[int]:
    inputs = dict(model.tokenizer(text, return_tensors="np"))
    options = {"do_sample": False, "max_new_tokens": count}
    return list(model.generate(inputs, options, lambda row, made: False)[0][0].tokens)


CONFIGS = {
    "lora": lora,
    "dora": lambda: lora(use_dora=True),
    "rslora": lambda: lora(use_rslora=True),
    "patterns": lambda: lora(rank_pattern={"v_proj": 2}, alpha_pattern={"q_proj": 32}),
    "lora_bias": lambda: lora(lora_bias=True, target_modules=["q_proj"]),
    "embeddings": lambda: lora(modules_to_save=["embed_tokens"]),
    "embedding-matrices": lambda: lora(target_modules=["q_proj", "embed_tokens"]),
    "some-layers": lambda: lora(layers_to_transform=[1]),
    "regular-expression": lambda: lora(target_modules=r".*\.1\.self_attn\.(q|k)_proj"),
    "all-linear": lambda: lora(target_modules="all-linear"),
    "ia3": lambda: peft_config("IA3Config", **LLAMA, feedforward_modules=["down_proj"]),
    "loha": lambda: peft_config("LoHaConfig", r=4, **LLAMA),
    "lokr": lambda: peft_config("LoKrConfig", r=4, **LLAMA),
    "adalora": lambda: peft_config("AdaLoraConfig", init_r=4, target_r=2, total_step=10, **LLAMA),
    "oft": lambda: peft_config("OFTConfig", r=0, oft_block_size=4, **LLAMA),
    "boft": lambda: peft_config("BOFTConfig", boft_block_size=4, **LLAMA),
    "vera": lambda: peft_config("VeraConfig", r=4, task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj"]),
    "fourierft": lambda: peft_config("FourierFTConfig", n_frequency=20, **LLAMA),
    "hra": lambda: peft_config("HRAConfig", r=4, **LLAMA),
    "ln_tuning": lambda: peft_config("LNTuningConfig", task_type="CAUSAL_LM", target_modules=["input_layernorm"]),
}


SELDOM = ("adalora", "boft", "fourierft", "hra", "ln_tuning", "loha", "lokr", "oft", "some-layers", "vera")
"""Types that few people publish: looked at by `make verify`."""


def by_use(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.verify(part="variants")) if name in SELDOM else name


@pytest.mark.parametrize("name", [by_use(name) for name in CONFIGS])
def test_greedy_tokens_are_those_of_the_merged_model(name: str, model_folder: Folder, tmp_path: Path) -> None:
    base = model_folder("llama_chat")
    folder = make_adapter(base, tmp_path / "adapter", CONFIGS[name]())

    model = load_adapted_model(folder, base, ("causal-lm",))

    alone = library.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    expected = greedy(merged(base, folder, merges=name != "lora_bias"), model.tokenizer, TEXT)
    assert tokens(model)[: len(expected)] == [each for each in expected if each != 2]
    assert expected != greedy(alone, model.tokenizer, TEXT)


def test_a_process_that_replicas_are_forked_from_can_merge_it(preloaded: Preloaded) -> None:
    assert preloaded.found["adapted"] == tokens(load_adapted_model(preloaded.adapter, preloaded.base, ("causal-lm",)))


def test_a_classifier_has_the_labels_that_its_adapter_was_trained_for(model_folder: Folder, tmp_path: Path) -> None:
    base, kind = model_folder("bert_masked_lm"), library.AutoModelForSequenceClassification
    config = peft_config(
        "LoraConfig", r=4, target_modules=["query"], task_type="SEQ_CLS", modules_to_save=["classifier", "pooler"]
    )
    folder = make_adapter(base, tmp_path / "adapter", config, kind=kind, num_labels=3)

    model = load_adapted_model(folder, base, ("sequence-classification",))

    logits = model.forward(dict(model.tokenizer(TEXT, return_tensors="np")))["logits"]
    with torch.inference_mode():
        reference = merged(base, folder, kind=kind, num_labels=3)
        expected = reference(**model.tokenizer(TEXT, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert len(model.labels) == 3


def test_a_classifier_without_its_last_layer_is_refused(model_folder: Folder, tmp_path: Path) -> None:
    base, kind = model_folder("bert_masked_lm"), library.AutoModelForSequenceClassification
    folder = make_adapter(base, tmp_path / "adapter", peft_config("LoraConfig", target_modules=["query"]), kind=kind)

    with pytest.raises(ModelRefused, match=r"no weights for .*classifier"):
        load_adapted_model(folder, base, ("sequence-classification",))


def test_an_encoder_gives_the_states_of_the_merged_one(model_folder: Folder, tmp_path: Path) -> None:
    base, kind = model_folder("bert_encoder"), library.AutoModel
    config = peft_config("LoraConfig", r=4, target_modules=["query", "value"], task_type="FEATURE_EXTRACTION")
    folder = make_adapter(base, tmp_path / "adapter", config, kind=kind)

    model = load_adapted_model(folder, base, ("base",))

    states = model.forward(dict(model.tokenizer(TEXT, return_tensors="np")))["last_hidden_state"]
    with torch.inference_mode():
        reference = merged(base, folder, kind=kind)
        expected = reference(**model.tokenizer(TEXT, return_tensors="pt")).last_hidden_state.numpy()
    np.testing.assert_allclose(states, expected, atol=1e-5)


def grown(base: Path, folder: Path, *, saves_embeddings: bool = True) -> Path:
    """An adapter whose tokenizer has a token, and a template, that its base's has not."""
    tokenizer = library.AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<|note|>"], special_tokens=True)
    tokenizer.chat_template = "{% for message in messages %}<|note|>{{ message['content'] }}{% endfor %}"

    def grow(model: Any) -> None:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)

    config = lora(modules_to_save=["embed_tokens", "lm_head"]) if saves_embeddings else lora()
    make_adapter(base, folder, config, before=grow if saves_embeddings else lambda model: None)
    tokenizer.save_pretrained(folder)
    return folder


def test_added_tokens_and_a_template_of_its_own_are_the_adapters(model_folder: Folder, tmp_path: Path) -> None:
    base = model_folder("llama_chat")
    folder = grown(base, tmp_path / "adapter")

    model = load_adapted_model(folder, base, ("causal-lm",))

    prompt = model.tokenizer.apply_chat_template([{"role": "user", "content": TEXT}], tokenize=False)
    assert prompt == f"<|note|>{TEXT}"
    words = len(model.tokenizer)
    expected = greedy(merged(base, folder, words=words), model.tokenizer, prompt)
    assert tokens(model, prompt)[: len(expected)] == [each for each in expected if each != 2]
    assert words > library.AutoConfig.from_pretrained(base).vocab_size


def test_added_tokens_without_embeddings_are_refused(model_folder: Folder, tmp_path: Path) -> None:
    base = model_folder("llama_chat")
    folder = grown(base, tmp_path / "adapter", saves_embeddings=False)

    with pytest.raises(ModelRefused, match="the adapter brings none"):
        load_adapted_model(folder, base, ("causal-lm",))


def without_weight(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, folder / "adapter_model.safetensors")


def with_another_weight(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    weights["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] = torch.ones(4, 32)
    save_file(weights, folder / "adapter_model.safetensors")


def with_other_shapes(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: torch.ones(4, 40) for name in weights}, folder / "adapter_model.safetensors")


def with_no_numbers(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: each * float("nan") for name, each in weights.items()}, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_weight, "it has no weights for"),
        (with_another_weight, "its base has no place for"),
        (with_other_shapes, "size mismatch"),
        (with_no_numbers, "NaN"),
        (lambda folder: change_config(folder, target_modules=["nowhere"]), "not found in the base model"),
        (lambda folder: change_config(folder, r=10**9), "none of its weights is wider"),
        (lambda folder: change_config(folder, r=-1), "its rank is -1"),
        (lambda folder: change_config(folder, peft_type="NO_SUCH"), "cannot be loaded"),
    ],
)
def test_what_does_not_fit_its_base_is_refused(
    spoil: Callable[[Path], None], said: str, model_folder: Folder, tmp_path: Path
) -> None:
    base = model_folder("llama_chat")
    folder = make_adapter(base, tmp_path / "adapter", lora(target_modules=["q_proj"]))
    spoil(folder)

    with pytest.raises(ModelRefused, match=said):
        load_adapted_model(folder, base, ("causal-lm",))


@pytest.mark.parametrize("left", ["adapter_config.json", "adapter_model.bin"])
def test_what_is_left_of_an_adapter_beside_a_whole_model_is_passed_over(
    left: str, model_folder: Folder, tmp_path: Path
) -> None:
    from modelyard.worker.runtimes.transformers import load_model

    base = model_folder("llama_chat")
    whole = Path(shutil.copytree(base, tmp_path / "whole"))
    config = lora().to_dict() | {"base_model_name_or_path": "no/base", "target_modules": ["q_proj"]}
    (whole / "adapter_config.json").write_text(json.dumps(config))
    (whole / left).touch()

    assert tokens(load_model(whole, ("causal-lm",))) == tokens(load_model(base, ("causal-lm",)))


def test_a_whole_model_with_an_adapter_beside_it_is_the_model_that_the_library_loads(
    model_folder: Folder, tmp_path: Path
) -> None:
    from modelyard.worker.runtimes.transformers import load_model

    base = model_folder("llama_chat")
    both = Path(shutil.copytree(base, tmp_path / "both"))
    make_adapter(base, tmp_path / "adapter", lora())
    for file in (tmp_path / "adapter").iterdir():
        if file.suffix in (".json", ".safetensors"):
            shutil.copy(file, both)

    model = load_model(both, ("causal-lm",))

    reference = library.AutoModelForCausalLM.from_pretrained(both, dtype=torch.float32).eval()
    expected = greedy(reference, model.tokenizer, TEXT)
    assert tokens(model)[: len(expected)] == [each for each in expected if each != 2]
    assert json.loads((both / "adapter_config.json").read_text())["peft_type"] == "LORA"
