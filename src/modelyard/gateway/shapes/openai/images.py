"""What `/v1/images/*` reads and answers. Only describes: `surfaces.openai.images` speaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, UnsetType

from modelyard.gateway.shapes.base import Fallbacks, described
from modelyard.gateway.shapes.openai.base import OpenAIShape
from modelyard.gateway.shapes.openai.writing import NO_EFFECT


class ImageBody(OpenAIShape, frozen=True, kw_only=True):
    """What an image is to show."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    models: Fallbacks = None
    prompt: Annotated[str, described("What it shows.")]
    n: Annotated[Literal[1] | None, described("1: a request makes one image.", accepted="1")] = None
    size: Annotated[
        str | None,
        described("`auto`, or width and height in pixels: 512x512.", accepted="auto, or WIDTHxHEIGHT, as in 512x512"),
    ] = None
    response_format: Annotated[
        Literal["url", "b64_json"], described("A URL of the image, which expires, or the image itself in base64.")
    ] = "url"
    output_format: Annotated[Literal["png"] | None, described("png.")] = None
    background: Annotated[Literal["auto", "opaque"] | None, described("Images are opaque.")] = None
    quality: Annotated[
        Literal["auto", "standard"] | None, described("As the model makes it; num_inference_steps says more.")
    ] = None
    user: Annotated[str | None, described(NO_EFFECT)] = None
    timeout: Annotated[
        float | None, described("Seconds that the request may take in all.", accepted="a number of seconds above 0")
    ] = None


class EditBody(ImageBody, frozen=True, kw_only=True):
    """The fields of a form beside its files, `image` and `mask`; in JSON, `base64` and `mask`."""

    input_fidelity: Annotated[Literal["low"] | None, described("low; strength says more.")] = None


class MadeImage(OpenAIShape, frozen=True, kw_only=True):
    """An image that was made."""

    url: Annotated[str | UnsetType, described("Where it can be fetched without a key until it expires.")] = UNSET
    b64_json: Annotated[str | UnsetType, described("The image itself, in base64.")] = UNSET


class Images(OpenAIShape, frozen=True, kw_only=True):
    """The images that were made."""

    created: Annotated[int, described("Seconds since 1970.")]
    data: Annotated[Sequence[MadeImage], described("One image.")]
    output_format: Annotated[Literal["png"], described("What it is.")] = "png"
