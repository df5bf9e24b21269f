"""Names of models, as found on disk or typed by people. Pure."""

from __future__ import annotations

from modelyard.errors import InvalidRequest
from modelyard.records.models import check_model_id


def is_model_id(text: str) -> bool:
    """Whether `text` is a well-formed `org/name`, a whole repository."""
    if ":" in text:
        return False
    try:
        check_model_id(text)
    except InvalidRequest:
        return False
    return True
