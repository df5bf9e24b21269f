"""An adapter beside its base's weights answers what PEFT's own merged model answers, and leaves the base as it is."""

from __future__ import annotations

import gc
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
from modelyard.tasks.automatic_speech_recognition import TASK as TRANSCRIPTION
from modelyard.worker.runtimes.adapted_model import AdaptedModel, load_beside
from modelyard.worker.runtimes.adapters import load_adapted_model
from modelyard.worker.runtimes.token_rows import TokenRows
from modelyard.worker.runtimes.transformers import TransformersModel, load_model
from tests.builders.adapters import change_config, greedy, make_adapter, merged, peft_config
from tests.builders.fixtures import Ask
from tests.builders.recordings import in_base64, noise, wav
from tests.worker.runtimes.test_adapters import TEXT, grown, lora, tokens, with_another_weight, without_weight

Folder = Callable[[str], Path]
NEW_TOKENS = 12


@pytest.fixture
def llama(model_folder: Folder) -> TransformersModel:
    """A model of the test's own: what is beside its weights is looked at."""
    return load_model(model_folder("llama_chat"), ("causal-lm",))


def without_end(ids: list[int]) -> list[int]:
    return [each for each in ids if each != 2]


def without_copies(folder: Path) -> Path:
    """The adapter without the base's last layer, which PEFT saves beside the matrices for it."""
    file = folder / "adapter_model.safetensors"
    save_file({name: weight for name, weight in load_file(file).items() if ".base_layer." not in name}, file)
    return folder


def hooked(model: TransformersModel) -> list[str]:
    """The layers that have a pass of their own."""
    return [name for name, layer in model.module.named_modules() if layer._forward_hooks]


CONFIGS: dict[str, tuple[str, Callable[[], Any]]] = {
    "llama": ("llama_chat", lora),
    "rank-stabilised": ("llama_chat", lambda: lora(use_rslora=True)),
    "ranks and weights of their own": (
        "llama_chat",
        lambda: lora(
            rank_pattern={"v_proj": 2, "^model.layers.1.self_attn.q_proj": 6, "proj": 3},
            alpha_pattern={"layers.1.self_attn.v_proj": 32, "q_proj": 1},
        ),
    ),
    "last layer": ("llama_chat", lambda: lora(target_modules=["q_proj", "lm_head"])),
    "gpt2, layers the other way round": (
        "gpt2",
        lambda: peft_config("LoraConfig", r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"], task_type="CAUSAL_LM"),
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_tokens_are_those_of_the_merged_model(name: str, model_folder: Folder, tmp_path: Path) -> None:
    kind, config = CONFIGS[name]
    base = model_folder(kind)
    folder = without_copies(make_adapter(base, tmp_path / "adapter", config()))
    model = load_model(base, ("causal-lm",))
    before = tokens(model)

    adapted = load_beside(model, folder)()

    expected = without_end(greedy(merged(base, folder), model.tokenizer, TEXT))
    assert tokens(adapted)[: len(expected)] == expected
    assert tokens(model) == before != tokens(adapted)


def test_what_is_heard_is_what_the_merged_model_hears(model_folder: Folder, tmp_path: Path, ask: Ask) -> None:
    base = model_folder("whisper")
    config = lora(target_modules=["q_proj", "v_proj"], task_type=None)
    folder = make_adapter(base, tmp_path / "adapter", config, kind=library.AutoModelForSpeechSeq2Seq)
    model = load_model(base, ("speech-seq2seq",))
    whole = merged(base, folder, kind=library.AutoModelForSpeechSeq2Seq)
    expected = TransformersModel(base, whole, model.tokenizer, model.processor)
    heard = {"base64": in_base64(wav(noise(1.5))), "params": {"return_timestamps": "word"}}

    adapted = load_beside(model, folder)()

    assert ask(TRANSCRIPTION, adapted, heard) == ask(TRANSCRIPTION, expected, heard) != ask(TRANSCRIPTION, model, heard)
    alone = load_adapted_model(folder, base, ("speech-seq2seq",), device="cpu")
    assert ask(TRANSCRIPTION, alone, heard) == ask(TRANSCRIPTION, expected, heard)
    features = {"input_features": np.ones((1, 16, 200), np.float32)}
    encoded, wanted, base_encoded = (each.encode(features) for each in (adapted, expected, model))
    np.testing.assert_allclose(encoded, wanted, rtol=1e-3, atol=1e-5)
    assert not np.allclose(encoded, base_encoded, rtol=1e-2)
    source = {"encoder_outputs": encoded, "decoder_input_ids": np.array([[5, 6, 7]])}
    looked, wanted, base_looked = (each.attend(source, [(1, 0)]) for each in (adapted, expected, model))
    np.testing.assert_allclose(looked, wanted, rtol=1e-3, atol=1e-5)
    assert not np.allclose(looked, base_looked, rtol=1e-2)


def some_adapters(base: Path, folder: Path, model: TransformersModel, count: int) -> list[AdaptedModel]:
    """Adapters of different layers and ranks."""
    layers = [["q_proj", "v_proj"], ["down_proj"], ["v_proj", "lm_head"]]
    return [
        load_beside(
            model,
            without_copies(
                make_adapter(base, folder / str(number), lora(r=2 + number, target_modules=layers[number]), seed=number)
            ),
        )()
        for number in range(count)
    ]


def test_rows_of_several_adapters_and_of_the_base_go_through_the_model_together(
    llama: TransformersModel, model_folder: Folder, tmp_path: Path
) -> None:
    models: list[Any] = [llama, *some_adapters(model_folder("llama_chat"), tmp_path, llama, 3), llama]
    texts = [TEXT, "One upon a time there was", "A", "What is it?", "Somebody"]
    expected = [tokens(model, text, NEW_TOKENS) for model, text in zip(models, texts, strict=True)]
    rows = llama.find_token_model()
    assert isinstance(rows, TokenRows)
    plan = rows.find_plan({"do_sample": False, "max_new_tokens": NEW_TOKENS})
    assert plan is not None
    opened = [
        rows.open_rows(llama.tokenizer(text)["input_ids"], plan, model)
        for text, model in zip(texts, models, strict=True)
    ]

    made: dict[Any, list[int]] = {row: [] for (row,) in opened}
    answers = rows.read(opened, 1000)
    at_once = [len(answers)]
    for _ in range(NEW_TOKENS):
        for answer in answers:
            made[answer.row].append(answer.token)
        answers = list(rows.step())
        at_once.append(len(answers))

    assert set(at_once) == {len(texts)}
    assert len(rows._stepped) == 1
    for (row,), ids in zip(opened, expected, strict=True):
        assert made[row][: len(ids)] == list(ids)


def test_what_one_adapter_has_read_is_of_no_use_to_another(
    llama: TransformersModel, model_folder: Folder, tmp_path: Path
) -> None:
    models: list[Any] = [llama, *some_adapters(model_folder("llama_chat"), tmp_path, llama, 2)]
    prompt = llama.tokenizer("I am the one who was there and saw it all. " * 6)["input_ids"][:80]
    rows = llama.find_token_model()
    assert isinstance(rows, TokenRows)
    plan = rows.find_plan({"do_sample": False, "max_new_tokens": NEW_TOKENS})
    assert plan is not None
    assert len(prompt) == 80

    def chosen(model: Any) -> tuple[int, int]:
        """The first token, and how many of the prompt's were read."""
        opened = rows.open_rows(prompt, plan, model)
        unread = opened[0].unread
        (answer,) = rows.read([opened], 1000)
        rows.release(opened)
        return answer.token, unread

    first = [chosen(model) for model in models]
    again = [chosen(model) for model in models]

    assert [unread for _, unread in first] == [80] * 3
    assert [unread for _, unread in again] == [1] * 3
    assert [token for token, _ in first] == [token for token, _ in again]


def test_what_is_beside_the_weights_goes_with_who_used_it_last(
    llama: TransformersModel, model_folder: Folder, tmp_path: Path
) -> None:
    first, second = some_adapters(model_folder("llama_chat"), tmp_path, llama, 2)
    assert {name.rpartition(".")[2] for name in hooked(llama)} == {"q_proj", "v_proj", "down_proj"}
    answer = tokens(second)

    del first
    gc.collect()

    assert {name.rpartition(".")[2] for name in hooked(llama)} == {"down_proj"}
    assert tokens(second) == answer
    del second
    gc.collect()
    assert not hooked(llama)


def test_a_tokenizer_with_the_bases_words_is_held_once(
    llama: TransformersModel, model_folder: Folder, tmp_path: Path
) -> None:
    base = model_folder("llama_chat")
    folder = make_adapter(base, tmp_path / "adapter", lora())
    assert load_beside(llama, folder)().tokenizer is llama.tokenizer
    tokenizer = library.AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{% for message in messages %}note: {{ message['content'] }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    messages = [{"role": "user", "content": TEXT}]
    before = llama.tokenizer.apply_chat_template(messages, tokenize=False)

    adapted = load_beside(llama, folder)()

    assert adapted.tokenizer.apply_chat_template(messages, tokenize=False) == f"note: {TEXT}"
    assert adapted.tokenizer.backend_tokenizer is llama.tokenizer.backend_tokenizer
    assert llama.tokenizer.apply_chat_template(messages, tokenize=False) == before


def narrower(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(
        {name: weight[:, :-1].contiguous() for name, weight in weights.items()}, folder / "adapter_model.safetensors"
    )


def without_numbers(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: each * float("nan") for name, each in weights.items()}, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_weight, "it has no weights for"),
        (with_another_weight, "its base has no place for"),
        (narrower, "the layer has 32 inputs"),
        (without_numbers, "NaN"),
        (lambda folder: change_config(folder, target_modules=["nowhere"]), "its base has no place for"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "cannot be loaded"),
        (
            lambda folder: change_config(folder, rank_pattern={"q_proj": 3}),
            "of rank 4, and its adapter_config.json says 3",
        ),
    ],
)
def test_what_does_not_fit_its_base_is_refused(
    spoil: Callable[[Path], None], said: str, llama: TransformersModel, model_folder: Folder, tmp_path: Path
) -> None:
    folder = make_adapter(model_folder("llama_chat"), tmp_path / "adapter", lora(target_modules=["q_proj"]))
    spoil(folder)

    with pytest.raises(ModelRefused, match=said):
        load_beside(llama, folder)()
    assert not hooked(llama)


def test_embeddings_and_added_words_are_no_matter_of_linear_layers(
    llama: TransformersModel, model_folder: Folder, tmp_path: Path
) -> None:
    base = model_folder("llama_chat")
    embeddings = make_adapter(base, tmp_path / "embeddings", lora(target_modules=["q_proj", "embed_tokens"]))
    for folder in (embeddings, grown(base, tmp_path / "grown")):
        with pytest.raises(ModelRefused):
            load_beside(llama, folder)()


def test_files_are_not_needed_once_it_is_loaded(llama: TransformersModel, model_folder: Folder, tmp_path: Path) -> None:
    folder = make_adapter(model_folder("llama_chat"), tmp_path / "adapter", lora())
    adapted = load_beside(llama, folder)()
    expected = tokens(adapted)
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 4

    shutil.rmtree(folder)

    assert tokens(adapted) == expected
    assert all(pair[1].dtype is torch.float32 for pair in adapted.lora.pairs.values())
