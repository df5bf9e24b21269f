"""Models on request, as clients ask for them and wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.serving import Server, wait_until

JOB_S = 300.0


def request(client: httpx.Client, model_id: str, **body: Any) -> httpx.Response:
    return client.post(f"/models/v2/request/{model_id}", json=body)


def job(client: httpx.Client, model_id: str) -> dict[str, Any]:
    return dict(client.get(f"/models/v2/request/{model_id}").json()["output"])


def until_over(client: httpx.Client, model_id: str) -> dict[str, Any]:
    """The job once it is done or has failed."""
    wait_until(lambda: job(client, model_id)["endTime"] is not None, JOB_S, every_s=0.1)
    return job(client, model_id)


@contextmanager
def benchmark_under_way(server: Server, model_id: str) -> Iterator[None]:
    """A model that has been asked for, whose worker does not boot before the end of the block."""
    with server.boots_held():
        request(server.client, model_id)
        wait_until(lambda: job(server.client, model_id)["status"] == "benchmarking", JOB_S)
        yield


def listed(server: Server, model_id: str) -> dict[str, Any]:
    """The model's line in the catalogue."""
    (row,) = server.client.get("/models/v2/list/models", params={"modelId": model_id}).json()["output"]
    return dict(row)
