"""`modelyard logs`: what a model's newest replica wrote."""

from __future__ import annotations

import sys
import time
from typing import Any

from modelyard.cli.client import Client, open_client
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Follow, ModelId, Url
from modelyard.config import Resolved

LOOK_AGAIN_S = 1.0
OVERLAP = 4096
"""Characters of what was shown that are looked for in a newer end of the same log."""


@with_settings("data_dir")
def logs(resolved: Resolved, model: ModelId, follow: Follow = False, url: Url = None) -> None:
    """Print what a model's newest replica wrote."""
    with open_client(url, resolved.settings) as client:
        shown = newest(client, model)
        show(shown["text"])
        if not follow and not shown["text"].endswith("\n"):
            show("\n")
        while follow:
            time.sleep(LOOK_AGAIN_S)
            now = newest(client, model)
            show(now["text"] if now["replica"] != shown["replica"] else unseen(shown["text"], now["text"]))
            shown = now


def newest(client: Client, model_id: str) -> dict[str, Any]:
    """The end of the newest replica's log."""
    found: list[dict[str, Any]] = client.ask("GET", f"logs/{model_id}")
    return found[0]


def unseen(before: str, now: str) -> str:
    """What `now`, a later end of the same log, holds beyond `before`. Pure."""
    if now.startswith(before):
        return now[len(before) :]
    known = before[-OVERLAP:]
    at = now.rfind(known)
    return now if at < 0 else now[at + len(known) :]


def show(text: str) -> None:
    """Prints at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
