"""Models that write one given text, on a server while tests ask them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.serving import Server

THOUGHT, SAID = "Two and two.", "Four."
THINKING_PIECES = ["Two and", " two.", "\n</think>", "\n\nFo", "ur.", "<tool_call>", '{"name": "add"}', "</tool_call>"]
"""What a model writes that thinks `THOUGHT`, says `SAID` and calls a function; its template begins the thinking."""


@contextmanager
def scripted_model(server: Server, model_id: str, pieces: Sequence[str], **more: Any) -> Iterator[str]:
    """A model of the server's that answers everything by `pieces`, and is gone afterwards. `more`: of
    `build_scripted`."""
    from tests.builders.scripted import build_scripted  # imports the model libraries, which not all who read this need

    folder = server.models_dir / model_id
    build_scripted(folder, pieces, **more)
    try:
        yield model_id
    finally:
        server.client.delete(f"/models/v2/{model_id}")
        shutil.rmtree(folder)


@contextmanager
def thinking_model(server: Server, model_id: str) -> Iterator[str]:
    """One that thinks, answers and calls a function."""
    with scripted_model(server, model_id, THINKING_PIECES, mark="<think> <tool_call>", opens=True):
        yield model_id
