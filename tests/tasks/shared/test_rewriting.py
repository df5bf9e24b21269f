"""text2text-generation, summarization and translation: what encoder-decoders write."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.reference import library_model

TEXTS = ["The house is wonderful.", "Once upon a time there was a small fox who lived in the forest.", "I"]
SHORT = {"max_new_tokens": 10}
PAIRS = [
    ("text2text-generation", "t5"),
    ("text2text-generation", "bart"),
    ("summarization", "bart"),
    ("summarization", "t5"),
]


def reference(model: Model, text: str, **options: Any) -> Any:
    library = library_model("AutoModelForSeq2SeqLM", model.path)
    inputs = model.tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
    with torch.inference_mode():
        ids = library.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"], **options)[0]
    return model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize(("task", "family"), PAIRS)
def test_answer_is_the_librarys(load: Load, ask: Ask, task: str, family: str) -> None:
    model = load(family, "seq2seq-lm")
    prefix = "summarize: " if (task, family) == ("summarization", "t5") else ""
    for text in TEXTS:
        for params in (SHORT, {**SHORT, "num_beams": 3}):
            answer = ask(get_task(task), model, {"text": text, "params": params})
            assert answer == reference(model, prefix + text, do_sample=False, max_length=None, **params)


@pytest.mark.parametrize(("task", "family"), [*PAIRS, ("translation", "mbart"), ("translation", "t5")])
@pytest.mark.parametrize("params", [SHORT, {**SHORT, "num_beams": 2}, {"min_length": 6, "max_length": 9}], ids=str)
def test_batch_and_list_answer_as_one_by_one(load: Load, ask: Ask, task: Any, family: Any, params: Any) -> None:
    task, model = get_task(task), load(family, "seq2seq-lm")
    bodies = [{"text": text, "params": params} for text in TEXTS]
    alone = [ask(task, model, body) for body in bodies]
    assert ask(task, model, *bodies) == alone
    assert ask(task, model, {"text": TEXTS, "params": params}) == alone


@pytest.mark.parametrize(("task", "family"), [*PAIRS, ("translation", "mbart")])
def test_stream_adds_up_to_the_answer(load: Load, ask: Ask, task: str, family: str) -> None:
    model = load(family, "seq2seq-lm")
    pieces: list[str] = []
    body = {"text": TEXTS[0], "params": {**SHORT, "temperature": 1.0, "seed": 5}}
    assert ask(get_task(task), model, body, emit=pieces.append) == "".join(pieces) == ask(get_task(task), model, body)
    assert len(pieces) > 1


def test_the_models_own_length_is_the_default(load: Load) -> None:
    bart = load("bart", "seq2seq-lm")
    inputs = {
        name: array for name, array in bart.tokenizer("The house", return_tensors="np").items() if "type" not in name
    }
    ((made,),) = bart.generate(inputs, {"min_length": 20}, lambda _row, _tokens: False)
    assert (
        len(made.tokens) == 20 - 2
    )  # its generation settings say 20, the decoder's start and the forced end among them


def test_long_text_is_cut_at_the_models_limit(load: Load, ask: Ask) -> None:
    t5 = load("t5", "seq2seq-lm")
    answer = ask(get_task("text2text-generation"), t5, {"text": TEXTS[1] * 20, "params": SHORT})
    assert answer == reference(t5, TEXTS[1] * 20, do_sample=False, **SHORT)


def test_t5_translates_by_prefix(load: Load, ask: Ask) -> None:
    t5, task = load("t5", "seq2seq-lm"), get_task("translation")
    expected = reference(t5, "translate English to German: " + TEXTS[0], do_sample=False, **SHORT)
    assert ask(task, t5, {"text": TEXTS[0], "params": SHORT}) == expected
    assert ask(task, t5, {"text": TEXTS[0], "params": {**SHORT, "src_lang": "en", "tgt_lang": "de"}}) == expected
    error = ask(task, t5, {"text": TEXTS[0], "params": {"tgt_lang": "fr"}})
    assert error.data["field"] == "params.tgt_lang"
    assert "en_to_de" in error.message


def test_mbart_translates_by_language_tokens(load: Load, ask: Ask) -> None:
    mbart, task = load("mbart", "seq2seq-lm"), get_task("translation")
    answers = {}
    for source, target in (("en_XX", "de_DE"), ("fr_XX", "ro_RO")):
        mbart.tokenizer.src_lang = source
        forced = mbart.tokenizer.convert_tokens_to_ids(target)
        answers[source, target] = reference(mbart, TEXTS[0], do_sample=False, forced_bos_token_id=forced, **SHORT)
    mbart.tokenizer.src_lang = "en_XX"
    for (source, target), expected in answers.items():
        body = {"text": TEXTS[0], "params": {**SHORT, "src_lang": source, "tgt_lang": target}}
        assert ask(task, mbart, body) == expected
    assert mbart.tokenizer.src_lang == "en_XX"
    assert ask(task, mbart, {"text": TEXTS[0], "params": SHORT}) == answers["en_XX", "de_DE"]


@pytest.mark.parametrize("name", ["src_lang", "tgt_lang"])
def test_unknown_language_is_named_with_the_nearest(load: Load, ask: Ask, name: str) -> None:
    error = ask(get_task("translation"), load("mbart", "seq2seq-lm"), {"text": "a", "params": {name: "de_XX"}})
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == f"params.{name}"
    assert "de_DE" in error.message


@pytest.mark.parametrize("name", ["src_lang", "tgt_lang"])
def test_languages_of_a_model_that_has_no_choice_are_refused(load: Load, ask: Ask, name: str) -> None:
    error = ask(get_task("translation"), load("bart", "seq2seq-lm"), {"text": "a", "params": {name: "de"}})
    assert error.data["field"] == f"params.{name}"


def test_fsmt_writes_its_one_language_and_names_it(load: Load, ask: Ask) -> None:
    fsmt, task = load("fsmt", "seq2seq-lm"), get_task("translation")
    expected = [reference(fsmt, text, **SHORT) for text in TEXTS]
    assert ask(task, fsmt, {"text": TEXTS, "params": SHORT}) == expected
    assert ask(task, fsmt, {"text": TEXTS[0], "params": {**SHORT, "src_lang": "en", "tgt_lang": "de"}}) == expected[0]
    error = ask(task, fsmt, {"text": TEXTS[0], "params": {"tgt_lang": "fr"}})
    assert error.message == "params.tgt_lang: got 'fr'; accepted: de, this model's only one"
