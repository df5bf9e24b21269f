"""Ray Serve: `POST /`. With its own proxy, or with HAProxy where the environment asks for that."""

from __future__ import annotations

import signal
import tempfile
from typing import Any

import ray
from model import BATCH, PORT, WORKERS, open_model
from ray import serve
from starlette.requests import Request

WAIT_S = 0.001
"""How long a batch waits for company."""
MOST_ONGOING = 200
"""Requests that a replica takes at once: more than there are clients."""
SPARE_CPUS = 4
"""Of what Ray thinks there is, for its own actors."""


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=MOST_ONGOING)
class OneByOne:
    """A request at a time."""

    def __init__(self) -> None:
        self.run = open_model()

    async def __call__(self, request: Request) -> Any:
        """Its text's answer."""
        return {"output": self.run([(await request.json())["text"]])[0]}


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=MOST_ONGOING)
class InBatches:
    """What came together, at once."""

    def __init__(self) -> None:
        self.run = open_model()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_S)
    async def answer(self, texts: list[str]) -> list[Any]:
        """Each text's answer."""
        return self.run(texts)

    async def __call__(self, request: Request) -> Any:
        """Its text's answer."""
        return {"output": await self.answer((await request.json())["text"])}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        ray.init(num_cpus=WORKERS + SPARE_CPUS, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        serve.run((OneByOne if BATCH == 1 else InBatches).bind())
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        ray.shutdown()
