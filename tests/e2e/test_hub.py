"""A model that no folder holds comes from the hub: looked up, downloaded, booted, and kept for when the hub is away."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

from tests.command import run_command
from tests.hub.server import HubServer, Repo
from tests.serving import Server, wait_until

WEIGHTS = "model.safetensors"


def published(folder: Path) -> Repo:
    """A local model as the hub would hold it."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return Repo(files, api={"pipeline_tag": "text-classification"})


def cache(server: Server, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`modelyard cache ...` on the server's machine."""
    return run_command(["cache", *words], environ={**environ, "MODELYARD_DATA_DIR": str(server.data_dir)})


def test_a_request_for_a_hub_model_downloads_boots_and_answers(zoo: Path, tmp_path: Path):
    (tmp_path / "models").mkdir()
    with HubServer().running() as hub:
        hub.repos["acme/classifier"] = published(zoo / "tiny/classifier")
        environ = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "", "HF_HUB_OFFLINE": "0"}
        with Server(tmp_path, tmp_path / "models", hub=True, **environ) as server:
            (listed,) = server.client.get("/models/v2/list/models?modelId=acme/classifier").json()["output"]
            assert listed["task"] == "text-classification"
            reached, release = hub.hold(WEIGHTS, at=1000)
            answers: list[object] = []
            asking = threading.Thread(target=lambda: answers.append(server.run("acme/classifier", text="hello")))
            asking.start()
            try:
                assert reached.wait(120)
                wait_until(lambda: server.cluster("acme/classifier")["status"] == "downloading")
            finally:
                release.set()
            asking.join(120)
            assert answers
            assert any("downloading" in line for line in server.events("acme/classifier"))
            unknown = server.post("acme/clasifier", text="hello")
            assert unknown.status_code == 404
            assert "acme/classifier" in unknown.json()["error"]
            assert "is in use" in cache(server, environ, "rm", "acme/classifier").stderr
            (listed,) = json.loads(cache(server, environ, "ls", "--json").stdout)
            assert (listed["model"], listed["downloaded_for"]) == ("acme/classifier", "admin")
            assert not cache(server, environ, "prune", "--to-size", "0").stdout
            server.delete("acme/classifier")
            wait_until(lambda: cache(server, environ, "rm", "acme/classifier").returncode == 0)
            assert "acme/classifier" not in cache(server, environ, "ls").stdout
            assert server.run("acme/classifier", text="hello") == answers[0], "it is fetched anew"
            assert "acme/classifier" in cache(server, environ, "ls").stdout
            server.delete("acme/classifier")
    with Server(tmp_path, tmp_path / "models", hub=True, **environ) as server:  # the hub is away by now
        assert server.run("acme/classifier", text="hello") == answers[0]
        assert server.post("acme/other", text="hello").status_code == 404
