"""`modelyard audit`: who has changed what of accounts, keys, limits, credit, aliases and the cache."""

from __future__ import annotations

import json as json_format
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.administering import open_administration
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Follow, Server
from modelyard.clock import iso
from modelyard.config import Resolved
from modelyard.records.audit import AuditLine, AuditQuery

if TYPE_CHECKING:
    from datetime import datetime

LOOK_AGAIN_S = 1.0
MOST_LINES = 1000


@with_settings("data_dir", "database_url")
def audit(
    resolved: Resolved,
    account: Annotated[str | None, typer.Option(help="only what was changed of this account's, by name")] = None,
    action: Annotated[str | None, typer.Option(help="only this, such as key.revoke, or all of a noun: key")] = None,
    actor: Annotated[str | None, typer.Option(help="only what this account or user has done, by name")] = None,
    since: Annotated[str | None, typer.Option(help="only from this ISO date or time (UTC) on")] = None,
    denied: Annotated[bool, typer.Option("--denied", help="only what was denied")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LINES, help="how many of the latest to begin with")] = 100,
    follow: Follow = False,
    server: Server = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON, a line each")] = False,
) -> None:
    """Print who has changed what, when, from where, oldest first."""
    query = AuditQuery(account, action, actor, "denied" if denied else None, read_since(since), limit=limit)
    with open_administration(resolved.settings, server) as administration:
        found = administration.list_audit(query)
        seen = show(found, 0, json=json)
        if not found and not follow:
            typer.echo("Nothing has been changed that this asks for.", err=True)
        while follow:
            time.sleep(LOOK_AGAIN_S)
            seen = show(administration.list_audit(replace(query, after=seen)), seen, json=json)


def read_since(text: str | None) -> datetime | None:
    """The moment; None where none is given. Raises InvalidRequest."""
    from modelyard.accounts.usage import read_moment

    return None if text is None else read_moment(text, "--since")


def show(lines: Iterable[AuditLine], seen: int, *, json: bool) -> int:
    """Prints lines; returns the id of the last one, `seen` when there is none."""
    for line in lines:
        seen = line.id
        typer.echo(json_format.dumps(describe(line), ensure_ascii=False) if json else in_words(line))
    return seen


def describe(line: AuditLine) -> dict[str, Any]:
    """A line as it may be shown."""
    return {
        "id": line.id,
        "at": iso(line.at),
        "actor": line.actor.name,
        "way": line.actor.way,
        "key": line.actor.key_id,
        "source": line.actor.source,
        "action": line.action,
        "account": line.account,
        "subject": line.subject,
        "before": line.before,
        "after": line.after,
        "outcome": line.outcome,
        "reason": line.reason,
    }


def in_words(line: AuditLine) -> str:
    """A line for people, on one line whatever its names hold."""
    actor = line.actor
    who = f"{actor.name} ({', '.join(filter(None, (actor.way, actor.source, actor.key_id)))})"
    what = line.subject if line.account in (None, line.subject) else f"{line.subject} of {line.account}"
    told = line.reason if line.outcome == "denied" else changes_of(line)
    words = f"{line.outcome:6}  {who}  {line.action}  {what}  {told}"
    return f"{iso(line.at)}  " + "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words)


def changes_of(line: AuditLine) -> str:
    """What was before and is after, such as `max_models: 3 → null`."""
    before, after = line.before or {}, line.after or {}
    names = [*before, *(name for name in after if name not in before)]
    return ", ".join(change_of(name, before, after) for name in names)


def change_of(name: str, before: Any, after: Any) -> str:
    """One field."""
    values = (json_format.dumps(each[name], ensure_ascii=False) for each in (before, after) if name in each)
    return f"{name}: {' → '.join(values)}"
