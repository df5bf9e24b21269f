"""`POST /v1/images/generations` and `/edits`: images from texts, and from images and texts."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.kept_files import KeptFiles, read_made
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.openai.images import EditBody, ImageBody, Images, MadeImage
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import encode, now, refuse_task, split, timing
from modelyard.gateway.surfaces.openai.base import OpenAISurface, fields_of_form
from modelyard.gateway.uploads import read_body
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome
from modelyard.records.providers import PAINT
from modelyard.tasks.base import Task

FILE = "base64"
SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


class Asked(msgspec.Struct, frozen=True):
    """A request as it is answered."""

    body: Any
    extras: Mapping[str, Any]
    media: Mapping[str, Any]


class Generations(OpenAISurface):
    """Images from texts."""

    asks = PAINT
    names: ClassVar[Mapping[str, str]] = {
        "text": "prompt", FILE: "image", "params.width": "size", "params.height": "size"
    }  # fmt: skip
    shape: ClassVar[type[ImageBody]] = ImageBody
    tasks: ClassVar[tuple[str, ...]] = ("text-to-image",)

    def __init__(self, kept: KeptFiles, max_body_bytes: int) -> None:
        """`kept`: where images go that clients fetch."""
        super().__init__(max_body_bytes)
        self._kept = kept

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """JSON, or a form with files."""
        given = await read_body(http, self._max_body_bytes)
        fields = fields_of_form(given)
        media = {name: fields.pop(name) for name in (FILE, "mask") if name in fields}
        body, extras = split(self.shape, fields)
        return UnifiedBody(body.model, timing(body.timeout), Asked(body, extras, media), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id not in self.tasks:
            raise refuse_task(task, " or ".join(self.tasks))
        asked: Asked = read.asked
        params = {**asked.extras, **size_of(asked.body.size)}
        return {**self.media(asked), "text": asked.body.prompt, "params": params, "json": False}

    def media(self, asked: Asked) -> Mapping[str, Any]:
        """The images that are read. Raises InvalidRequest."""
        for name in asked.media:
            raise InvalidRequest(
                field=self.names.get(name, name), got="an image", accepted="none; POST /v1/images/edits reads one"
            )
        return {}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The image, or where it can be fetched."""
        made = read_made(outcome.output)
        if request.asked.body.response_format == "b64_json":
            image = MadeImage(b64_json=base64.b64encode(made.data).decode("ascii"))
        else:
            image = MadeImage(url=await self._kept.url(http, made))
        return Payload(encode(Images(created=now(), data=[image])))


class Edits(Generations):
    """Images from images: changed as the text says, or filled in where a mask is transparent or white."""

    shape = EditBody
    tasks = ("image-to-image",)

    def media(self, asked: Asked) -> Mapping[str, Any]:
        """The image, and the mask where there is one. Raises InvalidRequest."""
        if FILE not in asked.media:
            raise InvalidRequest("image: missing; accepted: a file with an image", field="image")
        return asked.media


def size_of(size: str | None) -> dict[str, int]:
    """Width and height as params. Raises InvalidRequest."""
    if size in (None, "auto"):
        return {}
    found = SIZE.fullmatch(size or "")
    if found is None:
        raise InvalidRequest(field="size", got=size, accepted="auto, or WIDTHxHEIGHT, as in 512x512")
    return {"width": int(found[1]), "height": int(found[2])}
