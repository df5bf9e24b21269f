"""Whether a model that reads text has a tokenizer among its files. The library makes one of special tokens alone where
there is none, and answers whatever it is asked.

Pure: knows no files.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from modelyard.catalog.architectures import known_task

PARTS = ("token", "vocab", "merges", "bpe", "spm", "spiece", "sentencepiece", "tekken", "dict.txt", "byte_maps")
"""What names of such files hold; not all are read by one library. Source: VOCAB_FILES_NAMES of transformers' own."""
ENDINGS = (".model", ".tiktoken", ".spm")


def find_missing_tokenizer(task_id: str | None, names: Collection[str]) -> str | None:
    """What to say of a model whose task reads text and whose files, by these names, hold no tokenizer; else None."""
    if not reads_text(task_id) or any(is_of_tokenizer(name) for name in names):
        return None
    return (
        "has no tokenizer (tokenizer.json, or the vocabulary it is made of), so it cannot read text; copy it from the "
        "model that this one was made from"
    )


def reads_text(task_id: str | None) -> bool:
    """Whether a task has nothing but text to give to a model, and gets no media of it."""
    task = known_task(task_id) if task_id else None
    return task is not None and bool(task.heads) and task.media is None and task.makes is None


def is_of_tokenizer(name: str) -> bool:
    """Whether a file may be one that a tokenizer is made of."""
    last = PurePosixPath(name).name.lower()
    return last.endswith(ENDINGS) or any(part in last for part in PARTS)
