"""Every change that the operator can make leaves a line: who, when, what before and after, and never a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from modelyard.accounts.administration import Administration
from modelyard.accounts.audit import DENIED_AT_ONCE, MOST_DENIED_AT_ONCE, DeniedAttempts
from modelyard.errors import ModelyardError
from modelyard.records.audit import SERVER, Actor, AuditLine, AuditQuery
from modelyard.records.clusters import Changes
from modelyard.store.store import Store
from tests.clock import HandClock

OPERATOR = Actor("command", "root", source="machine")
MODEL = "org/name"
ALIAS = {"model": MODEL, "task": None, "capacity": {"min": 0, "desired": 1, "max": 2}}


@pytest.fixture
def administration(store: Store, clock: HandClock) -> Administration:
    """With an account, a key and an alias that another process has made."""
    made = Administration(store, clock)
    made.create_key("laptop", "ada", 7)
    made.set_alias("mine", MODEL, "ada")
    made.share_model("org/shared", "ada")
    return Administration(store, clock, OPERATOR)


def key_of(administration: Administration) -> str:
    return administration.list_keys("ada")[0].key.id


Change = Callable[[Administration], object]
CHANGES: dict[str, tuple[Change, dict[str, Any] | None, dict[str, Any] | None]] = {
    "account.create": (lambda by: by.create_account("bob"), None, {"name": "bob"}),
    "account.limit": (
        lambda by: by.set_limits("ada", {"max_models": 3, "max_disk_bytes": None}),
        {"max_models": None},
        {"max_models": 3},
    ),
    "account.credit": (lambda by: by.add_credit("ada", 5), {"credit_nano": None}, {"credit_nano": 5}),
    "key.create": (lambda by: by.create_key("phone", "ada"), None, {"name": "phone", "rate_limit": None}),
    "key.revoke": (lambda by: by.revoke_key(key_of(by)), {"name": "laptop"}, None),
    "key.limit": (lambda by: by.set_rate_limit(key_of(by), 0), {"rate_limit": 7}, {"rate_limit": 0}),
    "alias.set": (
        lambda by: by.set_alias("mine", MODEL, "ada", capacity=Changes(max=2)),
        {"capacity": None},
        {"capacity": ALIAS["capacity"]},
    ),
    "alias.remove": (lambda by: by.remove_alias("mine", "ada"), ALIAS | {"capacity": None}, None),
    "model.share": (lambda by: by.share_model("org/private", "ada"), None, None),
    "job.ask": (lambda by: by.note_job(by.get_account("ada").id, MODEL, retry=True), None, {"retry": True}),
    "job.cancel": (lambda by: by.note_cancelled_job(MODEL), None, None),
    "node.drain": (lambda by: by.note_node("far", accepting=False), None, {"accepting": False}),
    "model.unshare": (lambda by: by.unshare_model("org/shared", "ada"), None, None),
}
ACCOUNTS = {"account.create": "bob", "job.cancel": None, "node.drain": None}
"""Whom a change is about where it is not ada."""
READS = ("list_", "get_", "read_", "ensure_first_keys")


def test_every_change_is_walked() -> None:
    methods = {name for name in vars(Administration) if not name.startswith(("_", *READS))}
    assert len(methods) == len(CHANGES), methods


@pytest.mark.parametrize("action", CHANGES)
def test_a_change_leaves_one_line(administration: Administration, clock: HandClock, action: str) -> None:
    change, before, after = CHANGES[action]
    seen = administration.list_audit(AuditQuery())[-1].id
    change(administration)
    (line,) = administration.list_audit(AuditQuery(after=seen))
    assert (line.action, line.actor, line.at, line.outcome) == (action, OPERATOR, clock.now(), "done")
    assert (line.before, line.after) == (before, after)
    assert line.account == ACCOUNTS.get(action, "ada")


def test_a_change_that_fails_leaves_none(administration: Administration) -> None:
    before = administration.list_audit(AuditQuery())
    wrong: tuple[Change, ...] = (
        lambda by: by.create_account("ada"),
        lambda by: by.set_limits("carl", {"max_models": 1}),
        lambda by: by.add_credit("ada", 10**20),
        lambda by: by.revoke_key("key_none"),
        lambda by: by.set_alias("mine", "mine/mine", "carl"),
        lambda by: by.remove_alias("yours", "ada"),
        lambda by: by.unshare_model("org/other", "ada"),
    )
    for change in wrong:
        with pytest.raises(ModelyardError):
            change(administration)
    assert administration.list_audit(AuditQuery()) == before


def test_an_account_that_comes_with_a_key_is_told_too(administration: Administration) -> None:
    seen = administration.list_audit(AuditQuery())[-1].id
    administration.create_key("laptop", "bob")
    told = administration.list_audit(AuditQuery(after=seen))
    assert [(line.action, line.account) for line in told] == [("account.create", "bob"), ("key.create", "bob")]


def test_no_line_holds_a_key(administration: Administration, store: Store) -> None:
    made = administration.create_key("phone", "ada")
    administration.set_rate_limit(made.secret[:8], 3)
    administration.revoke_key(made.secret[:8])
    told = str([asdict(line) for line in administration.list_audit(AuditQuery())])
    assert made.key.id in told
    assert made.secret[:8] not in told


def test_the_first_start_tells_of_its_keys_once(store: Store, clock: HandClock) -> None:
    administration = Administration(store, clock)
    for _ in range(2):
        administration.ensure_first_keys("chosen-by-the-operator", "my-cli-key")
    told = administration.list_audit(AuditQuery(action="key"))
    assert [(line.actor, line.action, line.after) for line in told] == [
        (SERVER, "key.create", {"name": "cli"}),
        (SERVER, "key.create", {"name": "MODELYARD_ADMIN_KEY"}),
    ]


def test_denied_attempts_are_told_as_long_as_there_are_few(store: Store, clock: HandClock) -> None:
    denied = DeniedAttempts(store.audit, clock)
    assert sum(denied.may_note("acc_eve", None) for _ in range(1000)) == DENIED_AT_ONCE
    assert denied.may_note("acc_bob", None)
    clock.advance(60)
    assert denied.may_note("acc_eve", None)
    assert not denied.may_note("acc_eve", None)
    strangers = sum(denied.may_note(None, f"10.{number // 256}.{number % 256}.1") for number in range(5000))
    assert strangers < MOST_DENIED_AT_ONCE
    denied.write(Actor("http", "eve", "key_7", "10.0.0.1"), "account.create", "/admin/v1/accounts", "another account")
    (line,) = store.audit.list(AuditQuery(outcome="denied"))
    assert isinstance(line, AuditLine)
    assert (line.reason, line.actor.source) == ("another account", "10.0.0.1")
