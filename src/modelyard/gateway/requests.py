"""What every request has, whatever its surface. Owns the form of a request's id, and of numbers in its query."""

from __future__ import annotations

import secrets

from starlette.requests import Request

from modelyard.errors import InvalidRequest


def new_request_id() -> str:
    """Names one request in headers and logs."""
    return f"req_{secrets.token_hex(12)}"


def whole_query(request: Request, name: str, default: int, maximum: int, *, minimum: int = 0) -> int:
    """A whole number in the query string. Raises InvalidRequest."""
    raw = request.query_params.get(name)
    if raw is None:
        return default
    if not (raw.isascii() and raw.isdigit() and len(raw) < 20 and minimum <= int(raw) <= maximum):
        raise InvalidRequest(field=name, got=raw, accepted=f"a whole number from {minimum} to {maximum}")
    return int(raw)
