"""BentoML: `POST /answer`, a list of texts each time, as its batches are lists."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bentoml
from model import BATCH, PORT, WORKERS, open_model

WAIT_MS = 60_000
"""How late an answer of a batch may be. It sends 503 to what it expects to be later."""


class OneByOne:
    """A request at a time."""

    def __init__(self) -> None:
        self.run = open_model()

    @bentoml.api(route="/answer")
    async def answer(self, texts: list[str]) -> list[Any]:
        """Its text's answer."""
        return self.run(texts)


class InBatches:
    """What came together, at once."""

    def __init__(self) -> None:
        self.run = open_model()

    @bentoml.api(route="/answer", batchable=True, max_batch_size=max(2, BATCH), max_latency_ms=WAIT_MS)
    def answer(self, texts: list[str]) -> list[Any]:
        """Each text's answer."""
        return self.run(texts)


Served = bentoml.service(
    OneByOne if BATCH == 1 else InBatches,
    workers=WORKERS,
    traffic={"timeout": 120},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)

if __name__ == "__main__":
    from bentoml_cli.cli import cli

    folder = str(Path(__file__).parent)
    options = ["--working-dir", folder, "--host", "127.0.0.1", "--port", str(PORT)]
    sys.exit(cli(["serve", "bentoml_server:Served", *options]))
