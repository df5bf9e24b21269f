"""image-to-text: puts an image into words, by encoder-decoders (ViT with GPT-2, TrOCR, Donut, Pix2Struct), captioners
(BLIP) and models that talk about images. A text, where given, is what the answer goes on from or what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from modelyard.media.images import decode_image
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.chat_template import turn_ends
from modelyard.tasks.shared.generation import Generation, Prompt, Texts, plain_texts
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.image_prompts import encoder_prompt, message_prompt, patches_prompt, reads_texts
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs
from modelyard.tasks.shared.lengths import media_size
from modelyard.tasks.shared.prompts import encode_prompt, refuse_streamed_list


class ImageToTextInputs(ImageInputs, frozen=True, kw_only=True):
    """The image, and how the text begins."""

    text: Annotated[
        str | None,
        Meta(
            description="captioners: how the caption begins; encoder-decoders: what the decoder starts from; "
            "models that talk, or read a question above the image (DePlot): what to say about it"
        ),
    ] = None


class ImageToTextParams(GenerationParams, frozen=True, kw_only=True):
    """How the text is generated."""


ImageToTextOutput = str | list[str]
"""The text; a list when several sequences were asked for."""

CONTINUES = ("blip", "git")
"""Architectures whose text runs on from the prompt, which is then part of it."""


def prompts(model: Model, call: Call[ImageToTextInputs, ImageToTextParams]) -> list[Prompt]:
    """What the model reads of a call, by its kind. Raises InvalidRequest."""
    refuse_streamed_list(call)
    image, text = decode_image(call.inputs.media), call.inputs.text
    kind = model.config["model_type"]
    if kind == "vision-encoder-decoder" or not reads_texts(model):
        return [encoder_prompt(model, call, image, text, "text")]
    if kind == "pix2struct":
        return [patches_prompt(model, call, image, text, "text")]
    if kind in CONTINUES:
        arrays = encode_prompt(model, text or None, images=[image])
        context = arrays["input_ids"][0, :-1].tolist() if text else []
        return [Prompt(arrays=arrays, shown=text or "", context=context)]
    return [message_prompt(model, call, image, text, "text")]


def answer(_call: Call[Any, Any], texts: Texts) -> ImageToTextOutput:
    """The text, or the texts where several were asked for."""
    (text,) = plain_texts(texts)
    return text


def options(model: Model, _params: Any) -> Mapping[str, Any]:
    """What ends a text besides the model's own: BLIP's decoder is BERT, whose texts end with [SEP]."""
    if model.config["model_type"] == "blip":
        return {"stop_token_ids": (int(model.tokenizer.sep_token_id),)}
    return {"stop_token_ids": turn_ends(model, blocks=True)}


GENERATION = Generation(prompts=prompts, answer=answer, options=options)

TASK = Task(
    id="image-to-text",
    summary="Put an image into words.",
    inputs=ImageToTextInputs,
    params=ImageToTextParams,
    output=ImageToTextOutput,
    run=GENERATION.run,
    generation=GENERATION,
    heads=("vision-encoder-decoder", "image-text-to-text"),
    example={"base64": EXAMPLE},
    streams=True,
    media="image",
    wildcard="url",
    max_batch=8,
    length=lambda call: media_size(call.inputs.media),
    sizes=sizes.images_to_describe,
    pipeline_key="generated_text",
)
