from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.image_to_text import TASK
from modelyard.tasks.model import Model
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import in_base64, picture, png
from tests.builders.reference import library_model

SHORT = {"max_new_tokens": 8}
FAMILIES = ["vit_gpt2", "blip_captioner", "llava", "paligemma", "donut", "pix2struct"]
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def model(load: Load, family: str) -> Model:
    return load(family, TASK.heads[0])


def body(seed: int = 0, text: str | None = None, **params: Any) -> Any:
    return {"base64": in_base64(png(picture(seed=seed))), "text": text, "params": {**SHORT, **params}}


def reference(family: str, model: Model, text: str | None, seed: int = 0) -> Any:
    """The text by the library alone."""
    library = library_model("AutoModelForImageTextToText", model.path)
    image = Image.fromarray(picture(seed=seed))
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    options = {**SHORT, "do_sample": False}
    if family in ("vit_gpt2", "donut"):
        inputs = AutoImageProcessor.from_pretrained(model.path)(image, return_tensors="pt")
        inputs = {"pixel_values": inputs["pixel_values"]}
        if text:
            inputs["decoder_input_ids"] = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    else:
        processor = AutoProcessor.from_pretrained(model.path)
        asked = f"<|user|><image>{text or ''}<|end|><|assistant|>" if family == "llava" else text
        arrays = processor(images=image, **({} if asked is None else {"text": asked}), return_tensors="np")
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.inference_mode():
        ids = library.generate(**inputs, **options)[0]
    prompt = inputs.get("decoder_input_ids", inputs.get("input_ids"))
    if family == "blip_captioner":
        return tokenizer.decode(ids, skip_special_tokens=True)
    start = 0 if prompt is None else prompt.shape[1]
    if family in ("vit_gpt2", "pix2struct") and text:
        start += 1  # the library puts the decoder's start token in front
    return tokenizer.decode(ids[start:], skip_special_tokens=True)


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("vit_gpt2", None),
        ("vit_gpt2", "the fox"),
        ("blip_captioner", None),
        ("blip_captioner", "a story of"),
        ("llava", None),
        ("llava", "What is it?"),
        ("paligemma", "caption en"),
        ("donut", "<s_docvqa>"),
        ("pix2struct", None),
        ("pix2struct", "the fox"),
    ],
)
def test_text_is_the_librarys(model: Model, family: str, text: str | None, ask: Ask) -> None:
    assert ask(TASK, model, body(text=text)) == reference(family, model, text)


@every_family
def test_stream_is_the_unstreamed_text(model: Model, ask: Ask) -> None:
    pieces: list[str] = []
    answer = ask(TASK, model, body(text="the fox"), emit=pieces.append)
    assert "".join(pieces) == answer
    assert len(pieces) > 1


@every_family
def test_batch_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [body(seed=seed, text=text) for seed, text in enumerate(("the fox", "a story of", "the fox"))]
    assert ask(TASK, model, *bodies) == [ask(TASK, model, one) for one in bodies]


@pytest.mark.parametrize("family", ["blip_captioner"])
def test_caption_goes_on_from_the_prompt(model: Model, ask: Ask) -> None:
    assert ask(TASK, model, body(text="A story of")).startswith("A story of")


@pytest.mark.parametrize("family", ["pix2struct_header"])
def test_a_model_that_reads_a_header_wants_one(model: Model, ask: Ask) -> None:
    assert ask(TASK, model, body()).data["field"] == "text"
    assert isinstance(ask(TASK, model, body(text="What is it?")), str)


@pytest.mark.parametrize("family", ["vit_gpt2"])
def test_several_sequences_are_a_list_but_not_in_a_stream(model: Model, ask: Ask) -> None:
    several = body(num_return_sequences=2, num_beams=2)
    assert len(ask(TASK, model, several)) == 2
    assert ask(TASK, model, several, emit=print).data["field"] == "params.num_return_sequences"


@pytest.mark.parametrize("family", ["vit_gpt2"])
def test_damaged_image_fails_alone(model: Model, ask: Ask) -> None:
    error, answer = ask(TASK, model, {"image_url": in_base64(b"no image"), "params": SHORT}, body())
    assert error.data["field"] == "image_url"
    assert isinstance(answer, str)


def test_wrong_params_are_named() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.num_beams"):
        read(TASK, body(num_beams=0))
