"""A page's words and where they are, in classification; questions about pages to models that write or find answers."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import in_base64, picture, png
from tests.builders.reference import library_model

MARK, CLASSIFY = get_task("token-classification"), get_task("text-classification")
DOCUMENT = get_task("document-question-answering")
WORDS = ["Angela", "lives", "in", "Paris", "and", "works", "for", "the", "United", "Nations", "."]
PAGE = [(word, [10 * at, 20 * at, 10 * at + 9, 20 * at + 15]) for at, word in enumerate(WORDS)]
ALL: dict[str, Any] = {"ignore_labels": []}


def page_arguments(model: Model) -> dict[str, Any]:
    """What the library's own examples give such a model."""
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    boxes = [box for _, box in PAGE]
    if "boxes" in inspect.signature(type(tokenizer).__call__).parameters:
        return dict(tokenizer(WORDS, boxes=boxes, return_tensors="pt"))
    places = [box for word, box in PAGE for _ in tokenizer.tokenize(word)]
    bbox = torch.tensor([[[0] * 4, *places, [1000] * 4]])
    is_share = model.config["model_type"] == "bros"
    return {**tokenizer(" ".join(WORDS), return_tensors="pt"), "bbox": bbox / 1000 if is_share else bbox}


def library_scores(model: Model, auto: str) -> Any:
    library = library_model(auto, model.path)
    accepted = inspect.signature(library.forward).parameters
    with torch.inference_mode():
        arguments = {name: value for name, value in page_arguments(model).items() if name in accepted}
        return library(**arguments).logits[0].softmax(-1)


@pytest.mark.parametrize("family", ["layoutlm_marker", "bros_marker", "lilt_marker"])
def test_words_are_marked_by_where_they_are(load: Load, ask: Ask, family: str) -> None:
    model = load(family, "token-classification")
    rows = ask(MARK, model, {"word_boxes": PAGE, "params": ALL})
    expected = library_scores(model, "AutoModelForTokenClassification")[1:-1]
    assert [row["score"] for row in rows] == pytest.approx(expected.max(-1).values.tolist(), abs=1e-5)
    assert [row["entity"] for row in rows] == [model.labels[at] for at in expected.argmax(-1).tolist()]
    elsewhere = ask(MARK, model, {"word_boxes": [(word, [0, 0, 9, 9]) for word in WORDS], "params": ALL})
    assert [row["score"] for row in rows] != pytest.approx([row["score"] for row in elsewhere], abs=1e-5)


@pytest.mark.parametrize("family", ["layoutlm_marker", "lilt_marker"])
def test_marks_stand_in_the_words_with_one_space_between_them(load: Load, ask: Ask, family: str) -> None:
    text = " ".join(WORDS)
    rows = ask(MARK, load(family, "token-classification"), {"word_boxes": PAGE, "params": ALL})
    pieces = [text[row["start"] : row["end"]] for row in rows]
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("family", ["layoutlm_marker", "lilt_marker"])
def test_every_token_of_a_long_page_is_marked_once(load: Load, ask: Ask, family: str) -> None:
    model = load(family, "token-classification")
    rows = ask(MARK, model, {"word_boxes": PAGE * 12, "params": ALL})
    starts = [row["start"] for row in rows]
    assert starts == sorted(starts)
    assert len({row["index"] for row in rows}) == len(rows)
    assert rows[-1]["end"] == len(" ".join(WORDS * 12))


def test_pages_are_classified_by_where_their_words_are(load: Load, ask: Ask) -> None:
    model = load("layoutlm_classifier", "sequence-classification")
    answer = ask(CLASSIFY, model, {"word_boxes": PAGE})
    expected = library_scores(model, "AutoModelForSequenceClassification").tolist()
    scores = {model.labels[at]: score for at, score in enumerate(expected)}
    assert {row["label"]: row["score"] for row in answer} == pytest.approx(scores, abs=1e-5)


def test_pages_and_texts_in_one_batch_answer_as_one_by_one(load: Load, ask: Ask) -> None:
    model = load("layoutlm_classifier", "sequence-classification")
    bodies = [{"word_boxes": PAGE}, {"text": "Angela lives in Paris"}, {"word_boxes": PAGE[:4]}]
    together = ask(CLASSIFY, model, *bodies)
    for answer, expected in zip(together, [ask(CLASSIFY, model, body) for body in bodies], strict=True):
        scores = {row["label"]: row["score"] for row in expected}
        assert {row["label"]: row["score"] for row in answer} == pytest.approx(scores, abs=1e-5)


def test_words_beside_another_text_are_refused_for_models_that_read_places(load: Load, ask: Ask) -> None:
    model = load("layoutlm_classifier", "sequence-classification")
    error, answer = ask(CLASSIFY, model, {"text": "another", "word_boxes": PAGE}, {"word_boxes": PAGE})
    assert error.data["field"] == "word_boxes"
    assert len(answer) == 3


def test_models_of_texts_read_a_pages_words(load: Load, ask: Ask) -> None:
    model = load("bert_classifier", "sequence-classification")
    assert ask(CLASSIFY, model, {"word_boxes": PAGE}) == ask(CLASSIFY, model, {"text": " ".join(WORDS)})


@pytest.mark.parametrize(
    ("boxes", "field"),
    [
        ([["a", [5, 0, 4, 9]]], "word_boxes[0][1]"),
        ([["a", [0, 0, 1001, 9]]], "word_boxes[0][1][2]"),
        ([["a", [0, 0, 9]]], "word_boxes[0][1]"),
        ([], "word_boxes"),
    ],
)
@pytest.mark.parametrize("task", [MARK, CLASSIFY, DOCUMENT], ids=lambda task: task.id)
def test_boxes_that_are_none_are_named(task: Any, boxes: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(task, {"question": "Where?", "word_boxes": boxes})
    assert raised.value.data["field"] in (field, field.replace("[0]", "[...]"))


def test_udop_writes_from_words_places_and_image(load: Load, ask: Ask) -> None:
    model = load("udop", "vision-encoder-decoder")
    question = "Where does Angela live?"
    library = library_model("UdopForConditionalGeneration", model.path)
    processor = AutoProcessor.from_pretrained(model.path, apply_ocr=False)
    boxes = [box for _, box in PAGE]
    encoded = processor(Image.fromarray(picture()), question, text_pair=WORDS, boxes=boxes, return_tensors="pt")
    with torch.inference_mode():
        made = library.generate(**encoded, max_new_tokens=8, do_sample=False)[0]
    body = {"base64": in_base64(png(picture())), "question": question, "params": {"max_new_tokens": 8}}
    expected = processor.tokenizer.decode(made, skip_special_tokens=True).strip()
    (answer,) = ask(DOCUMENT, model, {**body, "word_boxes": PAGE})
    assert answer["answer"] == expected
    assert expected
    assert ask(DOCUMENT, model, body).data["field"] == "word_boxes"
    assert ask(DOCUMENT, model, {**body, "word_boxes": PAGE, "base64": None}).data["field"] == "media"


@pytest.mark.parametrize("sees", [False, True], ids=["words alone", "with the image"])
def test_layoutlmv3_finds_what_the_library_finds(load: Load, ask: Ask, sees: bool) -> None:
    model = load("layoutlmv3_qa", "document-question-answering")
    question, boxes = "Where does Angela live?", [box for _, box in PAGE]
    library = library_model("LayoutLMv3ForQuestionAnswering", model.path)
    processor = AutoProcessor.from_pretrained(model.path, apply_ocr=False)
    encoded = processor.tokenizer(question, WORDS, boxes=boxes, return_tensors="pt")
    image = {"pixel_values": processor.image_processor(Image.fromarray(picture()), return_tensors="pt").pixel_values}
    with torch.inference_mode():
        output = library(**encoded, **(image if sees else {}))
    page = [at for at, part in enumerate(encoded.sequence_ids(0)) if part == 1]
    start, end = (logits[0][[0, *page]].softmax(-1)[1:] for logits in (output.start_logits, output.end_logits))
    pairs = torch.outer(start, end).triu().tril(14)
    body = {"question": question, "word_boxes": PAGE, **({"base64": in_base64(png(picture()))} if sees else {})}
    (answer,) = ask(DOCUMENT, model, body)
    first, last = divmod(int(pairs.argmax()), len(page))
    assert answer["score"] == pytest.approx(pairs.max().item(), abs=1e-5)
    assert (answer["start"], answer["end"]) == (encoded.word_ids(0)[page[first]], encoded.word_ids(0)[page[last]])
