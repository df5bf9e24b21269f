from __future__ import annotations

from typing import Any

import pytest
import torch

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.families import SCRIPT
from tests.builders.fixtures import Ask, Load, output_of
from tests.builders.reference import library_model

TASK = get_task("text-generation")
PROMPTS = ["Once upon a time", "The capital of France is", "I", "What is the weather like today? It is sunny and warm."]


@pytest.fixture
def gpt2(load: Load) -> Model:
    return load("gpt2", "causal-lm")


@pytest.fixture
def script(load: Load) -> Model:
    """Writes SCRIPT by position, an end token after it, whatever it reads."""
    return load("gpt2_script", "causal-lm")


def reference(model: Model, prompt: str, **options: Any) -> Any:
    """The library's own answer, without any of our code."""
    library = library_model("AutoModelForCausalLM", model.path)
    inputs = model.tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        ids = library.generate(**inputs, pad_token_id=0, **options)[0].tolist()
    decode = model.tokenizer.decode
    before = decode(inputs["input_ids"][0].tolist(), skip_special_tokens=True)
    return prompt + decode(ids, skip_special_tokens=True)[len(before) :]


def test_answer_is_the_prompt_and_the_librarys_greedy_continuation(gpt2: Model, ask: Ask) -> None:
    for prompt in PROMPTS:
        answer = ask(TASK, gpt2, {"text": prompt, "params": {"max_new_tokens": 20}})
        assert answer == reference(gpt2, prompt, max_new_tokens=20, do_sample=False)


@pytest.mark.parametrize(
    "params",
    [
        {"max_new_tokens": 12},
        {"max_length": 30},
        {"min_length": 14, "max_length": 24},
        {"max_new_tokens": 12, "repetition_penalty": 1.5},
        {"max_new_tokens": 12, "no_repeat_ngram_size": 2},
        {"max_new_tokens": 12, "num_beams": 3},
        {"max_new_tokens": 12, "num_beams": 3, "num_return_sequences": 2},
        {"max_new_tokens": 12, "temperature": 0.9, "seed": 7},
        {"max_new_tokens": 12, "temperature": 0.9, "seed": 7, "num_return_sequences": 3},
        {"max_new_tokens": 12, "stop": ["e", "on"]},
    ],
    ids=str,
)
def test_batch_answers_as_one_by_one(gpt2: Model, ask: Ask, params: dict[str, Any]) -> None:
    bodies = [{"text": prompt, "params": params} for prompt in PROMPTS]
    assert ask(TASK, gpt2, *bodies) == [ask(TASK, gpt2, body) for body in bodies]
    assert ask(TASK, gpt2, {"text": PROMPTS, "params": params}) == [ask(TASK, gpt2, body) for body in bodies]


@pytest.mark.parametrize(("frequency", "presence"), [(1.5, 0.0), (0.0, 2.0), (0.7, -0.4)])
def test_what_was_made_becomes_less_likely(gpt2: Model, ask: Ask, frequency: float, presence: float) -> None:
    """The same as a loop over the library's scores."""
    library = library_model("AutoModelForCausalLM", gpt2.path)
    prompt = PROMPTS[0]
    ids = gpt2.tokenizer(prompt)["input_ids"]
    made: list[int] = []
    with torch.inference_mode():
        for _ in range(20):
            scores = library(torch.tensor([ids + made])).logits[0, -1]
            scores[gpt2.tokenizer.eos_token_id] = -torch.inf
            counts = torch.bincount(torch.tensor(made, dtype=torch.int64), minlength=len(scores))
            made.append(int((scores - frequency * counts - presence * (counts > 0)).argmax()))
    plain = {"max_new_tokens": 20, "min_new_tokens": 20}
    params = {**plain, "frequency_penalty": frequency, "presence_penalty": presence}
    answer, other = ask(TASK, gpt2, {"text": prompt, "params": params}, {"text": "I am", "params": params})

    assert answer == prompt + gpt2.tokenizer.decode(ids + made)[len(prompt) :]
    assert answer != ask(TASK, gpt2, {"text": prompt, "params": plain})
    assert other == ask(TASK, gpt2, {"text": "I am", "params": params})


def test_the_continuation_may_be_asked_for_alone(gpt2: Model, ask: Ask) -> None:
    params = {"max_new_tokens": 12, "return_full_text": False}
    pieces: list[str] = []
    whole = ask(TASK, gpt2, {"text": PROMPTS[0], "params": {"max_new_tokens": 12}})
    (streamed,) = TASK.run(gpt2, [call(PROMPTS[0], params, emit=pieces.append)])

    assert ask(TASK, gpt2, {"text": PROMPTS[0], "params": params}) == whole.removeprefix(PROMPTS[0])
    assert output_of(streamed) == "".join(pieces) == whole.removeprefix(PROMPTS[0])


@pytest.mark.parametrize("params", [{"num_beams": 3, "num_return_sequences": 3}, {"min_new_tokens": 5, "num_beams": 2}])
def test_beam_search_is_the_librarys(gpt2: Model, ask: Ask, params: dict[str, Any]) -> None:
    answer = ask(TASK, gpt2, {"text": PROMPTS[0], "params": {"max_new_tokens": 10, **params}})
    best = answer[0] if isinstance(answer, list) else answer
    assert best == reference(gpt2, PROMPTS[0], max_new_tokens=10, do_sample=False, **params)


def test_sampling_with_a_seed_is_the_librarys_with_that_seed(gpt2: Model, ask: Ask) -> None:
    torch.manual_seed(3)
    expected = reference(gpt2, PROMPTS[0], max_new_tokens=10, do_sample=True, temperature=0.7, top_p=0.9)
    body = {"text": PROMPTS[0], "params": {"max_new_tokens": 10, "temperature": 0.7, "top_p": 0.9, "seed": 3}}
    assert ask(TASK, gpt2, body) == expected


def test_sampling_without_a_seed_differs_every_time(gpt2: Model, ask: Ask) -> None:
    torch.manual_seed(0)
    body = {"text": PROMPTS[0], "params": {"max_new_tokens": 20, "temperature": 1.5}}
    first = ask(TASK, gpt2, body)
    torch.manual_seed(0)
    assert ask(TASK, gpt2, body) != first


def test_temperature_zero_takes_the_likeliest(gpt2: Model, ask: Ask) -> None:
    greedy = ask(TASK, gpt2, {"text": "Once", "params": {"max_new_tokens": 8}})
    assert ask(TASK, gpt2, {"text": "Once", "params": {"max_new_tokens": 8, "temperature": 0}}) == greedy
    relaxed = {"max_new_tokens": 8, "do_sample": False, "temperature": 0.7, "top_p": 0.9}
    assert ask(TASK, gpt2, {"text": "Once", "params": relaxed}) == greedy


@pytest.mark.parametrize("params", [{}, {"num_beams": 2}, {"stop": "ok"}, {"temperature": 1.0, "seed": 1}], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "gpt2_script"])
def test_stream_begins_with_the_prompt_and_adds_up_to_the_answer(
    load: Load, ask: Ask, family: str, params: dict[str, Any]
) -> None:
    model = load(family, "causal-lm")
    pieces: list[str] = []
    body = {"text": "Once", "params": {"max_new_tokens": 30, **params}}
    assert ask(TASK, model, body, emit=pieces.append) == "".join(pieces) == ask(TASK, model, body)
    assert pieces[0] == "Once"


def test_stream_never_splits_a_character(script: Model, ask: Ask) -> None:
    pieces: list[str] = []
    answer = ask(TASK, script, {"text": "!", "params": {"max_new_tokens": 60}}, emit=pieces.append)
    assert answer == "!" + SCRIPT
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > len(SCRIPT) / 2


def test_text_ends_before_the_first_stop_string_even_across_tokens(script: Model, ask: Ask) -> None:
    pieces: list[str] = []
    body = {"text": "!", "params": {"stop": ["星 o", "never"]}}
    assert ask(TASK, script, body, emit=pieces.append) == "".join(pieces) == "!" + SCRIPT.partition("星 o")[0]


def test_each_row_stops_for_itself(script: Model) -> None:
    lengths = [1, 3]
    outputs = TASK.run(script, [call("!" * length, {"stop": "火"}) for length in lengths])
    ids = script.tokenizer(SCRIPT)["input_ids"]
    for length, output in zip(lengths, outputs, strict=True):
        assert output_of(output) == "!" * length + script.tokenizer.decode(ids[length - 1 :]).partition("火")[0]


def call(text: str | list[str], params: Any = None, **sinks: Any) -> Any:
    return Call(inputs=TASK.inputs(text=text), params=TASK.params(**(params or {})), **sinks)


def test_cancelled_row_ends_within_two_tokens_while_the_other_goes_on(gpt2: Model) -> None:
    seen, left = [], []

    def emit(piece: Any) -> None:
        seen.append(piece)
        if len(seen) == 4:
            left.append(len(seen))

    cancelled = call("Once upon", {"max_new_tokens": 60}, emit=emit, cancelled=lambda: bool(left))
    stays = call("The capital", {"max_new_tokens": 60})
    short, long = TASK.run(gpt2, [cancelled, stays])
    assert len(seen) <= 6
    assert "".join(seen) == output_of(short)
    assert long == TASK.run(gpt2, [stays])[0]


def test_cancelled_beam_search_ends(gpt2: Model) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return True

    TASK.run(gpt2, [call("Once", {"max_new_tokens": 60, "num_beams": 3}, cancelled=cancelled)])
    assert len(asked) <= 2


def test_without_a_length_the_answer_fills_the_context_at_most(gpt2: Model, ask: Ask) -> None:
    answer = ask(TASK, gpt2, {"text": "Once upon a time", "params": {"suppress_tokens": [0]}})
    assert len(gpt2.tokenizer(answer)["input_ids"]) > 100
    prompt = gpt2.tokenizer("Once upon a time", return_tensors="np")
    ((made,),) = gpt2.generate(dict(prompt), {"suppress_tokens": [0]}, lambda _row, _tokens: False)
    assert len(made.tokens) == 128 - prompt["input_ids"].shape[1]


def test_rows_that_would_leave_the_context_run_apart(gpt2: Model, ask: Ask) -> None:
    bodies = [{"text": "Once upon a time " * 15}, {"text": "I"}]
    assert ask(TASK, gpt2, *bodies) == [ask(TASK, gpt2, body) for body in bodies]


def test_prompt_longer_than_the_context_is_refused_with_both_lengths_and_alone(gpt2: Model, ask: Ask) -> None:
    tokens = len(gpt2.tokenizer("Once upon " * 100)["input_ids"])
    refused, fine = ask(TASK, gpt2, {"text": "Once upon " * 100}, {"text": "Once"})
    assert isinstance(refused, InvalidRequest)
    assert refused.data["field"] == "text"
    assert f"{tokens} tokens" in refused.message
    assert "128" in refused.message
    assert fine.startswith("Once")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"max_length": 2}, "params.max_length"),
        ({"suppress_tokens": [100_000]}, "params.suppress_tokens"),
        ({"bad_words_ids": [[5, 100_000]]}, "params.bad_words_ids"),
        ({"num_return_sequences": 2}, "params.num_return_sequences"),
        ({"logit_bias": {"100000": 1.0}}, "params.logit_bias"),
        ({"logit_bias": {"the": 1.0}}, "params.logit_bias"),
        ({"logit_bias": {"1" * 5_000: 1.0}}, "params.logit_bias"),
        ({"logprobs": True, "num_beams": 2}, "params.logprobs"),
    ],
)
def test_settings_that_this_model_cannot_follow_are_named(gpt2: Model, params: dict[str, Any], field: str) -> None:
    (error,) = TASK.run(gpt2, [call("Once upon a time", params)])
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == field


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"min_length": 9, "max_length": 8}, "params.min_length"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "params.min_new_tokens"),
        ({"do_sample": True, "temperature": 0}, "params.temperature"),
        ({"num_beams": 2, "num_return_sequences": 3}, "params.num_return_sequences"),
    ],
)
def test_contradicting_settings_are_refused(params: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        TASK.params(**params)
    assert raised.value.data["field"] == field


def test_a_stream_carries_one_text(gpt2: Model) -> None:
    (many,) = TASK.run(gpt2, [call(["a", "b"], emit=print)])
    (several,) = TASK.run(gpt2, [call("a", {"num_return_sequences": 2, "do_sample": True}, emit=print)])
    assert many.data["field"] == "text"
    assert several.data["field"] == "params.num_return_sequences"


def test_empty_text_starts_from_the_start_token(gpt2: Model, ask: Ask) -> None:
    assert len(ask(TASK, gpt2, {"text": "", "params": {"max_new_tokens": 5, "min_new_tokens": 5}})) > 0


EVERY_SETTING = {
    "max_length": 20, "max_new_tokens": 6, "min_length": 2, "min_new_tokens": 2, "early_stopping": True,
    "max_time": 9.0,
    "do_sample": True, "num_beams": 2, "use_cache": False, "temperature": 0.8, "top_k": 9, "top_p": 0.9, "min_p": 0.01,
    "typical_p": 0.9, "epsilon_cutoff": 1e-4, "eta_cutoff": 1e-4, "repetition_penalty": 1.2,
    "encoder_repetition_penalty": 1.2, "length_penalty": 0.8, "no_repeat_ngram_size": 3,
    "encoder_no_repeat_ngram_size": 3, "bad_words_ids": [[5], [6, 7]], "renormalize_logits": True,
    "forced_bos_token_id": 9, "forced_eos_token_id": 0, "remove_invalid_values": True,
    "exponential_decay_length_penalty": [3, 1.1], "suppress_tokens": [8], "begin_suppress_tokens": [10],
    "num_return_sequences": 1, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": [0], "decoder_start_token_id": 0,
    "guidance_scale": 1.5, "seed": 4, "stop": ["zzz"], "json_schema": {"type": "string", "maxLength": 4},
    "regex": "[a-z]{3}", "grammar": 'root ::= "a" root | "b"', "frequency_penalty": 0.5, "presence_penalty": -0.5,
    "return_full_text": True,
    "logit_bias": {"5": -100.0, "9": 2.5}, "logprobs": False, "top_logprobs": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY_SETTING)
def test_every_setting_works_alone_and_without_warnings(
    gpt2: Model, ask: Ask, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    params = {"max_new_tokens": 6} if name != "max_length" else {}
    answer = ask(TASK, gpt2, {"text": "Once upon a", "params": {**params, name: EVERY_SETTING[name]}})
    assert answer.startswith("Once upon a")
    assert capfd.readouterr() == ("", "")


def test_every_setting_is_tried() -> None:
    assert set(EVERY_SETTING) == set(TASK.params.__struct_fields__)
