"""`config show`, `keys` and `doctor`: commands that need no server."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from modelyard.accounts import administration
from modelyard.accounts.keys import hash_key
from modelyard.cli.client import CLI_KEY_FILE
from modelyard.cli.keys import FIRST_ACCOUNT
from modelyard.store.store import Store
from tests.cli.conftest import Inside, Terminal


def shown(inside: Inside, name: str, *flags: str, **environ: str) -> tuple[object, str]:
    """A setting's value and source as `config show --json` prints them."""
    lines = json.loads(inside.ok("config", "show", "--json", *flags, **environ))
    (line,) = [line for line in lines if line["setting"] == name]
    return line["value"], line["source"]


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(
    inside: Inside, tmp_path: Path
) -> None:
    assert shown(inside, "port") == (8080, "default")
    file = tmp_path / "modelyard.toml"
    file.write_text("port = 1111\n")
    here = {"MODELYARD_DATA_DIR": str(tmp_path)}
    assert shown(inside, "port", **here) == (1111, str(file))
    assert shown(inside, "port", **here, MODELYARD_PORT="2222") == (2222, "MODELYARD_PORT")
    assert shown(inside, "port", "--port", "3333", **here, MODELYARD_PORT="2222") == (3333, "flag")


def test_repeatable_and_switch_flags(inside: Inside) -> None:
    assert shown(inside, "models_dir", "--models-dir", "/a", "--models-dir", "/b") == (["/a", "/b"], "flag")
    assert shown(inside, "hub") == (False, "MODELYARD_HUB")
    assert shown(inside, "hub", "--hub") == (True, "flag")


def test_secrets_are_masked(inside: Inside) -> None:
    url = "postgresql://user:hush@db.example/yard"
    text = inside.ok(
        "config", "show", "--admin-key", "hush", "--database-url", url, MODELYARD_PROVIDER_KEYS="openai=hush,groq=hush"
    )
    assert "hush" not in text
    assert "postgresql://user:***@db.example/yard" in text


def test_a_wrong_setting_is_named_with_its_source(inside: Inside) -> None:
    assert "MODELYARD_PORT: got 'many'; accepted: a whole number" in inside.problem(
        "config", "show", MODELYARD_PORT="many"
    )
    said = inside.problem("config", "show", "--memory-gb", "lots")
    assert "--memory-gb: got 'lots'; accepted: a number" in said


def test_debug_shows_the_trace(terminal: Terminal) -> None:
    done = terminal.run("--debug", "config", "show", MODELYARD_PORT="many")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "error: MODELYARD_PORT" in done.stderr


def test_keys_create_prints_only_a_key_that_works(terminal: Terminal, tmp_path: Path) -> None:
    key = terminal.ok("keys", "create", "ci", "--data-dir", str(tmp_path / "yard")).removesuffix("\n")
    assert key
    assert not any(character.isspace() for character in key)
    with Store.open(f"sqlite:///{tmp_path / 'yard' / 'modelyard.db'}") as store:
        found = store.keys.find_by_hash(hash_key(key))
        assert found is not None
        assert found.name == "ci"
        assert store.accounts.get(found.account_id).name == FIRST_ACCOUNT


def test_keys_are_listed_and_revoked(inside: Inside, tmp_path: Path) -> None:
    here = ["--data-dir", str(tmp_path)]
    assert "no keys yet" in inside.run("keys", "ls", *here).stderr
    key = inside.ok("keys", "create", "ci", *here).strip()
    inside.ok("keys", "create", "laptop", "--account", "ann", *here)

    listed = json.loads(inside.ok("keys", "ls", "--json", *here))
    assert [(each["name"], each["account"], each["revoked"]) for each in listed] == [
        ("ci", FIRST_ACCOUNT, None),
        ("laptop", "ann", None),
    ]
    assert key not in inside.ok("keys", "ls", *here)
    assert "laptop" not in inside.ok("keys", "ls", "--account", FIRST_ACCOUNT, *here)
    assert "there are admin, ann" in inside.problem("keys", "ls", "--account", "bob", *here)

    inside.ok("keys", "revoke", listed[0]["id"], *here)
    assert json.loads(inside.ok("keys", "ls", "--json", *here))[0]["revoked"] is not None
    assert "keys ls" in inside.problem("keys", "revoke", listed[0]["id"], *here)


def test_an_empty_name_is_refused(inside: Inside, tmp_path: Path) -> None:
    assert "name: got ' '" in inside.problem("keys", "create", " ", "--data-dir", str(tmp_path))


def test_the_key_file_and_the_first_account_are_called_what_the_server_calls_them() -> None:
    assert administration.CLI_KEY_FILE == CLI_KEY_FILE
    assert administration.FIRST_ACCOUNT == FIRST_ACCOUNT


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_doctor_finds_nothing_wrong(terminal: Terminal, tmp_path: Path, zoo: Path, port: int) -> None:
    words = ["doctor", "--json", "--data-dir", str(tmp_path / "new"), "--models-dir", str(zoo), "--port", str(port)]
    findings = {each["check"]: each for each in json.loads(terminal.ok(*words))}
    assert " ".join(findings) == (
        "python libraries extras devices data database server models hub sandbox disk temporary memory shared files "
        "processes clock"
    )
    assert all((each["fix"] is None) == (each["level"] == "OK") for each in findings.values())
    assert "torch" in findings["libraries"]["found"]
    assert "free" in findings["server"]["found"]
    assert "no-hub" in findings["hub"]["found"]
    assert not (tmp_path / "new").exists(), "looking must change nothing"


@pytest.mark.imports_models
def test_doctor_says_what_is_wrong_and_how_to_mend_it(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "modelyard.db").write_text("this is no database, but long enough to be taken for one " * 20)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["--data-dir", str(tmp_path), "--models-dir", "/no/such/folder", "--port", str(taken.getsockname()[1])]
        words += ["--device-memory", "cuda:0"]
        done = inside.run("doctor", "--json", *words)
    assert done.returncode == 1
    findings = {each["check"]: each for each in json.loads(done.stdout)}
    failed = {check for check, finding in findings.items() if finding["level"] == "FAIL"}
    assert failed == {"devices", "database", "server", "models"}
    assert all(findings[check]["fix"] for check in failed)
