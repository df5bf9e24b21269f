from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer, pipeline

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.document_question_answering import TASK
from modelyard.tasks.model import Model
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import in_base64, picture, png
from tests.builders.reference import library_model

QUESTION = "Where does Angela live?"
TEXT = "Angela lives in Paris and works for the United Nations ; her brother moved to New York ."
WORDS = TEXT.split(" ")
PAGE = [(word, [10 * at, 20 * at, 10 * at + 9, 20 * at + 15]) for at, word in enumerate(WORDS * 2)]


@pytest.fixture
def layoutlm(load: Load) -> Model:
    return load("layoutlm_qa", "document-question-answering")


@pytest.fixture
def donut(load: Load) -> Model:
    return load("donut", "vision-encoder-decoder")


def body(question: str = QUESTION, word_boxes: Any = None, **params: Any) -> Any:
    return {
        "base64": in_base64(png(picture(40, 70))),
        "question": question,
        "word_boxes": word_boxes or PAGE,
        "params": params,
    }


@pytest.mark.parametrize("page", [PAGE[:12], PAGE], ids=["one window", "several"])
@pytest.mark.parametrize("params", [{}, {"max_answer_len": 2}, {"max_seq_len": 30, "doc_stride": 8}], ids=str)
def test_answer_is_the_librarys(layoutlm: Model, ask: Ask, page: Any, params: dict[str, Any]) -> None:
    library = pipeline(
        "document-question-answering",
        model=library_model("AutoModelForDocumentQuestionAnswering", layoutlm.path),
        tokenizer=AutoTokenizer.from_pretrained(layoutlm.path),
    )
    shared = {"doc_stride": 17} if page is PAGE and "doc_stride" not in params else {}
    expected = library(
        image=None, question=QUESTION, word_boxes=[(word, box) for word, box in page], **{**shared, **params}
    )[0]
    (answer,) = ask(TASK, layoutlm, body(word_boxes=page, **{**shared, **params}))
    assert (answer["answer"], answer["start"], answer["end"]) == (
        expected["answer"], expected["start"], expected["end"]
    )  # fmt: skip
    assert answer["score"] == pytest.approx(expected["score"], abs=1e-5)


def test_boxes_matter(layoutlm: Model, ask: Ask) -> None:
    elsewhere = [[word, [900 - box[0], box[1], 990 - box[0], box[3]]] for word, box in PAGE]
    assert ask(TASK, layoutlm, body()) != ask(TASK, layoutlm, body(word_boxes=elsewhere))


def test_top_k_answers_are_different_and_best_first(layoutlm: Model, ask: Ask) -> None:
    answers = ask(TASK, layoutlm, body(top_k=4))
    scores = [one["score"] for one in answers]
    assert scores == sorted(scores, reverse=True)
    assert len({(one["start"], one["end"]) for one in answers}) == len(answers) > 1


@pytest.mark.parametrize("question", [QUESTION, "Who?"])
def test_page_is_read_from_its_image_alone(donut: Model, ask: Ask, question: Any) -> None:
    library = library_model("AutoModelForImageTextToText", donut.path)
    processor = AutoProcessor.from_pretrained(donut.path)
    pixels = processor(Image.fromarray(picture(40, 70)), return_tensors="pt").pixel_values
    prompt = processor.tokenizer(
        f"<s_docvqa><s_question>{question}</s_question><s_answer>", add_special_tokens=False, return_tensors="pt"
    ).input_ids
    end = processor.tokenizer.convert_tokens_to_ids("</s_answer>")
    with torch.inference_mode():
        ids = library.generate(
            pixels, decoder_input_ids=prompt, max_new_tokens=10, do_sample=False, eos_token_id=[2, end]
        )[0]
    expected = processor.decode(ids[prompt.shape[1] :], skip_special_tokens=True).strip()
    answers = ask(TASK, donut, {**body(question, max_new_tokens=10), "word_boxes": None})
    assert answers == [{"score": None, "answer": expected, "start": None, "end": None}]
    assert expected


def test_batch_answers_as_one_by_one(layoutlm: Model, donut: Model, ask: Ask) -> None:
    for model in (layoutlm, donut):
        bodies = [body(question, max_new_tokens=8) for question in (QUESTION, "Who moved?", QUESTION)]
        for answer, expected in zip(ask(TASK, model, *bodies), [ask(TASK, model, one) for one in bodies], strict=True):
            assert [one["answer"] for one in answer] == [one["answer"] for one in expected]


def test_what_a_model_cannot_do_without_is_named(layoutlm: Model, donut: Model, ask: Ask) -> None:
    assert ask(TASK, layoutlm, {**body(), "word_boxes": None}).data["field"] == "word_boxes"
    assert ask(TASK, donut, {**body(), "base64": None}).data["field"] == "media"
    assert ask(TASK, layoutlm, body("Angela " * 100)).data["field"] == "question"
    assert ask(TASK, layoutlm, body(doc_stride=60)).data["field"] == "params.doc_stride"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"params": {"top_k": 0}}, "params.top_k"),
        ({"params": {"max_seq_len": 1}}, "params.max_seq_len"),
        ({"word_boxes": [["Hi", [0, 0, 5000, 10]]]}, "word_boxes[0][1][2]"),
        ({"word_boxes": [["Hi", [0, 0, 10]]]}, "word_boxes[0][1]"),
        ({"word_boxes": None, "base64": None}, "media"),
    ],
)
def test_wrong_fields_are_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, {**body(), **change})
    assert raised.value.data["field"] == field
