"""mosec: `POST /inference`."""

from __future__ import annotations

import sys
from typing import Any

from model import BATCH, PORT, WORKERS, open_model
from mosec import Server, Worker

WAIT_MS = 1
"""The shortest that it waits for company; one client waits that long too."""
LATEST_MS = 60_000
"""How late an answer may be: by itself it gives up after three seconds."""


class OneByOne(Worker):
    """A request at a time."""

    def __init__(self) -> None:
        self.run = open_model()

    def forward(self, data: Any) -> Any:
        return {"output": self.run([data["text"]])[0]}


class InBatches(OneByOne):
    """What came together, at once."""

    def forward(self, data: Any) -> Any:
        return [{"output": output} for output in self.run([each["text"] for each in data])]


if __name__ == "__main__":
    sys.argv += ["--port", str(PORT), "--address", "127.0.0.1", "--timeout", str(LATEST_MS)]
    server = Server()
    if BATCH == 1:
        server.append_worker(OneByOne, num=WORKERS)
    else:
        server.append_worker(InBatches, num=WORKERS, max_batch_size=BATCH, max_wait_time=WAIT_MS)
    server.run()
