"""The admin API's calls: what each changes and tells, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from modelyard.config import DATABASE_NAME
from modelyard.records.instances import Instance, Tariff
from modelyard.store.store import Store
from modelyard.units import GIB
from tests.gateway.surfaces.admin.conftest import MODEL
from tests.serving import Server, wait_until

ROOT = "/admin/v1"
ALIAS = {"account": "admin", "model": "org/model"}
_numbers = count(1)


def ask(admin: httpx.Client, method: str, path: str, status: int = 200, **sent: Any) -> Any:
    """What is in the envelope."""
    told = admin.request(method, ROOT + path, **sent)
    assert told.status_code == status, told.text
    return told.json()["output"]


def refusal(admin: httpx.Client, method: str, path: str, status: int, **sent: Any) -> dict[str, Any]:
    """The error."""
    told = admin.request(method, ROOT + path, **sent)
    assert told.status_code == status, told.text
    body: dict[str, Any] = told.json()
    assert body["output"] is None
    return body


def new_account(admin: httpx.Client) -> dict[str, Any]:
    return dict(ask(admin, "POST", "/accounts", 201, json={"name": f"account-{next(_numbers)}"}))


def test_an_account_is_made_limited_and_read(admin: httpx.Client) -> None:
    made = new_account(admin)
    name = made["name"]
    assert (made["keys"], made["maxModels"], made["creditUsd"]) == (0, None, None)
    limits = {"maxModels": 3, "maxMemoryBytes": 2**31, "weight": 3, "monthlyLimitUsd": "99.000000001"}
    limited = ask(admin, "PATCH", f"/accounts/{name}/limits", json=limits)
    assert {field: limited[field] for field in limits} == limits
    lifted = ask(admin, "PATCH", f"/accounts/{made['id']}/limits", json={"maxModels": None, "monthlyLimitUsd": None})
    assert (lifted["maxModels"], lifted["maxMemoryBytes"], lifted["monthlyLimitUsd"]) == (None, 2**31, None)
    assert ask(admin, "POST", f"/accounts/{name}/credit", json={"usd": "12.5"})["creditUsd"] == "12.50"
    assert ask(admin, "POST", f"/accounts/{name}/credit", json={"usd": "-12.500000001"})["creditUsd"] == "-0.000000001"
    assert ask(admin, "GET", f"/accounts/{name}") == {**lifted, "creditUsd": "-0.000000001"}


def test_a_key_is_shown_once_works_and_is_ended(admin_server: Server, admin: httpx.Client) -> None:
    name = new_account(admin)["name"]
    made = ask(admin, "POST", "/keys", 201, json={"name": "laptop", "account": name, "rateLimit": 5})
    with admin_server.client_of(made["secret"]) as client:
        assert client.get("/models/v2/list/clusters").status_code == 200
        (listed,) = ask(admin, "GET", "/keys", params={"account": name})
        assert listed == {field: value for field, value in made.items() if field != "secret"}
        assert made["secret"] not in admin.get(f"{ROOT}/keys").text + admin.get(f"{ROOT}/audit").text
        ask(admin, "PATCH", f"/keys/{made['id']}", json={"rateLimit": None})
        assert ask(admin, "GET", "/keys", params={"account": name})[0]["rateLimit"] is None
        ask(admin, "DELETE", f"/keys/{made['prefix']}")
        assert ask(admin, "GET", "/keys", params={"account": name})[0]["revoked"].endswith("Z")
        wait_until(lambda: client.get("/models/v2/list/clusters").status_code == 401)
    assert refusal(admin, "DELETE", f"/keys/{made['id']}", 404)["code"] == "unknown_key"


def test_clusters_of_all_accounts_are_listed_and_those_of_one(admin_server: Server, admin: httpx.Client) -> None:
    names = sorted(new_account(admin)["name"] for _ in range(2))
    for name in names:
        secret = ask(admin, "POST", "/keys", 201, json={"name": "laptop", "account": name})["secret"]
        with admin_server.client_of(secret) as client:
            client.put(f"/models/v2/{MODEL}", json={"capacity": {"desired": 0}, "timeout": 77}).raise_for_status()
            own = client.get(f"/models/v2/{MODEL}").json()["output"]
        (listed,) = ask(admin, "GET", "/clusters", params={"account": name})
        assert listed == {**own, "account": name, "accountId": listed["accountId"]}
        assert ask(admin, "GET", "/clusters", params={"account": listed["accountId"]}) == [listed]
    seen: list[str] = []
    query = {"limit": "1"}
    while True:
        page = admin.get(f"{ROOT}/clusters", params=query).json()
        seen += [each["account"] for each in page["output"]]
        if "next" not in page:
            break
        query["after"] = page["next"]
    assert seen == sorted(seen)
    assert [each for each in seen if each in names] == names
    assert ask(admin, "GET", "/clusters", params={"account": names[0], "model": MODEL})[0]["account"] == names[0]
    assert ask(admin, "GET", "/clusters", params={"account": names[0], "model": "org/other"}) == []
    assert ask(admin, "GET", "/clusters", params={"account": new_account(admin)["name"]}) == []
    assert refusal(admin, "GET", "/clusters", 404, params={"account": "nobody"})["code"] == "unknown_account"


def test_an_alias_is_known_to_the_next_request(admin_server: Server, admin: httpx.Client) -> None:
    name = new_account(admin)["name"]
    secret = ask(admin, "POST", "/keys", 201, json={"name": "laptop", "account": name})["secret"]
    body = {"account": name, "name": "mine", "model": MODEL, "task": "text-generation", "capacity": {"max": 2}}
    made = ask(admin, "PUT", "/aliases", json=body)
    assert made["capacity"] == {"min": 0, "desired": 1, "max": 2}
    with admin_server.client_of(secret) as client:
        assert client.get("/v1/models/mine").json()["alias_of"] == MODEL
        changed = ask(admin, "PUT", "/aliases", json={"account": name, "name": "mine", "model": "other/model"})
        assert (changed["model"], changed["task"], changed["capacity"]) == ("other/model", None, None)
        assert changed["created"] == made["created"]
        assert ask(admin, "GET", "/aliases", params={"account": name}) == [changed]
        ask(admin, "DELETE", "/aliases", params={"account": name, "name": "mine"})
        assert client.get("/v1/models/mine").status_code == 404
    told = refusal(admin, "DELETE", "/aliases", 404, params={"account": name, "name": "mine"})
    assert told["code"] == "unknown_alias"


def test_jobs_of_all_accounts_are_listed_and_asked_for(admin: httpx.Client) -> None:
    name = new_account(admin)["name"]
    assert ask(admin, "GET", "/jobs", params={"account": name}) == []
    asked = admin.post(f"{ROOT}/jobs", json={"account": name, "model": MODEL}).json()
    assert asked["job"]["modelId"] == MODEL
    for query in ({"account": name}, {}):
        assert MODEL in [job["modelId"] for job in ask(admin, "GET", "/jobs", params=query)]


def test_a_job_is_cancelled_for_all_who_have_asked_for_it(admin_server: Server, admin: httpx.Client) -> None:
    names = [new_account(admin)["name"] for _ in range(2)]
    for name in names:
        ask(admin, "POST", "/jobs", json={"account": name, "model": MODEL, "retry": True})
    cancelled = ask(admin, "DELETE", "/jobs", params={"model": MODEL})
    assert (cancelled["modelId"], cancelled["status"]) == (MODEL, "failed")
    assert "Cancelled by the operator" in cancelled["message"]
    for name in names:
        (job,) = ask(admin, "GET", "/jobs", params={"account": name})
        assert (job["status"], job["message"]) == ("failed", cancelled["message"])
    assert "waits or is under way" in refusal(admin, "DELETE", "/jobs", 404, params={"model": MODEL})["error"]
    ask(admin, "POST", "/jobs", json={"account": names[0], "model": MODEL, "retry": True})
    admin_server.command("jobs", "cancel", MODEL, "--url", admin_server.url)
    assert ask(admin, "GET", "/jobs", params={"account": names[0]})[0]["status"] == "failed"


def test_a_model_of_the_hub_is_shared_and_taken_back(admin: httpx.Client) -> None:
    name = new_account(admin)["name"]
    share = {"account": name, "model": "Hub/Gated"}
    assert ask(admin, "PUT", "/shares", json=share)["name"] == name
    assert {"model": "hub/gated", "accounts": [name]} in ask(admin, "GET", "/shares")
    assert ask(admin, "DELETE", "/shares", params=share)["name"] == name
    assert name not in admin.get(f"{ROOT}/shares").text
    assert "not shared" in refusal(admin, "DELETE", "/shares", 422, params=share)["error"]


def test_what_accounts_have_used_is_told_exactly(admin_server: Server, admin: httpx.Client) -> None:
    made = new_account(admin)
    began = datetime(2026, 5, 1, 23, 59, 30, tzinfo=UTC)
    life = Instance(f"in_{made['id']}", "cl", made["id"], "org/a", "node", GIB, began, began + timedelta(seconds=90))
    life = replace(life, ready_at=began, tariff=Tariff(16_666_700, minimum_s=0, round_s=0))
    store = Store.open(f"sqlite:///{admin_server.data_dir / DATABASE_NAME}")
    store.instances.open(life)
    store.close()
    query = {"account": made["name"], "since": "2026-05-01", "until": "2026-05-03"}
    first, second = ask(admin, "GET", "/usage", params=query)
    assert (first["account"], first["day"], first["model"], first["instances"]) == (
        made["name"], "2026-05-01", "org/a", 1,
    )  # fmt: skip
    assert [row["seconds"] for row in (first, second)] == ["30.000000", "60.000000"]
    (line,) = ask(admin, "GET", "/usage/instances", params=query)
    assert (line["instance"], line["since"], line["gb"]) == (life.id, "2026-05-01T23:59:30.000000Z", "1.000000")
    assert line["costUsd"] == "0.001500003"
    assert ask(admin, "GET", "/usage", params={**query, "account": "admin"}) == []
    told = admin_server.command("usage", *(f"--{name}={value}" for name, value in query.items()), "--json")
    assert [row["cost_usd"] for row in json.loads(told)] == [row["costUsd"] for row in (first, second)]


def test_the_disk_and_the_machines_are_told(admin: httpx.Client) -> None:
    assert ask(admin, "GET", "/cache") == []
    assert refusal(admin, "DELETE", "/cache", 422, params={"model": "no/model"})["field"] == "model"
    assert ask(admin, "POST", "/cache/prune", json={"olderThanDays": 1}) == []
    assert "Nothing to remove" in refusal(admin, "POST", "/cache/prune", 422, json={})["error"]
    (node,) = ask(admin, "GET", "/nodes")
    assert node["memoryBytes"] >= node["reservedBytes"] >= 0
    (device,) = node["devices"]
    assert (device["name"], device["memoryBytes"], device["accepting"]) == ("cuda:0", 2 * GIB, True)
    assert device["memoryBytes"] >= device["reservedBytes"] >= device["heldBytes"] >= 0
    one = f"/nodes/{node['name']}"
    assert "takes no new replicas" in ask(admin, "PATCH", one, json={"accepting": False})
    assert [each["accepting"] for each in ask(admin, "GET", "/nodes")] == [False]
    assert ask(admin, "PATCH", one, json={"accepting": True}) == f"{node['name']} takes replicas."
    assert ask(admin, "GET", "/audit", params={"action": "node"})[-1]["action"] == "node.use"
    taken = ask(admin, "PATCH", one, json={"accepting": False, "device": "cuda:0"})
    assert taken.startswith(f"cuda:0 of {node['name']} takes no new replicas")
    (after,) = ask(admin, "GET", "/nodes")
    assert (after["accepting"], [each["accepting"] for each in after["devices"]]) == (True, [False])
    ask(admin, "PATCH", one, json={"accepting": True, "device": "cuda:0"})
    unknown = refusal(admin, "PATCH", one, 404, json={"accepting": False, "device": "cuda:1"})
    assert unknown["error"].startswith(f"{node['name']} has no device cuda:1; it has: cuda:0")
    assert ask(admin, "GET", "/audit", params={"action": "node"})[-1]["subject"] == f"cuda:0 of {node['name']}"


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "code", "words"),
    [
        ("POST", "/accounts", {"json": {"name": " "}}, 422, "invalid_request", "name: got ' '"),
        ("POST", "/accounts", {"json": {}}, 422, "invalid_request", "name"),
        ("POST", "/accounts", {"json": {"name": "a", "more": 1}}, 422, "invalid_request", "more"),
        ("POST", "/accounts", {"content": b"{"}, 400, "malformed_body", "not valid JSON"),
        ("POST", "/accounts", {"json": {"name": "x" * 70_000}}, 413, "body_too_large", ""),
        ("GET", "/accounts/nobody", {}, 404, "unknown_account", "No account is called nobody"),
        ("PATCH", "/accounts/admin/limits", {"json": {"maxModels": -1}}, 422, "invalid_request", "maxModels"),
        ("PATCH", "/accounts/admin/limits", {"json": {"monthlyLimitUsd": "-1"}}, 422, "invalid_request", "got '-1'"),
        ("PATCH", "/accounts/admin/limits", {"json": {"weight": 0}}, 422, "invalid_request", "weight: got 0"),
        ("POST", "/accounts/admin/credit", {"json": {"usd": "1e9"}}, 422, "invalid_request", "usd: got '1e9'"),
        ("POST", "/accounts/nobody/credit", {"json": {"usd": "1"}}, 404, "unknown_account", "nobody"),
        ("POST", "/keys", {"json": {"name": "", "account": "admin"}}, 422, "invalid_request", "name: got ''"),
        ("POST", "/keys", {"json": {"name": "a"}}, 422, "invalid_request", "account"),
        ("PATCH", "/keys/key_none", {"json": {"rateLimit": 1}}, 404, "unknown_key", "key_none"),
        ("PATCH", "/nodes/none", {"json": {"accepting": False}}, 404, "unknown_node", "There is no node none"),
        ("PATCH", "/nodes/none", {"json": {}}, 422, "invalid_request", "accepting"),
        ("PATCH", "/keys/key_none", {"json": {}}, 422, "invalid_request", "rateLimit"),
        ("GET", "/keys?account=nobody", {}, 404, "unknown_account", "nobody"),
        ("GET", "/keys?limit=0", {}, 422, "invalid_request", "limit"),
        ("PUT", "/aliases", {"json": {**ALIAS, "name": "a b"}}, 422, "invalid_request", "a b"),
        ("PUT", "/aliases", {"json": {**ALIAS, "name": MODEL}}, 422, "invalid_request", MODEL),
        ("GET", "/audit?since=yesterday", {}, 422, "invalid_request", "since: got 'yesterday'"),
        ("GET", "/usage?since=yesterday", {}, 422, "invalid_request", "since: got 'yesterday'"),
        ("GET", "/usage?account=nobody", {}, 404, "unknown_account", "nobody"),
        ("PUT", "/shares", {"json": {"account": "nobody", "model": MODEL}}, 404, "unknown_account", "nobody"),
        ("PUT", "/shares", {"json": {"account": "admin", "model": "x"}}, 422, "invalid_request", "model: got 'x'"),
        ("DELETE", "/jobs?model=no/model", {}, 404, "not_found", "No job of no/model waits or is under way"),
        ("POST", "/jobs", {"json": {"account": "admin", "model": "x"}}, 422, "invalid_request", "model: got 'x'"),
        ("POST", "/jobs", {"json": {"account": "nobody", "model": MODEL}}, 404, "unknown_account", "nobody"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_changes_nothing(
    admin: httpx.Client, method: str, path: str, sent: dict[str, Any], status: int, code: str, words: str
) -> None:
    before = ask(admin, "GET", "/audit")
    told = refusal(admin, method, path, status, **sent)
    assert told["code"] == code
    assert words in told["error"]
    assert ask(admin, "GET", "/audit") == before


HOSTILE = ["a b", "é\u202e", "'; DROP TABLE accounts; --", "<script>", "\u0000", "a" * 3000, "../../etc", "%2e", "\n"]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_name_of_an_account_is_kept_and_found_again(admin: httpx.Client, text: str) -> None:
    name = f"{text}{next(_numbers)}"
    made = ask(admin, "POST", "/accounts", 201, json={"name": name})
    assert ask(admin, "GET", f"/accounts/{made['id']}") == made
    key = ask(admin, "POST", "/keys", 201, json={"name": name, "account": made["name"]})
    assert key["account"] == made["name"]
    (line,) = ask(admin, "GET", "/audit", params={"account": made["name"], "action": "key"})
    assert line["subject"] == key["id"]


def pages(admin: httpx.Client, path: str, limit: int) -> list[Any]:
    """Every entry, by the marks that pages tell and by their links alike."""
    seen: list[Any] = []
    told = admin.get(f"{ROOT}{path}", params={"limit": limit})
    while True:
        body = told.json()
        assert len(body["output"]) <= limit
        seen += body["output"]
        if "next" not in body:
            assert "next" not in told.links
            return seen
        following = admin.get(f"{ROOT}{path}", params={"limit": limit, "after": body["next"]})
        told = admin.get(told.links["next"]["url"])
        assert told.json() == following.json()


@pytest.mark.parametrize("path", ["/accounts", "/keys", "/aliases"])
def test_pages_hold_every_entry_once(admin: httpx.Client, path: str) -> None:
    name = new_account(admin)["name"]
    for number in range(3):
        ask(admin, "POST", "/keys", 201, json={"name": f"k{number}", "account": name})
        ask(admin, "PUT", "/aliases", json={"account": name, "name": f"alias-{number}", "model": MODEL})
    whole = ask(admin, "GET", path, params={"limit": 1000})
    assert len(whole) >= 3
    assert pages(admin, path, 2) == pages(admin, path, 7) == whole


def test_the_audit_log_is_narrowed_and_followed(admin: httpx.Client) -> None:
    made = new_account(admin)
    ask(admin, "PATCH", f"/accounts/{made['name']}/limits", json={"maxModels": 3})
    first, second = ask(admin, "GET", "/audit", params={"account": made["name"]})
    assert (first["action"], first["after"]) == ("account.create", {"name": made["name"]})
    assert (second["before"], second["after"]) == ({"max_models": None}, {"max_models": 3})
    assert (second["actor"], second["way"], second["outcome"]) == ("admin", "http", "done")
    assert second["source"] in ("127.0.0.1", "::1")
    keys = {key["id"]: key for key in ask(admin, "GET", "/keys", params={"limit": 1000})}
    assert keys[second["key"]]["name"] == "MODELYARD_ADMIN_KEY"
    assert second in ask(admin, "GET", "/audit", params={"after": first["id"]})
    assert ask(admin, "GET", "/audit", params={"before": second["id"], "limit": 1}) == [first]
    assert ask(admin, "GET", "/audit", params={"account": made["name"], "action": "account.limit"}) == [second]
