import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.hub_settings import HubSettings, read_hub_settings

ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"HF_HOME": "~/hf"},
    {"XDG_CACHE_HOME": "/tmp/xdg"},
    {"HF_HUB_CACHE": "$HOME/hub-cache", "HF_HOME": "/elsewhere"},
    {"HUGGINGFACE_HUB_CACHE": "/tmp/old-name"},
    {"HF_ENDPOINT": "http://mirror.example/", "HF_TOKEN": " hf_x\n", "HF_HUB_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "yes"},
    {"TRANSFORMERS_OFFLINE": "ON"},
    {"HF_HUB_OFFLINE": "0"},
]
PRINT_LIBRARY_SETTINGS = """
import importlib, json, os, sys
base, environments = json.load(sys.stdin)
found = []
for environment in environments:
    os.environ.clear()
    os.environ.update(base | environment)
    from huggingface_hub import constants, get_token
    importlib.reload(constants)
    found.append([constants.ENDPOINT, constants.HF_HUB_CACHE, get_token(), constants.is_offline_mode()])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What all environments have: a home with a token in each of the folders that may be the library's."""
    home = tmp_path_factory.mktemp("home")
    for where in (".cache/huggingface", "hf"):
        (home / where).mkdir(parents=True)
        (home / where / "token").write_text(f"hf_of_{where[:3]}\n")
    return {"PATH": os.environ["PATH"], "HF_HUB_DISABLE_TELEMETRY": "1", "HOME": str(home)}


@pytest.fixture(scope="module")
def of_the_library(base: Mapping[str, str]) -> list[list[Any]]:
    """What the hub's library makes of each environment."""
    program = [sys.executable, "-c", PRINT_LIBRARY_SETTINGS]
    asked = json.dumps([base, ENVIRONMENTS])
    done = subprocess.run(program, input=asked, env=base, check=True, capture_output=True, text=True)
    found: list[list[Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("number", range(len(ENVIRONMENTS)), ids=map(str, ENVIRONMENTS))
def test_the_environment_means_what_it_means_to_the_hubs_library(
    number: int, base: Mapping[str, str], of_the_library: list[list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in {**base, **ENVIRONMENTS[number]}.items():
        monkeypatch.setenv(name, value)

    ours = read_hub_settings()

    assert [ours.endpoint, str(ours.cache_dir), ours.token, ours.offline] == of_the_library[number]


def test_the_library_tells_the_environments_apart(of_the_library: list[list[Any]]) -> None:
    assert len({str(each) for each in of_the_library}) > 5


def test_the_token_is_not_shown() -> None:
    settings = HubSettings("http://hub", Path("/cache"), "hf_secret")

    assert "hf_secret" not in repr(settings)


def test_no_token_file_means_anonymous(tmp_path: Path) -> None:
    assert read_hub_settings({"HF_HOME": str(tmp_path)}).token is None
