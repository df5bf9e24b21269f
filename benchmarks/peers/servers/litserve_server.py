"""LitServe: `POST /predict`."""

from __future__ import annotations

from typing import Any

import litserve
from model import BATCH, PORT, WORKERS, open_model

WAIT_S = 0.001
"""How long it waits for company; with none at all it keeps a core busy while nobody asks."""


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


if __name__ == "__main__":
    api = OneByOne() if BATCH == 1 else InBatches(max_batch_size=BATCH, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="error")
