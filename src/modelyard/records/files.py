"""A name may say which of a repository's model files it means: `org/name:Q4_K_M`. Owns how such a name is read."""

from __future__ import annotations


def split_file(model_id: str) -> tuple[str, str | None]:
    """The repository that a name means and, where it names one of its files, that file's label."""
    repository, colon, label = model_id.partition(":")
    return repository, label if colon else None


def repository_of(model_id: str) -> str:
    """The repository that a name means."""
    return split_file(model_id)[0]
