"""The audit log: who has changed what of accounts, keys, limits and all else that is the operator's. No line holds a
secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Way = Literal["http", "command", "server"]
"""How a change came: over the admin API, by a command on the database itself, by a server at its start."""
Outcome = Literal["done", "denied"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes changes. `name`: of an account, or of the user of the machine. `key_id`: of the key that was shown;
    None: none was, or an unknown one. `source`: the client's address, or the machine that the command runs on; None:
    nobody knows."""

    way: Way
    name: str
    key_id: str | None = None
    source: str | None = None


SERVER = Actor("server", "server")
"""A server, for what its first start makes."""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One change, or one that was denied.

    `action`: the noun and what was done to it, such as `key.revoke`. `account`: the name of the account whose noun it
    is; None: nobody's. `subject`: what was changed, by its id or name. `before`, `after`: what the change changed,
    plain JSON; None where there was nothing before, or is nothing after. `reason`: why it was denied.
    """

    at: datetime
    actor: Actor
    action: str
    account: str | None
    subject: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    outcome: Outcome = "done"
    reason: str | None = None
    id: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which lines. None, in each of these: all. `action`: a whole action, or a noun. `after`: only lines after this id,
    from the oldest on; `before`: only lines before this id. Without `after` the newest."""

    account: str | None = None
    action: str | None = None
    actor: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    after: int | None = None
    before: int | None = None
    limit: int = 100
