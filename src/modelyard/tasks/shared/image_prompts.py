"""What a model that writes about an image reads, by its kind: the image, and with it a text that is the beginning of
the answer, a question, or a message. Owns no task."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.chat_template import render_blocks
from modelyard.tasks.shared.generation import Prompt
from modelyard.tasks.shared.images import image_processor, pixels_of
from modelyard.tasks.shared.prompts import call_processor, encode_prompt, refuse_empty_prompt, refuse_long_prompt

if TYPE_CHECKING:
    from PIL.Image import Image

HEADER_SIZE = 36
"""Height of the letters that Pix2Struct's processor writes, in pixels of the image before it is scaled."""


def encoder_prompt(model: Model, call: Call[Any, Any], image: Image, text: str | None, field: str) -> Prompt:
    """The image for an encoder, and the text, where given, for its decoder to start from. Raises InvalidRequest."""
    arrays = {"pixel_values": pixels_of(model, call, image)["pixel_values"]}
    return Prompt(arrays=with_start(model, arrays, text, field))


def with_start(model: Model, arrays: Mapping[str, Array], text: str | None, field: str) -> dict[str, Array]:
    """An encoder's arguments, with the text, where given, that its decoder starts from. Raises InvalidRequest."""
    if not text:
        return dict(arrays)
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    most = (model.max_length or 10**9) - 1
    if not 0 < len(ids) <= most:
        raise InvalidRequest(field=field, got=text, accepted=f"1 to {most} tokens")
    return {**arrays, "decoder_input_ids": np.array([ids], dtype=np.int64)}


def reads_texts(model: Model) -> bool:
    """Whether the model's processor takes a text beside an image. Those that copy formulas take none."""
    return "text" in inspect.signature(type(model.processor).__call__).parameters


def reads_header(model: Model) -> bool:
    """Whether the model reads the question as letters above the image (Pix2Struct, DePlot, MatCha)."""
    return bool(getattr(image_processor(model), "is_vqa", False))


def patches_prompt(model: Model, call: Call[Any, Any], image: Image, text: str | None, field: str) -> Prompt:
    """The image as Pix2Struct reads it, in patches. The text is written above it where the model was trained to read it
    there, else the decoder starts from it. Raises InvalidRequest."""
    given: dict[str, Any] = {"images": [image]}
    if reads_header(model):
        if not text:
            accepted = "a text, which this model reads above the image: the question, or what to write about it"
            raise InvalidRequest(f"{field}: missing; accepted: {accepted}", field=field)
        given = {"images": [with_header(model, image, text)], "is_vqa": False}
    try:
        made = call_processor(model.processor, given)
    except (ValueError, ZeroDivisionError) as error:
        size = f"an image of {image.width}x{image.height} pixels"
        accepted = f"one that this model can scale ({error})"
        raise InvalidRequest(field=call.inputs.media.where, got=size, accepted=accepted) from error
    arrays = {name: np.asarray(array) for name, array in made.items()}
    return Prompt(arrays=arrays if reads_header(model) else with_start(model, arrays, text, field))


def with_header(model: Model, image: Image, text: str) -> Image:
    """The image with the text above it, as the model's processor writes it, in a font that is here."""
    from PIL import Image as images

    pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    written = image_processor(model).render_header(pixels, text, font_bytes=header_font())
    return images.fromarray(written.transpose(1, 2, 0))


@cache
def header_font() -> bytes:
    """A font for what is written above an image: Pillow's own. The library would fetch Arial from the hub instead."""
    from PIL import ImageFont

    font = ImageFont.load_default(HEADER_SIZE)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType, so that it has no font of its own")
    return bytes(font.font_bytes)


def message_prompt(model: Model, call: Call[Any, Any], image: Image, text: str | None, field: str) -> Prompt:
    """The image and the text as a user's message, for models that talk. Raises InvalidRequest."""
    blocks = [{"type": "image"}, {"type": "text", "text": text or ""}]
    prompt = render_blocks(model, [{"role": "user", "content": blocks}], field)
    arrays = encode_prompt(model, prompt.text, images=[image])
    refuse_empty_prompt(arrays, field)
    refuse_long_prompt(arrays["input_ids"].shape[1], model, call.params, field)
    return Prompt(arrays=arrays, thinking=prompt.thinking)


def question_prompt(model: Model, call: Call[Any, Any], image: Image, question: str) -> Prompt:
    """The image and a question that the answer follows, as GIT was trained on: without the token that ends a text.
    Raises InvalidRequest."""
    pixels = pixels_of(model, call, image)["pixel_values"]
    ids = [model.tokenizer.cls_token_id, *model.tokenizer(question, add_special_tokens=False)["input_ids"]]
    refuse_long_prompt(len(ids), model, call.params, "question")
    tokens = np.array([ids], dtype=np.int64)
    return Prompt(arrays={"pixel_values": pixels, "input_ids": tokens, "attention_mask": np.ones_like(tokens)})
