from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image, ImageFont
from transformers import AutoProcessor

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.tasks.visual_question_answering import TASK
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import in_base64, picture, png
from tests.builders.reference import library_model

QUESTIONS = ["Is it sunny?", "Who lives in the old forest by the river?", "Is it sunny?"]


@pytest.fixture
def model(load: Load, family: str) -> Model:
    return load(family, TASK.heads[0])


def body(question: str = QUESTIONS[0], seed: int = 0, **params: Any) -> Any:
    return {"base64": in_base64(png(picture(seed=seed))), "question": question, "params": params}


def inputs_of(model: Model, question: str) -> Any:
    return AutoProcessor.from_pretrained(model.path)(Image.fromarray(picture()), question, return_tensors="pt")


@pytest.mark.parametrize("family", ["vilt_vqa"])
@pytest.mark.parametrize("question", QUESTIONS[:2])
def test_chosen_answers_are_the_librarys_best_first(model: Model, ask: Ask, question: str) -> None:
    library = library_model("AutoModelForVisualQuestionAnswering", model.path)
    with torch.inference_mode():
        scores = library(**inputs_of(model, question)).logits[0].sigmoid()
    expected = sorted(((score, model.labels[at]) for at, score in enumerate(scores.tolist())), reverse=True)
    answers = ask(TASK, model, body(question))
    assert [one["answer"] for one in answers] == [label for _, label in expected]
    assert [one["score"] for one in answers] == pytest.approx([score for score, _ in expected], abs=1e-5)
    best = ask(TASK, model, body(question, top_k=2))
    assert [one["answer"] for one in best] == [label for _, label in expected[:2]]


@pytest.mark.parametrize("family", ["blip_vqa"])
@pytest.mark.parametrize("question", QUESTIONS[:2])
def test_written_answer_is_the_librarys_and_has_no_score(model: Model, ask: Ask, question: str) -> None:
    library = library_model("BlipForQuestionAnswering", model.path)
    with torch.inference_mode():
        ids = library.generate(**inputs_of(model, question), max_new_tokens=8, do_sample=False)[0]
    expected = AutoProcessor.from_pretrained(model.path).decode(ids, skip_special_tokens=True)
    assert ask(TASK, model, body(question, max_new_tokens=8)) == [{"score": None, "answer": expected}]
    assert expected or question != QUESTIONS[0]


@pytest.mark.parametrize("family", ["pix2struct_header"])
@pytest.mark.parametrize("question", QUESTIONS[:2])
def test_a_question_is_written_above_the_image_for_models_that_read_it_there(
    load: Load, ask: Ask, family: str, question: str
) -> None:
    model = load(family, "vision-encoder-decoder")
    library = library_model("Pix2StructForConditionalGeneration", model.path)
    processor = AutoProcessor.from_pretrained(model.path)
    font = ImageFont.load_default(36)
    assert isinstance(font, ImageFont.FreeTypeFont)
    # The library's own way to the header is to fetch another font.
    pixels = picture().transpose(2, 0, 1)
    asked = processor.image_processor.render_header(pixels, question, font_bytes=font.font_bytes)
    encoded = processor(images=Image.fromarray(asked.transpose(1, 2, 0)), is_vqa=False, return_tensors="pt")
    with torch.inference_mode():
        made = library.generate(**encoded, max_new_tokens=8, do_sample=False)[0]
    expected = processor.decode(made, skip_special_tokens=True).strip()
    assert ask(TASK, model, body(question, max_new_tokens=8)) == [{"score": None, "answer": expected}]


@pytest.mark.parametrize("family", ["git_vqa"])
@pytest.mark.parametrize("question", QUESTIONS[:2])
def test_an_answer_follows_the_question(load: Load, ask: Ask, family: str, question: str) -> None:
    model = load(family, "vision-encoder-decoder")
    library = library_model("GitForCausalLM", model.path)
    processor = AutoProcessor.from_pretrained(model.path)
    pixels = processor(images=Image.fromarray(picture()), return_tensors="pt").pixel_values
    words = processor.tokenizer(question, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[processor.tokenizer.cls_token_id, *words]])
    with torch.inference_mode():
        made = library.generate(pixel_values=pixels, input_ids=ids, max_new_tokens=8, do_sample=False)[0]
    expected = processor.decode(made[ids.shape[1] :], skip_special_tokens=True).strip()
    assert ask(TASK, model, body(question, max_new_tokens=8)) == [{"score": None, "answer": expected}]
    assert expected or question != QUESTIONS[0]


@pytest.mark.parametrize("family", ["llava"])
def test_a_model_that_talks_is_asked_in_a_message(load: Load, ask: Ask, family: str) -> None:
    model = load(family, "image-text-to-text")
    asked = {"base64": body()["base64"], "text": QUESTIONS[0], "params": {"max_new_tokens": 8}}
    said = ask(get_task("image-text-to-text"), model, asked)
    assert ask(TASK, model, body(max_new_tokens=8)) == [{"score": None, "answer": said["content"].strip()}]


@pytest.mark.parametrize("family", ["blip_vqa"])
def test_several_written_answers_are_asked_for_by_name(model: Model, ask: Ask) -> None:
    answers = ask(TASK, model, body(max_new_tokens=8, num_beams=3, num_return_sequences=2))
    assert len(answers) == 2


@pytest.mark.parametrize("family", ["vilt_vqa", "blip_vqa"])
def test_batch_answers_as_one_by_one(model: Model, ask: Ask, family: str) -> None:
    params = {"max_new_tokens": 8}
    bodies = [body(question, seed, **params) for seed, question in enumerate(QUESTIONS)]
    for answer, expected in zip(ask(TASK, model, *bodies), [ask(TASK, model, one) for one in bodies], strict=True):
        assert [one["answer"] for one in answer] == [one["answer"] for one in expected]
        if family == "vilt_vqa":
            assert [one["score"] for one in answer] == pytest.approx([one["score"] for one in expected], abs=1e-5)


@pytest.mark.parametrize("family", ["vilt_vqa"])
def test_damaged_image_fails_alone(model: Model, ask: Ask) -> None:
    error, answer = ask(TASK, model, {**body(), "base64": in_base64(b"no image")}, body())
    assert error.data["field"] == "base64"
    assert len(answer) == 5


@pytest.mark.parametrize(
    ("change", "field"), [({"params": {"top_k": 0}}, "params.top_k"), ({"question": ""}, "question")]
)
def test_wrong_fields_are_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, {**body(), **change})
    assert raised.value.data["field"] == field
