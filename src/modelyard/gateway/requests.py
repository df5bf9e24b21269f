"""What every request has, whatever its surface. Owns the form of a request's id."""

from __future__ import annotations

import secrets


def new_request_id() -> str:
    """Names one request in headers and logs."""
    return f"req_{secrets.token_hex(12)}"
