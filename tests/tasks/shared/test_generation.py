"""What a generation took: tokens read and made, and why it ended."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.protocol import FinishReason, Outcome, Usage
from modelyard.tasks.base import Task
from modelyard.tasks.body import read, to_call
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.families import SCRIPT
from tests.builders.fixtures import Load
from tests.builders.recordings import in_base64, noise, picture, png, wav

TEXT_GENERATION = get_task("text-generation")


@pytest.fixture
def gpt2(load: Load) -> Model:
    return load("gpt2", "causal-lm")


@pytest.fixture
def script(load: Load) -> Model:
    """Writes SCRIPT by position, an end token after it, whatever it reads."""
    return load("gpt2_script", "causal-lm")


def usages(task: Task, model: Model, *bodies: dict[str, Any], **sinks: Any) -> list[Usage]:
    inferences = [read(task, body) for body in bodies]
    outcomes = task.run(model, [to_call(task, one.fields, one.params, **sinks) for one in inferences])
    usages = [outcome.usage for outcome in outcomes if isinstance(outcome, Outcome)]
    assert len(usages) == len(bodies)
    return usages


def usage(task: Task, model: Model, body: dict[str, Any], **sinks: Any) -> Usage:
    (only,) = usages(task, model, body, **sinks)
    return only


def length(model: Model, text: str) -> int:
    return len(model.tokenizer(text)["input_ids"])


def test_each_row_of_a_batch_counts_its_own_tokens_and_no_padding(gpt2: Model) -> None:
    texts = ["I", "Once upon a time there was a fox"]
    params = {"max_new_tokens": 4, "min_new_tokens": 4}
    found = usages(TEXT_GENERATION, gpt2, *({"text": text, "params": params} for text in texts))
    assert found == [Usage(length(gpt2, text), 4, FinishReason.LENGTH) for text in texts]


def test_the_tokens_of_a_list_are_summed(gpt2: Model) -> None:
    texts = ["I", "Once upon a time"]
    found = usage(TEXT_GENERATION, gpt2, {"text": texts, "params": {"max_new_tokens": 4, "min_new_tokens": 4}})
    each = [FinishReason.LENGTH] * 2
    assert found == Usage(sum(length(gpt2, text) for text in texts), 8, FinishReason.LENGTH, finish_reasons=each)


def test_several_sequences_share_one_prompt(gpt2: Model) -> None:
    params = {"max_new_tokens": 4, "min_new_tokens": 4, "num_return_sequences": 3, "do_sample": True}
    found = usage(TEXT_GENERATION, gpt2, {"text": "Once upon", "params": params})
    each = [FinishReason.LENGTH] * 3
    assert found == Usage(length(gpt2, "Once upon"), 12, FinishReason.LENGTH, finish_reasons=each)


def test_an_end_token_counts_as_made(script: Model) -> None:
    found = usage(TEXT_GENERATION, script, {"text": "!", "params": {"max_new_tokens": 60}})
    assert found == Usage(1, length(script, SCRIPT) + 1, FinishReason.STOP)


def test_one_text_that_was_cut_makes_the_whole_answer_cut(script: Model) -> None:
    most = length(script, SCRIPT)
    found = usage(TEXT_GENERATION, script, {"text": ["!", "!!"], "params": {"max_new_tokens": most}})
    each = [FinishReason.LENGTH, FinishReason.STOP]
    assert found == Usage(3, 2 * most, FinishReason.LENGTH, finish_reasons=each)


@pytest.mark.parametrize("params", [{}, {"num_beams": 2}], ids=["greedy", "beams"])
def test_a_stop_string_ends_the_count_where_it_ends_the_text(script: Model, params: dict[str, Any]) -> None:
    written = SCRIPT.partition("☕")[0] + "☕"
    found = usage(TEXT_GENERATION, script, {"text": "!", "params": {"stop": "☕", "max_new_tokens": 60, **params}})
    assert found == Usage(1, length(script, written), FinishReason.STOP, stop_sequence="☕")


def test_a_client_that_left_is_a_reason(gpt2: Model) -> None:
    body = {"text": "Once", "params": {"max_new_tokens": 60, "min_new_tokens": 60}}
    found = usage(TEXT_GENERATION, gpt2, body, cancelled=lambda: True)
    assert found == Usage(length(gpt2, "Once"), 1, FinishReason.CANCELLED)


def test_the_end_of_the_time_is_a_reason(gpt2: Model) -> None:
    body = {"text": "Once", "params": {"max_new_tokens": 60, "min_new_tokens": 60, "max_time": 1e-9}}
    assert usage(TEXT_GENERATION, gpt2, body).finish_reason is FinishReason.TIME


def test_a_conversation_counts_as_the_template_writes_it(load: Load) -> None:
    llama = load("llama_chat", "causal-lm")
    messages = [{"role": "user", "content": "Hi there"}]
    ids = llama.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    found = usage(get_task("chat"), llama, {"messages": messages, "params": {"max_new_tokens": 3}})
    assert found.prompt_tokens == len(ids)


def test_an_encoder_decoder_counts_what_its_encoder_reads(load: Load) -> None:
    t5 = load("t5", "seq2seq-lm")
    params = {"max_new_tokens": 3, "min_new_tokens": 3}
    found = usage(get_task("text2text-generation"), t5, {"text": "The house", "params": params})
    assert found == Usage(length(t5, "The house"), 3, FinishReason.LENGTH)


def test_an_image_in_a_conversation_counts_as_its_tokens(load: Load) -> None:
    llava, task = load("llava", "image-text-to-text"), get_task("image-text-to-text")
    params = {"max_new_tokens": 3}
    image = {"base64": in_base64(png(picture(seed=0)))}
    alone = usage(task, llava, {"text": "What is it?", "params": params})
    beside = usage(task, llava, {"text": "What is it?", **image, "params": params})
    assert alone.prompt_tokens is not None
    assert beside.prompt_tokens is not None
    assert beside.prompt_tokens > alone.prompt_tokens


def test_a_sound_has_no_tokens_but_what_is_written_of_it_has(load: Load) -> None:
    whisper, task = load("whisper", "speech-seq2seq"), get_task("automatic-speech-recognition")
    body = {"base64": in_base64(wav(noise(1.0))), "params": {"max_new_tokens": 4, "min_new_tokens": 4}}
    assert usage(task, whisper, body) == Usage(None, 4, FinishReason.LENGTH)
