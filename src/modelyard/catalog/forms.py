"""The form of a model that its replicas load: itself, or a variant made here that was measured to be better.

Owns what makes a variant one of the very files that lie there now, and which forms can be held at all. Reads
directories; opens no file.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from modelyard.catalog.files import scan_folder
from modelyard.catalog.library import NO_OPENVINO, has_openvino
from modelyard.errors import InvalidRequest
from modelyard.records.models import ModelCard
from modelyard.records.runtimes import Runtimes
from modelyard.records.variants import IN_OPENVINO


def mark_of(card: ModelCard) -> str | None:
    """A short text that changes with any of the model's files; None while they are not here."""
    if card.path is None:
        return None
    try:
        return blake2b(repr(scan_folder(card.path)).encode(), digest_size=8).hexdigest()
    except OSError:
        return None


def check_installed(runtimes: Runtimes) -> Runtimes:
    """The same. Raises InvalidRequest when a model is to have a form that nothing here could hold."""
    for model_id, choice in runtimes.by_model.items():
        if choice == IN_OPENVINO and not has_openvino():
            raise InvalidRequest(
                f"runtime: got {model_id}={choice}, which needs {NO_OPENVINO}.",
                field="runtime",
                got=f"{model_id}={choice}",
            )
    return runtimes


def as_form_of(card: ModelCard, variant: ModelCard | None) -> ModelCard:
    """The variant under the model's own name; the model's card where there is no such variant of the files as they are
    now, or it cannot be served, or needs more memory."""
    if variant is None or variant.refusal is not None or variant.memory_bytes > card.memory_bytes:
        return card
    mark = variant.inspection.original_mark
    return card if mark is None or mark != mark_of(card) else replace(variant, model_id=card.model_id)
