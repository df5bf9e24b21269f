"""What every request has, whatever its surface. Owns the form of a request's id, and how a path names a model."""

from __future__ import annotations

import random
import secrets
import time

from starlette.requests import Request

_chance = random.Random(secrets.randbits(256))  # noqa: S311 - names are no secrets


def new_request_id() -> str:
    """Names one request in headers and logs. Begins with the time, as UUIDs of version 7 do: neighbours in time are
    neighbours in the database's index, which otherwise writes a page for each request."""
    return "req_" + (time.time_ns() // 1_000_000 << 48 | _chance.getrandbits(48)).to_bytes(12).hex()


def model_name_of(request: Request) -> str:
    """The name of a model in a path, which may be an alias."""
    return f"{request.path_params['org']}/{request.path_params['model']}"
