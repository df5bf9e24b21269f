"""A name may say which of a repository's model files it means: `org/name:Q4_K_M`. Owns how such a name is read."""

from __future__ import annotations

import re

_QUANTISATION = re.compile(r"(?:UD-)?(?:I?Q\d+_\w+|TQ\d_\d|B?F16|F32|MXFP4\w*)", re.IGNORECASE)
"""Labels that llama.cpp and those who publish write in capitals."""


def split_file(model_id: str) -> tuple[str, str | None]:
    """The repository that a name means and, where it names one of its files, that file's label."""
    repository, colon, label = model_id.partition(":")
    return repository, label if colon else None


def spell(model_id: str) -> str:
    """The one spelling of a name that may be typed in several: a label means the same in capitals and in small letters.
    Idempotent."""
    repository, label = split_file(model_id)
    if label is None:
        return model_id
    return f"{repository}:{label.upper() if _QUANTISATION.fullmatch(label) else label.lower()}"


def repository_of(model_id: str) -> str:
    """The repository that a name means."""
    return split_file(model_id)[0]
