"""The agent of a node as it is in production: its settings, its files, and workers that load models, confined."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from modelyard.engine.base import Phase, Place
from modelyard.engine.ray.actor import PROGRAM, NodeActor
from modelyard.engine.remote.engine import RemoteEngine
from modelyard.engine.remote.finder import AgentAddress, Finder, OnAgents
from modelyard.errors import ModelRefused
from modelyard.records.replicas import ReplicaSpec
from modelyard.serving.node import NodeFiles, read_snapshot
from tests.catalog.models import sharded, weights
from tests.engine.harness import Harness, ask, new_id, new_token
from tests.hub.server import HubServer, Repo
from tests.serving import wait_until

COMMIT = "0" * 40
HOST = "127.0.0.1"


def test_an_agent_that_cannot_run_says_why_to_who_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_MEMORY_GB", "lots")
    with pytest.raises(RuntimeError, match=r"node attic cannot run: MODELYARD_MEMORY_GB: got .lots.; accepted"):
        NodeActor("attic", HOST)


def test_a_folder_of_the_hubs_cache_says_what_it_is_of() -> None:
    folder = Path("/home/ada/.cache/huggingface/hub/models--tiny--gpt2--small/snapshots") / COMMIT
    assert read_snapshot(folder) == ("tiny/gpt2--small", COMMIT)
    assert read_snapshot(Path("/srv/models/tiny/gpt2")) is None
    assert read_snapshot(Path("/srv/models/tiny/snapshots/gpt2")) is None


async def test_what_is_no_models_of_the_hub_is_taken_from_a_shared_folder(tmp_path: Path) -> None:
    files = NodeFiles(None, "attic")
    assert await files.locate("tiny/gpt2", tmp_path) == tmp_path
    with pytest.raises(ModelRefused, match="tiny/gpt2 is not on node attic") as caught:
        await files.locate("tiny/gpt2", tmp_path / "elsewhere")
    assert "at the same path" in (caught.value.detail or "")


NODE_THAT_FETCHES = """
import asyncio, sys
from pathlib import Path
from modelyard.catalog.hub import Hub
from modelyard.serving.node import NodeFiles

print(asyncio.run(NodeFiles(Hub(), "attic").locate("acme/m", Path(sys.argv[1]))))
"""


def test_nodes_fetch_into_one_shared_cache_at_once_and_one_that_is_killed_meanwhile_harms_nothing(
    tmp_path: Path,
) -> None:
    files = {**sharded(3), "model-00002-of-00003.safetensors": weights(1_000_000)}
    repo, cache = Repo(files), tmp_path / "hub"
    folder = cache / "models--acme--m"
    environ = {**os.environ, "HF_HUB_CACHE": str(cache)}
    with HubServer().running() as hub, ExitStack() as stack:
        hub.repos["acme/m"] = repo
        _, release = hub.hold("model-00002-of-00003.safetensors", 1_000_000)
        command = [sys.executable, "-c", NODE_THAT_FETCHES, str(folder / "snapshots" / repo.commit)]
        nodes = [
            stack.enter_context(subprocess.Popen(command, stdout=PIPE, env={**environ, "HF_ENDPOINT": hub.url}))
            for _ in range(2)
        ]
        partial = folder / "blobs" / f"{repo.digest('model-00002-of-00003.safetensors')}.incomplete"
        wait_until(lambda: partial.exists() and partial.stat().st_size > 500_000)
        wait_until(lambda: hub.count("/api/models/acme/m/revision") == 2)  # the other one is about to fetch it, too
        (killed,) = (node for node in nodes if opens(node, partial))
        killed.kill()
        killed.wait()
        release.set()
        (other,) = (node for node in nodes if node is not killed)
        path = Path(other.communicate()[0].decode().strip())

        assert {each.name: each.read_bytes() for each in path.iterdir()} == files
        assert {each.name for each in (folder / "blobs").iterdir()} == {repo.digest(name) for name in files}
        assert {each.name for each in folder.iterdir()} == {"blobs", "snapshots"}
        asked = hub.ranges("/cdn/.*model-00002")
        assert asked.count(None) == 1
        (resumed,) = (each for each in asked if each is not None and each.endswith("-"))
        assert int(resumed[len("bytes=") : -1]) > 500_000


def opens(process: subprocess.Popen[bytes], path: Path) -> bool:
    """Whether a process has a file open."""
    return any(each.path == str(path) for each in psutil.Process(process.pid).open_files())


class OneAgent(Finder):
    """Finds one."""

    def __init__(self, agent: AgentAddress) -> None:
        self._agent = agent

    async def start(self, on_agents: OnAgents) -> None:
        found: Sequence[AgentAddress] = [self._agent]
        on_agents(found)

    async def close(self) -> None:
        return


async def test_an_agent_runs_a_model_and_ends_with_its_parent(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    environ = {**os.environ, "MODELYARD_DATA_DIR": str(tmp_path), "MODELYARD_MEMORY_GB": "1", "MODELYARD_HUB": "off"}
    process = await asyncio.create_subprocess_exec(*PROGRAM, "attic", HOST, stdin=PIPE, stdout=PIPE, env=environ)
    assert PROGRAM[0] == sys.executable
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"open sesame\n")
        port = json.loads(await process.stdout.readline())["port"]
        engine = RemoteEngine(OneAgent(AgentAddress("attic", HOST, port, "open sesame")))
        await engine.start()
        await engine.lead(new_token())
        harness = Harness(engine)
        (node,) = engine.nodes()
        assert (node.name, node.memory_bytes) == ("attic", 1024**3)
        model = model_folder("gpt2")
        right = ReplicaSpec(new_id(), "tiny/gpt2", str(model), "text-generation", secret="s", log_path="a/b.log")
        wrong = ReplicaSpec(new_id(), "tiny/none", str(tmp_path / "none"), "text-generation", secret="s")
        for spec in (right, wrong):
            harness.launch(spec, Place("attic"))
        sighting = await harness.until_phase(right.replica_id, Phase.READY)
        assert (await ask(sighting.link, "hello", max_new_tokens=2)).startswith("hello")
        refused = await harness.until_gone(wrong.replica_id)
        assert refused.refused
        assert "tiny/none is not on node attic" in (refused.reason or "")
        assert [log.name for log in await engine.read_logs("a", 1)] == ["b"]
        assert (tmp_path / "logs" / "a" / "b.log").is_file()
        await engine.close()
        process.stdin.close()
        assert await process.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
    finally:
        process.stdin.close()
        await process.wait()
