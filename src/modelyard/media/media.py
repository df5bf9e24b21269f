"""Media inside requests and answers, as plain data. Owns the two records; fetches and decodes nothing."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Kind = Literal["image", "audio", "video"]


class Media(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One piece of media in a request.

    As it comes from a client it has a `url` or `base64`; the gateway turns either into `data` before a worker sees
    it. `where` is what the client called it (`image_url`, `messages[0].content[1]`), for messages about it.
    """

    where: Annotated[str, Meta(description="the field it came in")]
    url: Annotated[str | None, Meta(description="http(s) URL to fetch it from")] = None
    base64: Annotated[str | None, Meta(description="its bytes in base64, bare or as a data URL")] = None
    data: Annotated[bytes | None, Meta(description="its bytes")] = None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """Media that a task has made: `data` in the format that `media_type` names, e.g. image/png."""

    data: Annotated[bytes, Meta(description="its bytes; over HTTP a client gets them, or a URL of them")]
    media_type: Annotated[str, Meta(description="its format, e.g. image/png")]
