"""Model folders that a stranger wrote: whatever they hold concerns them alone, and never the server."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.registry import attack_on
from tests.catalog.models import model, text, write
from tests.serving import Server, wait_until

GOOD = "good/model"
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
FIFOS = 40
"""More than any pool of threads of the server has on a machine with few cores."""
ENDS_WITHIN_S = 120.0

SPOILT: dict[str, dict[str, bytes]] = {
    "deep-config": {"config.json": DEEP},
    "deep-tokenizer": {"tokenizer_config.json": DEEP},
    "deep-modules": {"modules.json": b"[" * 100_000 + b"]" * 100_000},
    "deep-header": {"model.safetensors": len(DEEP).to_bytes(8, "little") + DEEP},
    "deep-variant": {"variant.json": DEEP, "model.onnx": b"x"},
    "long-type": {"config.json": text({"architectures": ["x" * 1_000_000], "model_type": "y" * 1_000_000})},
    "other-types": {"config.json": text({"architectures": 7, "model_type": {"a": []}, "text_config": 3})},
    "endless-numbers": {"config.json": b'{"architectures":["GPT2LMHeadModel"],"model_type":"gpt2","n_ctx":1e400}'},
    "odd-pipeline": {"model_index.json": text({"_class_name": [], "unet": [{}, 5], "vae": [1, 2]})},
    "huge-variant": {
        "variant.json": text(
            {"variant_of": "a/b", "kind": "onnx", "task": "x", "head": "x", "parameters": 2**64 - 1, "logit_error": 0,
             "bound": 1, "versions": {}}
        ),
        "model.onnx": b"x",
    },
}  # fmt: skip
"""What a folder holds besides, or instead of, a model's own files."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with one good model; the server must always find it."""
    write(tmp_path / "models" / GOOD, model())
    return tmp_path / "models"


@pytest.fixture
def stopped(tmp_path: Path, models: Path) -> Iterator[Server]:
    """A server that has not been started; it is ended in any case."""
    server = Server(tmp_path, models, boots=False)
    yield server
    server.client.close()
    if server.process is not None and server.process.poll() is None:
        server.kill()


def listed(server: Server) -> dict[str, dict[str, Any]]:
    response = server.client.get("/models/v2/list/models", params={"limit": 1000})
    assert response.status_code == 200, response.text
    assert len(response.content) < 1_000_000
    return {each["modelId"]: each for each in response.json()["output"]}


def write_spoilt(models: Path) -> None:
    for name, files in SPOILT.items():
        write(models / "evil" / name, {**model(), **files})


@attack_on(write_spoilt)
def ask_for_spoilt_folders(server: Server) -> None:
    """Each must be refused, and concern nobody else."""
    for name in SPOILT:
        answer = server.client.get("/models/v2/list/models", params={"modelId": f"evil/{name}"})
        assert answer.status_code == 200, answer.text[:500]
        answer = server.post(f"evil/{name}", text="hello")
        assert 400 <= answer.status_code < 500, answer.text[:500]
        assert len(answer.content) < 4096


def test_files_that_spoil_their_own_folder_spoil_no_list(stopped: Server, models: Path) -> None:
    write_spoilt(models)
    stopped.start(warm=False)

    wait_until(lambda: GOOD in listed(stopped))

    ask_for_spoilt_folders(stopped)


def test_a_fifo_or_a_device_in_a_folder_blocks_neither_keys_nor_the_end(stopped: Server, models: Path) -> None:
    for number in range(FIFOS):
        write(models / "evil" / f"m{number:02}", {"model.safetensors": b"x"})
        os.mkfifo(models / "evil" / f"m{number:02}" / "config.json")
    write(models / "evil" / "endless", {"model.safetensors": b"x"})
    (models / "evil" / "endless" / "config.json").symlink_to("/dev/zero")
    stopped.start(warm=False)

    for name in ("m00", "m01", "endless"):
        answer = stopped.post(f"evil/{name}", text="hello")
        assert answer.status_code == 422, answer.text
        assert "config.json: not a regular file" in json.dumps(answer.json())
        assert str(models) not in answer.text
    # A key that nobody has asked for yet is looked up in the database, in a thread.
    answer = stopped.client.get("/models/v2/list/models", headers={"authorization": "Key unknown"})
    assert answer.status_code == 401
    wait_until(lambda: GOOD in listed(stopped))

    assert stopped.process is not None
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.process.wait(ENDS_WITHIN_S) == 0


def test_a_folder_with_more_files_than_models_have_is_refused_by_name(stopped: Server, models: Path) -> None:
    crowded = models / "evil" / "crowded"
    write(crowded, model())
    for number in range(10_001):
        (crowded / f"{number}.bin").touch()
    stopped.start(warm=False)

    answer = stopped.post("evil/crowded", text="hello")

    assert answer.status_code == 422, answer.text
    assert "more than 10,000 files" in answer.text
    wait_until(lambda: GOOD in listed(stopped))
