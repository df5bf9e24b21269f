"""Where each setting comes from, and what is said when one is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from modelyard.config import Resolved, Settings, load_settings, variable
from modelyard.errors import InvalidRequest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def load(
    home: Path, flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, file: str | None = None
) -> Resolved:
    """As started by someone whose data folder is `home/data`, with that config file in it."""
    data = home / "data"
    data.mkdir(exist_ok=True)
    if file is not None:
        (data / "modelyard.toml").write_text(file)
    return load_settings(flags or {}, {"MODELYARD_DATA_DIR": str(data), **(environ or {})})


def test_without_anything_the_defaults_hold(home: Path) -> None:
    resolved = load_settings({}, {})
    assert resolved.settings == dataclasses.replace(Settings(), data_dir=home / ".local/share/modelyard")
    assert set(resolved.sources.values()) == {"default"}
    assert set(resolved.sources) == {field.name for field in dataclasses.fields(Settings)}
    assert (resolved.settings.host, resolved.settings.port) == ("127.0.0.1", 8080)


def test_the_data_folder_follows_xdg(home: Path) -> None:
    assert load_settings({}, {"XDG_DATA_HOME": "/srv"}).settings.data_dir == Path("/srv/modelyard")


def test_flag_wins_over_variable_over_file_over_default(home: Path) -> None:
    file = "port = 1\nqueue_limit = 1\nmax_body_mb = 1"
    environ = {"MODELYARD_PORT": "2", "MODELYARD_QUEUE_LIMIT": "2"}
    resolved = load(home, {"port": 3, "host": None, "models_dir": ()}, environ, file)
    settings, sources = resolved.settings, resolved.sources
    assert (settings.port, settings.queue_limit, settings.max_body_mb, settings.drain_s) == (3, 2, 1, 120.0)
    assert sources["port"] == "flag"
    assert sources["queue_limit"] == "MODELYARD_QUEUE_LIMIT"
    assert sources["max_body_mb"] == str(home / "data" / "modelyard.toml")
    assert sources["drain_s"] == sources["host"] == sources["models_dir"] == "default"
    assert sources["data_dir"] == "MODELYARD_DATA_DIR"


def test_the_config_file_may_be_elsewhere(home: Path) -> None:
    elsewhere = home / "other.toml"
    elsewhere.write_text("port = 5")
    assert load(home, {}, {"MODELYARD_CONFIG": str(elsewhere)}).settings.port == 5
    assert load(home, {}, {"MODELYARD_CONFIG": "~/other.toml"}).settings.port == 5
    assert load_settings({}, {}, config_path=elsewhere).settings.port == 5
    assert load(home, {}, {"MODELYARD_CONFIG": ""}).settings.port == 8080


def test_a_flag_for_the_data_folder_decides_where_the_config_file_is(home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "modelyard.toml").write_text("port = 6")
    settings = load(home, {"data_dir": Path("~/mine")}).settings
    assert (settings.port, settings.data_dir) == (6, home / "mine")


def test_an_empty_variable_is_none(home: Path) -> None:
    resolved = load(home, {}, {"MODELYARD_PORT": "", "MODELYARD_MODELS_DIR": ""})
    assert (resolved.settings.port, resolved.sources["port"]) == (8080, "default")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("host", "0.0.0.0", "0.0.0.0"),
        ("memory_gb", "1.5", 1.5),
        ("memory_gb", "2", 2.0),
        ("hub", "false", False),
        ("hub", "0", False),
        ("hub", "Off", False),
        ("hub", "YES", True),
        ("models_dir", "/a,/b", (Path("/a"), Path("/b"))),
        ("models_dir", "~/a", None),
        ("allow_unsafe", "org/a,org/b,", ("org/a", "org/b")),
        ("log_level", "debug", "debug"),
    ],
)
def test_a_variable_is_read_as_the_settings_type(home: Path, name: str, text: str, value: Any) -> None:
    expected = (home / "a",) if value is None else value
    got = getattr(load(home, {}, {variable(name): text}).settings, name)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("port = 90", "port", 90),
        ("memory_gb = 2", "memory_gb", 2.0),
        ("hub = false", "hub", False),
        ('models_dir = ["/a", "/b"]', "models_dir", (Path("/a"), Path("/b"))),
        ('models_dir = "/a"', "models_dir", (Path("/a"),)),
        ("allow_unsafe = []", "allow_unsafe", ()),
    ],
)
def test_a_file_is_read_as_the_settings_type(home: Path, line: str, name: str, value: Any) -> None:
    assert getattr(load(home, file=line).settings, name) == value


@pytest.mark.parametrize(
    ("line", "name", "accepted"),
    [
        ('port = "eighty"', "port", "a whole number"),
        ("port = 80.5", "port", "a whole number"),
        ("port = true", "port", "a whole number"),
        ("port = -1", "port", "0 to 65535"),
        ("port = 65536", "port", "0 to 65535"),
        ("queue_limit = -1", "queue_limit", "0 or more"),
        ("memory_gb = nan", "memory_gb", "0 or more"),
        ("memory_gb = inf", "memory_gb", "0 or more"),
        ("memory_gb = [1]", "memory_gb", "a number"),
        ('hub = "perhaps"', "hub", "true or false"),
        ("hub = 1", "hub", "true or false"),
        ("host = 1", "host", "text"),
        ("data_dir = 1", "data_dir", "a path"),
        ("models_dir = 1", "models_dir", "a list"),
        ("models_dir = [1]", "models_dir", "a path"),
        ('log_level = "loud"', "log_level", "debug, info, warning, error"),
        ("prot = 1", "prot", "one of host, port"),
        ("[server]\nport = 1", "server", "one of host, port"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_what_is_accepted(
    home: Path, line: str, name: str, accepted: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        load(home, file=line)
    assert refusal.value.data["field"] == f"{name} ({home / 'data' / 'modelyard.toml'})"
    assert accepted in refusal.value.message


def test_a_wrong_variable_is_named_as_the_variable(home: Path) -> None:
    with pytest.raises(InvalidRequest, match="MODELYARD_PORT: got 'x'; accepted: a whole number"):
        load(home, {}, {"MODELYARD_PORT": "x"})


def test_a_wrong_flag_is_named_as_the_flag(home: Path) -> None:
    with pytest.raises(InvalidRequest, match="--port: got 70000; accepted: 0 to 65535"):
        load(home, {"port": 70000})


def test_a_file_that_was_named_must_be_there_and_be_toml(home: Path) -> None:
    with pytest.raises(InvalidRequest, match="accepted: a file that exists"):
        load(home, {}, {"MODELYARD_CONFIG": str(home / "nowhere.toml")})
    with pytest.raises(InvalidRequest, match=r"modelyard\.toml is not valid TOML"):
        load(home, file="port == 1")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        load(home, {}, {"MODELYARD_CONFIG": str(home)})


def test_every_setting_has_a_description() -> None:
    for field in dataclasses.fields(Settings):
        assert field.metadata["description"], field.name
