"""Files that models have made, on their way to a client: read from a worker's answer, kept to be fetched.

Owns the URL of a kept file; `media.artefacts` keeps it, `gateway.artefacts` serves it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from modelyard.errors import InferenceFailed
from modelyard.gateway import artefacts
from modelyard.http.exchange import HttpExchange
from modelyard.media.artefacts import Artefacts
from modelyard.media.media import Made


class KeptFiles:
    """Keeps files for a while."""

    def __init__(self, kept: Artefacts, public_url: str) -> None:
        """`public_url`: where files are fetched from; empty: where the request came to."""
        self._artefacts = kept
        self._public_url = public_url.rstrip("/")

    async def url(self, http: HttpExchange, made: Made) -> str:
        """Keeps a file; the URL it can be fetched from."""
        name = await asyncio.to_thread(self._artefacts.keep, made.data, made.media_type)
        return f"{self._public_url or http.base_url}{artefacts.PREFIX}{name}"


def read_made(output: Any) -> Made:
    """The media that a worker answered with. Raises InferenceFailed when it is none."""
    try:
        return msgspec.convert(output, Made)
    except msgspec.ValidationError as error:
        raise InferenceFailed(f"The model made no media: {error}") from error
