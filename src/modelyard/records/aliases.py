"""Aliases: names of an account's own that stand for models. Owns what a name may look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from modelyard.errors import InvalidRequest
from modelyard.records.clusters import Capacity
from modelyard.records.models import check_model_id

_WORD = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:@-]{0,94}[A-Za-z0-9_])?")
"""As clients of other APIs send models: `gpt-4o-mini`, `llama3:8b`, `ft:gpt-4o:org::1`."""


@dataclass(frozen=True, slots=True)
class Alias:
    """What a name stands for, to one account. `task`: that its model must have, where one is bound; None: any.
    `capacity`: of the cluster that a request through it makes; None: the default."""

    account_id: str
    name: str
    model_id: str
    created_at: datetime
    modified_at: datetime
    task: str | None = None
    capacity: Capacity | None = None


def check_alias_name(name: str) -> str:
    """`name` itself when an alias may have it: one word, or `org/name`. Raises InvalidRequest."""
    if "/" in name and ":" not in name:
        try:
            return check_model_id(name)
        except InvalidRequest:
            pass
    elif _WORD.fullmatch(name):
        return name
    raise InvalidRequest(
        field="name",
        got=name,
        accepted="1-96 letters, digits, '-', '_', '.', ':' or '@', beginning and ending with a letter, a digit or '_', "
        "such as gpt-4o-mini; or org/name as models have it",
    )
