"""Administration by commands: of a database of one's own, and of a server elsewhere, with one outcome."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Inside
from tests.serving import KEY, Server

MODEL = "org/name"
PASSING = ("id", "created", "changed", "prefix", "at", "key", "source", "actor", "way", "subject")
"""Fields that differ from one time to the next."""
_numbers = count(1)


class Place:
    """Where commands administer: flags that say so."""

    def __init__(self, inside: Inside, *flags: str) -> None:
        self._inside = inside
        self._flags = flags
        self.account = f"remote-{next(_numbers)}"

    def ok(self, *words: str) -> str:
        return self._inside.ok(*words, *self._flags)

    def problem(self, *words: str) -> str:
        return self._inside.problem(*words, *self._flags)

    def listed(self, *words: str) -> list[dict[str, Any]]:
        """What a list prints of the account's, without what passes."""
        told = json.loads(self.ok(*words, "--json").replace(self.account, "ACCOUNT"))
        own = [each for each in told if "ACCOUNT" in (each.get("account"), each.get("name"))]
        return [{name: value for name, value in each.items() if name not in PASSING} for each in own]


@pytest.fixture
def elsewhere(inside: Inside, server: Server) -> Inside:
    """A terminal with the operator's key, on a machine that has no database."""
    return Inside({**inside.environ, "MODELYARD_API_KEY": KEY, "MODELYARD_DATA_DIR": "/nowhere/at/all"})


@pytest.fixture
def places(inside: Inside, elsewhere: Inside, server: Server, tmp_path: Path) -> tuple[Place, Place]:
    here, there = Place(inside, "--data-dir", str(tmp_path)), Place(elsewhere, "--server", server.url)
    for place in (here, there):
        place.ok("accounts", "create", place.account)
    return here, there


def test_every_command_has_one_outcome_in_both_places(places: tuple[Place, Place]) -> None:
    outcomes = []
    for place in places:
        name = place.account
        limits = ["--max-models", "3", "--max-memory-gb", "1.5", "--monthly-limit", "99.000000001"]
        place.ok("accounts", "set", name, *limits)
        place.ok("accounts", "set", name, "--max-models", "none")
        credit = [place.ok("accounts", "credit", name, "12.5"), place.ok("accounts", "credit", name, "0.000000001")]
        secret = place.ok("keys", "create", "laptop", "--account", name, "--rate-limit", "5").strip()
        assert secret.startswith("my-")
        place.ok("keys", "set", secret[:8], "--rate-limit", "none")
        keys = place.listed("keys", "ls", "--account", name)
        place.ok("keys", "revoke", secret[:8])
        (revoked,) = place.listed("keys", "ls", "--account", name)
        assert revoked.pop("revoked").endswith("Z")
        bound = ["--task", "chat", "--min", "1", "--max", "2"]
        place.ok("aliases", "set", "gpt-4o-mini", MODEL, "--account", name, *bound)
        aliases = place.listed("aliases", "ls", "--account", name)
        place.ok("aliases", "rm", "gpt-4o-mini", "--account", name)
        place.ok("models", "share", "hub/gated", "--account", name)
        shared = [each for each in json.loads(place.ok("models", "ls", "--json")) if name in each["accounts"]]
        place.ok("models", "unshare", "hub/gated", "--account", name)
        used = [json.loads(place.ok("usage", "--account", name, "--json", *more)) for more in ([], ["--lines"])]
        accounts = place.listed("accounts", "ls")
        lines = [json.loads(line) for line in place.ok("audit", "--account", name, "--json").splitlines()]
        told = [(line["action"], line["before"], line["after"]) for line in lines]
        outcomes.append(
            json.loads(json.dumps([credit, keys, aliases, accounts, told, shared, used]).replace(name, "ACCOUNT"))
        )
    here, there = outcomes
    assert here == there
    assert len(here[4]) == 12
    assert here[5:] == [[{"model": "hub/gated", "accounts": ["ACCOUNT"]}], [[], []]]


def test_what_is_wrong_is_said_alike(places: tuple[Place, Place]) -> None:
    for place in places:
        name = place.account
        assert f"name: got '{name}'; accepted: a name no other account has" in place.problem("accounts", "create", name)
        assert "No account is called carl" in place.problem("accounts", "credit", "carl", "1")
        assert "modelyard accounts ls" in place.problem("accounts", "credit", "carl", "1")
        assert "modelyard keys ls" in place.problem("keys", "revoke", "key_none")
        assert f"{name} has no alias mine." in place.problem("aliases", "rm", "mine", "--account", name)
        assert "name: got 'a b'" in place.problem("aliases", "set", "a b", MODEL, "--account", name)
        assert "model: got 'no/model'" in place.problem("cache", "rm", "no/model")
        assert "Nothing to remove" in place.problem("cache", "prune")
        assert "No account is called carl" in place.problem("models", "share", MODEL, "--account", "carl")
        assert "since: got 'yesterday'" in place.problem("usage", "--since", "yesterday")


def test_another_key_than_the_operators_is_refused_with_what_to_do(elsewhere: Inside, server: Server) -> None:
    plain = server.command("keys", "create", "laptop", "--account", "eve")
    for key, words in ((plain, "Only keys of the operator's account"), ("wrong", "not known here")):
        stranger = Inside({**elsewhere.environ, "MODELYARD_API_KEY": key})
        said = stranger.problem("accounts", "ls", "--server", server.url)
        assert words in said
        assert "a key of the operator's account" in said
    assert "No server answers" in elsewhere.problem("accounts", "ls", "--server", "http://127.0.0.1:9")


def test_a_server_is_named_by_its_variable_too(elsewhere: Inside, server: Server) -> None:
    inside = Inside({**elsewhere.environ, "MODELYARD_SERVER": server.url})
    made = inside.ok("accounts", "create", f"by-variable-{next(_numbers)}").strip()
    assert made in [each["id"] for each in json.loads(inside.ok("accounts", "ls", "--json"))]
    (node,) = json.loads(inside.ok("nodes", "--json"))
    assert node["memoryBytes"] > 0
    assert "MEMORY GB" in inside.ok("nodes")
    assert "takes no new replicas" in inside.ok("nodes", "drain", node["name"])
    assert "can be switched off" in inside.ok("nodes")
    assert "takes replicas" in inside.ok("nodes", "use", node["name"])
    assert "no node none" in inside.problem("nodes", "drain", "none")
    assert "accepted: drain NAME" in inside.problem("nodes", "drain")


def test_the_operator_lists_the_jobs_of_all(elsewhere: Inside, server: Server) -> None:
    everybody = json.loads(elsewhere.ok("jobs", "--all", "--url", server.url, "--json"))
    assert json.loads(elsewhere.ok("jobs", "--account", "admin", "--url", server.url, "--json")) == everybody
    assert "No account is called carl" in elsewhere.problem("jobs", "--account", "carl", "--url", server.url)
    assert "No job of no/model" in elsewhere.problem("jobs", "cancel", "no/model", "--url", server.url)
    assert "accepted: cancel MODEL, or nothing" in elsewhere.problem("jobs", "cancel", "--url", server.url)


@pytest.mark.parametrize("name", ["a/b", "..", "a b?c#d", "%2e%2e", "é"])
def test_an_account_of_any_name_is_administered_elsewhere(elsewhere: Inside, server: Server, name: str) -> None:
    there = Place(elsewhere, "--server", server.url)
    there.ok("accounts", "create", name)
    there.ok("accounts", "set", name, "--max-models", "3")
    assert there.ok("accounts", "credit", name, "2") == "2.00\n"
    (listed,) = [each for each in json.loads(there.ok("accounts", "ls", "--json")) if each["name"] == name]
    assert (listed["max_models"], listed["credit_usd"]) == (3, "2.00")
    assert "No account is called no/body" in there.problem("accounts", "set", "no/body", "--max-models", "3")
