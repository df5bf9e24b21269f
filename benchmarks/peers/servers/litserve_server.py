"""LitServe: `POST /predict`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import litserve
from model import BATCH, PORT, WORKERS, Writer, open_model

WAIT_S = 0.001
"""How long it waits for company; with none at all it keeps a core busy while nobody asks."""
STREAMS = os.environ.get("BENCH_STREAMS") == "1"


class OneByOne(litserve.LitAPI):
    """A request at a time."""

    def setup(self, device: str) -> None:
        self.run = open_model()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # it takes a type for the body's own
        return str(request["text"])

    def predict(self, text: Any) -> Any:
        return self.run([text])[0]

    def encode_response(self, output: Any) -> Any:
        return {"output": output}


class InBatches(OneByOne):
    """What came together, at once."""

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, text: Any) -> Any:
        return self.run(text)

    def unbatch(self, output: Any) -> Any:
        return output


class InPieces(OneByOne):
    """A request at a time, its answer as it is made."""

    def setup(self, device: str) -> None:
        self.writer = Writer()

    def predict(self, text: Any) -> Iterator[str]:
        yield from self.writer.stream(text)

    def encode_response(self, output: Any) -> Iterator[str]:
        yield from output


if __name__ == "__main__":
    api: Any
    if STREAMS:
        api = InPieces(stream=True)
    elif BATCH == 1:
        api = OneByOne()
    else:
        api = InBatches(max_batch_size=BATCH, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="error")
