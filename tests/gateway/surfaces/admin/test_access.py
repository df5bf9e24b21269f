"""Every route of the admin API that the document describes: whom it lets in, and what it leaves in the audit log."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from modelyard.accounts.audit import DENIED_AT_ONCE
from tests.gateway.surfaces.admin.conftest import MODEL
from tests.operations import operations
from tests.serving import Server, wait_until

OWN = "acme"
"""The account that is changed."""
BODIES: Mapping[str, tuple[dict[str, Any], str]] = {
    "POST /admin/v1/accounts": ({"json": {"name": "made-by-the-walk"}}, "account.create"),
    "PATCH /admin/v1/accounts/{account}/limits": ({"json": {"maxModels": 7}}, "account.limit"),
    "POST /admin/v1/accounts/{account}/credit": ({"json": {"usd": "1"}}, "account.credit"),
    "POST /admin/v1/keys": ({"json": {"name": "walked", "account": OWN}}, "key.create"),
    "PATCH /admin/v1/keys/{key}": ({"json": {"rateLimit": 9}}, "key.limit"),
    "PUT /admin/v1/aliases": ({"json": {"account": OWN, "name": "walked", "model": MODEL}}, "alias.set"),
    "DELETE /admin/v1/aliases": ({"params": {"account": OWN, "name": "walked"}}, "alias.remove"),
    "POST /admin/v1/jobs": ({"json": {"account": OWN, "model": MODEL}}, "job.ask"),
    "DELETE /admin/v1/jobs": ({"params": {"model": MODEL}}, "job.cancel"),
    "PUT /admin/v1/shares": ({"json": {"account": OWN, "model": "hub/gated"}}, "model.share"),
    "DELETE /admin/v1/shares": ({"params": {"account": OWN, "model": "hub/gated"}}, "model.unshare"),
    "DELETE /admin/v1/cache": ({"params": {"model": "hub/cached"}}, "cache.remove"),
    "POST /admin/v1/cache/prune": ({"json": {"toBytes": 0}}, "cache.remove"),
    "DELETE /admin/v1/keys/{key}": ({}, "key.revoke"),
    "PATCH /admin/v1/nodes/{node}": ({"json": {"accepting": True}}, "node.use"),
}
"""By the route of a change, in an order in which each can be made: what is sent, and what the audit log calls it."""


def routes(admin: httpx.Client) -> list[tuple[str, str]]:
    """Method and path of every route."""
    document = admin.get("/openapi.json").json()
    return [(method.upper(), path) for method, path, words in operations(document) if "admin" in words["tags"]]


@pytest.fixture(scope="module")
def key_id(admin_server: Server) -> str:
    """A key of an account that is walked over."""
    admin_server.command("keys", "create", "walked-over", "--account", OWN)
    keys = admin_server.client.get("/admin/v1/keys", params={"account": OWN}).json()["output"]
    return str(keys[0]["id"])


def filled(path: str, key_id: str) -> str:
    return path.format(account=OWN, key=key_id, node=socket.gethostname())


def state(admin: httpx.Client) -> list[Any]:
    """All that strangers could change."""
    return [
        admin.get(f"/admin/v1/{noun}").json() for noun in ("accounts", "keys", "aliases", "shares", "jobs", "cache")
    ]


def test_only_the_operator_is_let_in(admin_server: Server, admin: httpx.Client, key_id: str) -> None:
    plain = admin_server.command("keys", "create", "laptop", "--account", "eve")
    revoked = admin_server.command("keys", "create", "old")
    with admin_server.client_of(revoked) as old:
        assert old.get("/admin/v1/accounts").status_code == 200, "another key of the operator's"
    admin_server.command("keys", "revoke", revoked[:8])
    with admin_server.client_of(revoked) as old:
        wait_until(lambda: old.get("/admin/v1/accounts").status_code == 401)
    before, walked = state(admin), routes(admin)
    assert len(walked) > 15
    for key, status in ((None, 401), ("wrong", 401), (revoked, 401), (plain, 403)):
        for method, path in walked:
            sent = BODIES.get(f"{method} {path}", ({}, ""))[0]
            with admin_server.client_of(key or "") as stranger:
                if key is None:
                    del stranger.headers["authorization"]
                told = stranger.request(method, filled(path, key_id), **sent)
            assert told.status_code in (status, 429), f"{method} {path}: {told.text}"
            assert OWN not in told.text
    assert state(admin) == before


def test_what_was_denied_is_told_and_not_without_end(admin_server: Server, admin: httpx.Client) -> None:
    secret = admin_server.command("keys", "create", "laptop", "--account", "mallory")
    with admin_server.client_of(secret) as mallory:
        for _ in range(DENIED_AT_ONCE + 15):
            assert mallory.post("/admin/v1/accounts", json={"name": "mine"}).status_code == 403
    query = {"outcome": "denied", "actor": "mallory", "limit": 1000}
    lines = admin.get("/admin/v1/audit", params=query).json()["output"]
    assert DENIED_AT_ONCE <= len(lines) <= DENIED_AT_ONCE + 5
    (keys,) = [key for key in admin.get("/admin/v1/keys").json()["output"] if key["account"] == "mallory"]
    assert lines[0]["action"] == "POST /admin/v1/accounts"
    assert (lines[0]["key"], lines[0]["source"]) == (keys["id"], "127.0.0.1")
    assert "Only keys of the operator's account" in lines[0]["reason"]
    assert secret not in str(lines)
    assert admin.get("/admin/v1/audit", params={"action": "account.create", "actor": "mallory"}).json()["output"] == []


def test_every_route_that_changes_something_leaves_a_line(
    admin_server: Server, admin: httpx.Client, key_id: str
) -> None:
    changes = {f"{method} {path}" for method, path in routes(admin) if method != "GET"}
    assert changes == BODIES.keys()
    for route, (sent, action) in BODIES.items():
        method, path = route.split(" ")
        if action == "cache.remove":
            folder = admin_server.data_dir.parent / "hub" / "hub" / "models--hub--cached" / "blobs"
            folder.mkdir(parents=True)
            (folder / "file").write_bytes(b"x" * 100)
        seen = admin.get("/admin/v1/audit", params={"limit": 1}).json()["output"][-1]["id"]
        told = admin.request(method, filled(path, key_id), **sent)
        assert told.is_success, f"{route}: {told.text}"
        (line,) = admin.get("/admin/v1/audit", params={"after": seen}).json()["output"]
        assert (line["action"], line["way"], line["actor"], line["outcome"]) == (action, "http", "admin", "done")
        assert line["key"]
        assert line["source"]


@pytest.mark.parametrize("examples", [4, pytest.param(12, marks=pytest.mark.verify(part="attacks"))])
def test_whatever_the_operator_sends_is_answered(
    admin_server: Server, admin: httpx.Client, key_id: str, examples: int
) -> None:
    """Right and wrong calls of every route, held against the document."""
    from tests.fuzz.calls import call_all  # imports what draws calls, which takes longest of all that this file needs

    made = admin.post("/admin/v1/keys", json={"name": "fuzz", "account": "admin"}).json()["output"]
    known = {"account": [OWN], "key": [key_id], "model": [MODEL]}
    called = call_all(admin_server, made["secret"], known, 1, examples, tag="admin")
    assert [str(finding) for finding in called.findings] == []
    assert len(called.operations) >= len(routes(admin))
    assert admin.get("/admin/v1/accounts").status_code == 200
