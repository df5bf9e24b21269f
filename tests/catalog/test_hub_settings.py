import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.catalog.hub_settings import HubSettings, read_hub_settings

PRINT_LIBRARY_SETTINGS = """
import json
from huggingface_hub import constants, get_token
print(json.dumps([constants.ENDPOINT, constants.HF_HUB_CACHE, get_token(), constants.is_offline_mode()]))
"""


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"HF_HOME": "~/hf"},
        {"XDG_CACHE_HOME": "/tmp/xdg"},
        {"HF_HUB_CACHE": "$HOME/hub-cache", "HF_HOME": "/elsewhere"},
        {"HUGGINGFACE_HUB_CACHE": "/tmp/old-name"},
        {"HF_ENDPOINT": "http://mirror.example/", "HF_TOKEN": " hf_x\n", "HF_HUB_OFFLINE": "1"},
        {"HF_HUB_OFFLINE": "yes"},
        {"TRANSFORMERS_OFFLINE": "ON"},
        {"HF_HUB_OFFLINE": "0"},
    ],
)
def test_the_environment_means_what_it_means_to_the_hubs_library(env: dict[str, str], tmp_path: Path) -> None:
    env = {**env, "HOME": str(tmp_path)}
    for where in (".cache/huggingface", "hf"):
        (tmp_path / where).mkdir(parents=True)
        (tmp_path / where / "token").write_text(f"hf_of_{where[:3]}\n")
    base = {"PATH": os.environ["PATH"], "HF_HUB_DISABLE_TELEMETRY": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", PRINT_LIBRARY_SETTINGS], env=base | env, check=True, capture_output=True
    )
    ours_program = (
        "from modelyard.catalog.hub_settings import read_hub_settings as r; import json; s = r(); "
        "print(json.dumps([s.endpoint, str(s.cache_dir), s.token, s.offline]))"
    )
    ours = subprocess.run([sys.executable, "-c", ours_program], env=base | env, check=True, capture_output=True)

    assert json.loads(ours.stdout) == json.loads(answer.stdout)


def test_the_token_is_not_shown() -> None:
    settings = HubSettings("http://hub", Path("/cache"), "hf_secret")

    assert "hf_secret" not in repr(settings)


def test_no_token_file_means_anonymous(tmp_path: Path) -> None:
    assert read_hub_settings({"HF_HOME": str(tmp_path)}).token is None
