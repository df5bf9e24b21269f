from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load, output_of
from tests.builders.reference import library_model

TASK = get_task("question-answering")
QUESTION = "Where does Angela live?"
CONTEXT = "Angela lives in Paris and works for the United Nations; her brother moved to New York."
LONG = " ".join([CONTEXT, "Once upon a time there was a small fox."] * 4)


@pytest.fixture
def reader(load: Load) -> Model:
    return load("bert_qa", "question-answering")


def every_span(
    model: Model, question: str, context: Any, *, limit: Any = 64, stride: Any = None, most: Any = 15
) -> Any:
    """(start, end) characters → score, by brute force over the library's logits, window by window; and of nothing."""
    library = library_model("AutoModelForQuestionAnswering", model.path)
    room = limit - 3 - len(model.tokenizer(question, add_special_tokens=False)["input_ids"])
    batch = model.tokenizer(
        question, context, truncation="only_second", max_length=limit, stride=stride or min(32, room // 2),
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    spans: dict[tuple[int, int], float] = {}
    nothing = 1.0
    for index, ids in enumerate(batch["input_ids"]):
        with torch.inference_mode():
            out = library(torch.tensor([ids]), token_type_ids=torch.tensor([batch["token_type_ids"][index]]))
        kept = [place for place, part in enumerate(batch.sequence_ids(index)) if part == 1]
        starts, ends = (
            dict(zip([0, *kept], logits[0][[0, *kept]].softmax(-1).tolist(), strict=True))
            for logits in (out.start_logits, out.end_logits)
        )
        nothing = min(nothing, starts[0] * ends[0])
        for first in kept:
            for last in kept:
                if first <= last < first + most:
                    words = batch.token_to_word(index, first), batch.token_to_word(index, last)
                    where = (
                        batch.word_to_chars(index, words[0], sequence_index=1).start,
                        batch.word_to_chars(index, words[1], sequence_index=1).end,
                    )
                    spans[where] = max(spans.get(where, 0), starts[first] * ends[last])
    return spans, nothing


@pytest.mark.parametrize("context", [CONTEXT, LONG])
@pytest.mark.parametrize("params", [{}, {"max_answer_len": 3}, {"max_seq_len": 40, "doc_stride": 8}], ids=str)
def test_answer_is_the_likeliest_span_of_all_windows(
    reader: Model, ask: Ask, context: Any, params: dict[str, Any]
) -> None:
    answer = ask(TASK, reader, {"question": QUESTION, "context": context, "params": params})
    spans, _ = every_span(
        reader, QUESTION, context,
        limit=params.get("max_seq_len", 64), stride=params.get("doc_stride"), most=params.get("max_answer_len", 15),
    )  # fmt: skip
    best = max(spans, key=spans.get)
    assert (answer["start"], answer["end"]) == best
    assert answer["answer"] == context[best[0] : best[1]]
    assert answer["score"] == pytest.approx(spans[best], abs=1e-6)


def test_top_k_is_a_list_of_different_answers_best_first(reader: Model, ask: Ask) -> None:
    answers = ask(TASK, reader, {"question": QUESTION, "context": LONG, "params": {"top_k": 5}})
    scores = [answer["score"] for answer in answers]
    assert len({(answer["start"], answer["end"]) for answer in answers}) == len(answers)
    assert scores == sorted(scores, reverse=True)
    assert answers[0] == ask(TASK, reader, {"question": QUESTION, "context": LONG})


def test_no_answer_may_win_when_allowed(reader: Model, ask: Ask) -> None:
    _, nothing = every_span(reader, QUESTION, "Paris")
    params = {"handle_impossible_answer": True, "top_k": 100}
    answers = ask(TASK, reader, {"question": QUESTION, "context": "Paris", "params": params})
    empty = [answer for answer in answers if not answer["answer"]]
    assert [answer["score"] for answer in empty] == pytest.approx([nothing], abs=1e-6)
    assert (empty[0]["start"], empty[0]["end"]) == (0, 0)


def test_without_alignment_answers_may_cut_words(reader: Model, ask: Ask) -> None:
    body = {"question": QUESTION, "context": CONTEXT, "params": {"align_to_words": False, "top_k": 20}}
    offsets = np.array(
        reader.tokenizer(CONTEXT, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    )
    for answer in ask(TASK, reader, body):
        assert answer["start"] in offsets[:, 0]
        assert answer["end"] in offsets[:, 1]
        assert answer["answer"] == CONTEXT[answer["start"] : answer["end"]]


def test_batch_answers_as_one_by_one(reader: Model, ask: Ask) -> None:
    bodies = [{"question": QUESTION, "context": text} for text in (CONTEXT, LONG, "Paris")]
    for together, body in zip(ask(TASK, reader, *bodies), bodies, strict=True):
        alone = ask(TASK, reader, body)
        assert together.pop("score") == pytest.approx(alone.pop("score"), abs=1e-6)
        assert together == alone


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"question": "where " * 80, "params": {"max_question_len": 80}}, "question"),
        ({"params": {"doc_stride": 60}}, "params.doc_stride"),
    ],
)
def test_what_leaves_no_room_for_the_text_is_named_and_fails_alone(
    reader: Model, body: dict[str, Any], field: str
) -> None:
    from modelyard.tasks.body import to_call

    fine = {"question": QUESTION, "context": CONTEXT}
    calls = [
        to_call(TASK, {**fine, **{k: v for k, v in b.items() if k != "params"}}, b.get("params", {}))
        for b in (body, {})
    ]
    error, answer = map(output_of, TASK.run(reader, calls))
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == field
    assert answer.answer


def test_question_is_cut_at_its_own_limit(reader: Model, ask: Ask) -> None:
    cut = ask(TASK, reader, {"question": "where does she live", "context": CONTEXT, "params": {"max_question_len": 1}})
    tokens = reader.tokenizer("where does she live", add_special_tokens=False, return_offsets_mapping=True)
    first = "where does she live"[: tokens["offset_mapping"][0][1]]
    assert cut == ask(TASK, reader, {"question": first, "context": CONTEXT})


@pytest.mark.parametrize("missing", ["question", "context"])
def test_both_fields_are_needed(missing: str) -> None:
    body = {"question": QUESTION, "context": CONTEXT}
    del body[missing]
    with pytest.raises(InvalidRequest, match=f"{missing}: missing"):
        read(TASK, body)


def test_dprs_reader_is_asked_as_it_was_trained(load: Load, ask: Ask, model_folder: Any) -> None:
    assert inspect_folder(model_folder("dpr_reader")).task == TASK.id
    model = load("dpr_reader", "question-answering")
    tokenizer = model.tokenizer
    question, passage = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (QUESTION, CONTEXT))
    # Question, title and passage: the library's own tokenizer of readers puts no separator behind the last.
    ids = [tokenizer.cls_token_id, *question, tokenizer.sep_token_id, tokenizer.sep_token_id, *passage]
    kept = [0, *range(len(ids) - len(passage), len(ids))]
    with torch.inference_mode():
        out = library_model("DPRReader", model.path)(torch.tensor([ids]))
    start, end = (logits[0][kept].softmax(-1)[1:] for logits in (out.start_logits, out.end_logits))
    pairs = torch.outer(start, end).triu().tril(14)
    first, last = divmod(int(pairs.argmax()), len(passage))
    offsets = tokenizer(CONTEXT, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    answer = ask(TASK, model, {"question": QUESTION, "context": CONTEXT, "params": {"align_to_words": False}})
    assert answer["score"] == pytest.approx(pairs.max().item(), abs=1e-5)
    assert (answer["start"], answer["end"]) == (offsets[first][0], offsets[last][1])
