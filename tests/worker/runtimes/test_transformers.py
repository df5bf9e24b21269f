"""The torch runtime: what it loads, what it refuses, and what a failure leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from modelyard.errors import BootFailed, InferenceFailed, InvalidRequest, ModelRefused
from modelyard.worker.runtimes import linear_products
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.generation_batches import groups
from modelyard.worker.runtimes.generation_settings import new_token_limit

IDS = np.array([[5, 6, 7, 8]], dtype=np.int64)
INPUTS = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}


def nothing(_row, _tokens):
    return False


@pytest.fixture
def gpt2(load):
    return load("gpt2", "causal-lm")


def test_loaded_model_tells_what_it_is(load, model_folder):
    model = load("bert_classifier", "sequence-classification")
    assert model.path == model_folder("bert_classifier")
    assert model.labels == {0: "negative", 1: "neutral", 2: "positive"}
    assert model.max_length == 64
    assert model.config["model_type"] == "bert"


@pytest.mark.parametrize(
    ("family", "head", "limit"),
    [
        ("gpt2", "causal-lm", 128),
        ("llama_chat", "causal-lm", 256),
        ("t5", "seq2seq-lm", 64),
        ("bart", "seq2seq-lm", 128),
    ],
)
def test_longest_input_is_found(load, family, head, limit):
    assert load(family, head).max_length == limit


def test_roberta_positions_start_behind_the_padding(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    from tests.builders import tokenizers
    from tests.builders.families import save

    config = RobertaConfig(
        vocab_size=420, hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16,
        max_position_embeddings=34,
    )  # fmt: skip
    tokenizer = tokenizers.byte_level(["<s>", "<pad>", "</s>"], pad_token="<pad>", eos_token="</s>", bos_token="<s>")
    save(tmp_path, tokenizer, RobertaModel(config))
    model = load_model("transformers", tmp_path, ("base",), device="cpu")
    assert model.max_length == 32
    longest = np.full((1, 32), 5)
    assert (
        model.forward({"input_ids": longest, "attention_mask": np.ones_like(longest)})["last_hidden_state"].shape[1]
        == 32
    )


def test_forward_is_the_librarys_and_leaves_out_what_the_model_does_not_take(gpt2):
    from tests.builders.reference import library_model

    with torch.inference_mode():
        expected = library_model("AutoModelForCausalLM", gpt2.path)(torch.from_numpy(IDS)).logits.numpy()
    outputs = gpt2.forward({**INPUTS, "no_such_argument": IDS})
    assert np.allclose(outputs["logits"], expected, atol=1e-5)
    assert set(outputs) == {"logits"}


def test_the_head_it_was_saved_with_wins_over_the_first_offered(model_folder):
    model = load_model("transformers", model_folder("bert_masked_lm"), ("base", "masked-lm"), device="cpu")
    assert "logits" in model.forward(INPUTS)


def test_encoder_decoder_as_a_base_model_is_its_encoder(load):
    assert load("t5", "base").forward(INPUTS)["last_hidden_state"].shape == (1, 4, 32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_become_float32_on_the_cpu(model_folder, tmp_path, dtype):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(model_folder("gpt2"), dtype=dtype).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model_folder("gpt2")).save_pretrained(tmp_path)
    model = load_model("transformers", tmp_path, ("causal-lm",), device="cpu")
    assert {parameter.dtype for parameter in model._model.parameters()} == {torch.float32}
    assert model.forward(INPUTS)["logits"].dtype == np.float32


@pytest.mark.parametrize(
    ("family", "head", "reason"),
    [
        ("bert_encoder", "sequence-classification", "classifier"),
        ("bert_classifier", "question-answering", "qa_outputs"),
        ("bert_encoder", "seq2seq-lm", "bert models offer none of: seq2seq-lm"),
    ],
)
def test_model_of_another_task_is_refused(model_folder, family, head, reason):
    with pytest.raises(ModelRefused, match=reason):
        load_model("transformers", model_folder(family), (head,), device="cpu")


def copy_of(folder: Path, to: Path, *, without: str) -> Path:
    for file in folder.iterdir():
        if file.name != without:
            (to / file.name).write_bytes(file.read_bytes())
    return to


def test_pickled_weights_are_never_opened(model_folder, tmp_path):
    folder = copy_of(model_folder("gpt2"), tmp_path, without="model.safetensors")
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelRefused, match="safetensors"):
        load_model("transformers", folder, ("causal-lm",), device="cpu")


def test_a_repositorys_own_code_is_not_run_unless_allowed(model_folder, tmp_path):
    folder = copy_of(model_folder("gpt2"), tmp_path, without="config.json")
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": own}))
    (folder / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelRefused, match=r"cannot be loaded"):
        load_model("transformers", folder, ("causal-lm",), device="cpu")


@pytest.mark.parametrize("broken", ["config.json", "tokenizer.json"])
def test_missing_file_is_a_clear_refusal(model_folder, tmp_path, broken):
    folder = copy_of(model_folder("gpt2"), tmp_path, without=broken)
    with pytest.raises(ModelRefused, match=folder.name):
        load_model("transformers", folder, ("causal-lm",), device="cpu")


def test_unknown_runtime_and_device_are_boot_failures(model_folder):
    with pytest.raises(BootFailed, match="transformers"):
        load_model("abacus", model_folder("gpt2"), ("causal-lm",))
    if not torch.cuda.is_available():
        with pytest.raises(BootFailed, match="no CUDA"):
            load_model("transformers", model_folder("gpt2"), ("causal-lm",), device="cuda")


def test_failure_is_one_clear_error_and_the_next_request_works(gpt2):
    outside = {"input_ids": np.array([[10**6]]), "attention_mask": np.array([[1]])}
    with pytest.raises(InferenceFailed, match="failed on this input"):
        gpt2.forward(outside)
    with pytest.raises(InferenceFailed):
        gpt2.generate(outside, {}, nothing)
    assert gpt2.generate(INPUTS, {"max_new_tokens": 3, "min_new_tokens": 3}, nothing)


@pytest.mark.parametrize(
    ("family", "head", "inputs"),
    [
        ("bert_classifier", "sequence-classification", INPUTS),
        ("vit_classifier", "image-classification", {"pixel_values": np.ones((3, 3, 32, 32), np.float32)}),
        ("wav2vec2_classifier", "audio-classification", {"input_values": np.ones((2, 16_000), np.float32)}),
    ],
)
def test_a_pass_makes_the_same_by_either_product(load, multiply_in_turns, family, head, inputs):
    model = load(family, head)
    usual = model.forward(inputs)["logits"]
    by_onednn = multiply_in_turns(model)
    np.testing.assert_allclose(model.forward(inputs)["logits"], usual, rtol=1e-5, atol=1e-5)
    assert by_onednn


SOUND = {
    "input_features": np.random.default_rng(0).normal(size=(2, 16, 200)).astype(np.float32),
    "decoder_input_ids": np.array([[5, 6, 7], [5, 8, 9]]),
}


def read_by(model):
    """What its encoder has made of the sound, in place of the sound."""
    encoded = model.encode({"input_features": SOUND["input_features"]})
    return {"encoder_outputs": encoded, "decoder_input_ids": SOUND["decoder_input_ids"]}


def seen(model):
    """A picture, and a word about it."""
    ids = np.array([[model.config["image_token_index"]] * 16 + [5]])
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "pixel_values": np.ones((1, 3, 32, 32), np.float32)}


@pytest.mark.parametrize(
    ("family", "head", "inputs"),
    [
        ("t5", "seq2seq-lm", lambda _: INPUTS),
        ("whisper", "speech-seq2seq", lambda _: SOUND),
        ("llava", "image-text-to-text", seen),
    ],
    ids=["t5", "whisper", "llava"],
)
def test_what_is_written_is_the_same_by_either_product(load, multiply_in_turns, family, head, inputs):
    model = load(family, head)
    asked = (inputs(model), {"max_new_tokens": 8, "do_sample": False}, nothing)
    usual = model.generate(*asked)
    by_onednn = multiply_in_turns(model)
    assert model.generate(*asked) == usual
    assert by_onednn


def test_whispers_decoder_shows_where_it_looked_and_others_do_not(load):
    assert load("whisper", "speech-seq2seq").shows_attention
    assert not load("moonshine", "speech-seq2seq").shows_attention


def test_where_a_model_looked_is_told_without_scores_of_the_vocabulary(load):
    model, scored = load("whisper", "speech-seq2seq"), []
    hook = model.module.proj_out.register_forward_hook(lambda *_: scored.append(True))
    try:
        looked = model.attend(read_by(model), [(1, 0)])
    finally:
        hook.remove()
    assert looked.shape == (2, 1, 3, 100)
    assert not scored


def test_where_a_model_looked_is_the_same_by_either_product(load, multiply_in_turns):
    model = load("whisper", "speech-seq2seq")
    usual = model.attend(read_by(model), [(1, 0)])
    by_onednn = multiply_in_turns(model)
    np.testing.assert_allclose(model.attend(read_by(model), [(1, 0)]), usual, rtol=1e-4, atol=1e-6)
    assert by_onednn


@pytest.mark.parametrize(
    ("precision", "ways"), [(None, [{}, {"num_beams": 2}, {"do_sample": True, "seed": 7}]), ("bf16", [{}])]
)
def test_what_the_encoder_has_given_stands_for_what_it_read(model_folder, precision, ways):
    model = load_model("transformers", model_folder("whisper"), ("speech-seq2seq",), device="cpu", precision=precision)
    given, other = read_by(model), {**SOUND, "input_features": SOUND["input_features"] * -3}
    for way in ways:
        options = {"max_new_tokens": 8, "do_sample": False, **way}
        written, wanted, others = (model.generate(each, options, nothing) for each in (given, SOUND, other))
        assert written == wanted != others
    logits, wanted, others = (model.forward(each)["logits"] for each in (given, SOUND, other))
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-6)
    assert not np.allclose(logits, others, rtol=1e-2)


def test_a_pass_that_fails_leaves_the_layers_as_they_were(model_folder, monkeypatch):
    monkeypatch.setattr(linear_products, "LEAST_WEIGHTS", 1)
    model = load_model("transformers", model_folder("bert_classifier"), ("sequence-classification",), device="cpu")
    layer, seen = model.module.classifier, []

    def fails(*_):
        seen.append("forward" in vars(layer))
        raise ValueError("wrong")

    layer.register_forward_hook(fails)
    with pytest.raises(InferenceFailed, match="failed on this input"):
        model.forward(INPUTS)
    assert seen == [True]
    assert "forward" not in vars(layer)


def test_running_out_of_memory_says_how_large_the_batch_was(gpt2, monkeypatch):
    def exhausted(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpt2._model, "forward", exhausted)
    with pytest.raises(InferenceFailed, match=r"ran out of memory on a batch of 1 × 4 tokens"):
        gpt2.forward(INPUTS)


def test_errors_of_whoever_takes_the_tokens_are_not_hidden(gpt2):
    def fails(_row, _tokens):
        raise InvalidRequest("stop")

    with pytest.raises(InvalidRequest, match="stop"):
        gpt2.generate(INPUTS, {}, fails)


def test_end_and_padding_are_not_in_the_rows(load):
    script = load("gpt2_script", "causal-lm")
    rows = script.generate(
        {"input_ids": np.array([[0, 5], [5, 5]]), "attention_mask": np.array([[0, 1], [1, 1]])}, {}, nothing
    )
    whole = script.tokenizer(" Hi 🦊☕ 火星 ok.")["input_ids"]
    assert [row.tokens for (row,) in rows] == [whole, whole[1:]]


def test_the_models_own_sampling_settings_are_followed_and_can_be_overruled(model_folder, tmp_path):
    folder = copy_of(model_folder("gpt2"), tmp_path, without="generation_config.json")
    (folder / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "temperature": 1.8, "eos_token_id": 0})
    )
    model = load_model("transformers", folder, ("causal-lm",), device="cpu")
    ten = {"max_new_tokens": 10, "min_new_tokens": 10}
    assert model.generate(INPUTS, ten, nothing) != model.generate(INPUTS, ten, nothing)
    greedy = {**ten, "do_sample": False}
    assert model.generate(INPUTS, greedy, nothing) == model.generate(INPUTS, greedy, nothing)


def test_forked_replicas_draw_different_numbers(gpt2):
    def sample() -> bytes:
        options = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 12, "min_new_tokens": 12}
        return repr(gpt2.generate(INPUTS, options, nothing)).encode()

    assert len({in_fork(sample) for _ in range(3)}) == 3


def in_fork(work) -> bytes:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, work())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


class Config:
    """The settings that grouping looks at."""

    max_new_tokens = max_length = None
    repetition_penalty = no_repeat_ngram_size = encoder_repetition_penalty = None
    encoder_no_repeat_ngram_size = forced_eos_token_id = None

    def __init__(self, **settings):
        vars(self).update(settings)


@pytest.mark.parametrize(
    ("settings", "how", "expected"),
    [
        ({"max_new_tokens": 5}, {}, [[0, 1, 2]]),
        ({"max_new_tokens": 5}, {"seeded": True}, [[0], [1], [2]]),
        ({"max_new_tokens": 5, "repetition_penalty": 1.1}, {}, [[0, 2], [1]]),
        ({"max_new_tokens": 5, "repetition_penalty": 1.1}, {"seq2seq": True}, [[0, 1, 2]]),
        ({"max_new_tokens": 5, "encoder_repetition_penalty": 1.1}, {"seq2seq": True}, [[0, 2], [1]]),
        ({"max_new_tokens": 5, "repetition_penalty": 1.0}, {}, [[0, 1, 2]]),
        ({"max_new_tokens": 15}, {}, [[0, 2], [1]]),
        ({"max_length": 10}, {}, [[0, 1, 2]]),
        ({}, {"window": None}, [[0, 1, 2]]),
    ],
)
def test_rows_share_a_batch_only_when_it_cannot_show(settings, how, expected):
    how = {"seeded": False, "seq2seq": False, "window": 20, **how}
    assert groups(np.array([4, 8, 4]), Config(**settings), **how) == expected


@pytest.mark.parametrize(
    ("settings", "window", "limit"),
    [({}, None, 256), ({}, 100, 90), ({"max_length": 30}, 100, 20), ({"max_new_tokens": 500}, 100, 90)],
)
def test_new_tokens_fit_the_context(settings, window, limit):
    assert new_token_limit(Config(**settings), 10, window) == limit


def test_tasks_import_no_framework():
    code = "import sys, modelyard.tasks.registry; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
