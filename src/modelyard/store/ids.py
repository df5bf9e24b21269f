"""How ids look: a short prefix by noun, then 32 random hexadecimal digits. Owns nothing else."""

from __future__ import annotations

from typing import Literal
from uuid import uuid4

Noun = Literal["account", "key", "cluster", "instance", "server"]

_PREFIXES: dict[Noun, str] = {"account": "acc", "key": "key", "cluster": "cl", "instance": "in", "server": "srv"}


def new_id(noun: Noun) -> str:
    """An id no other row has, such as `cl_9f0c…`; its prefix says what it names."""
    return f"{_PREFIXES[noun]}_{uuid4().hex}"
