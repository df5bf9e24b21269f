"""What every request has, whatever its surface. Owns the form of a request's id, and how a path names a model."""

from __future__ import annotations

import os

from starlette.requests import Request

from modelyard.records.models import check_model_id


def new_request_id() -> str:
    """Names one request in headers and logs."""
    return f"req_{os.urandom(12).hex()}"


def model_id_of(request: Request) -> str:
    """The model a path names. Raises InvalidRequest."""
    return check_model_id(f"{request.path_params['org']}/{request.path_params['model']}")
