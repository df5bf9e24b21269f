"""The examples of the pages, run against one server that has the models they name. Those that nobody can run here are
named, with the reason, in `programs`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.builders import real
from tests.cli.conftest import clean_environ
from tests.clients.programs import FRAMEWORKS, PROVIDER_PACKAGES, at_port, installed
from tests.pages.blocks import ROOT, Block, blocks, commands
from tests.pages.programs import NOT_RUN, PAGES_NOT_RUN, STAND_STILL
from tests.serving import KEY, Server
from tests.serving.scripted import scripted_model, thinking_model

pytestmark = pytest.mark.verify(part="docs")

IN_ITS_PLACE = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "modelyard/tiny-chat",
    "BAAI/bge-small-en-v1.5": "tiny/sentences",
    "cross-encoder/ms-marco-MiniLM-L6-v2": "tiny/ranker",
    "org/name": "tiny/classifier",
}
"""A model that pages name, and the tiny one that is served in its place."""
SPEAKS = "Qwen/Qwen2.5-Omni-3B"
GGUF_FILE = "bartowski/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct-Q4_K_M.gguf"
OBJECT = ['{"name": ', '"Ann", ', '"age": ', "7}"]
"""What the model writes that pages ask for an object."""
DEADLINE_S = 400.0
WATCHED_S = 3
"""How long an example listens that would go on listening."""
NEEDS_A_JOB = ROOT / "docs/howto/admin.md"
"""It cancels the one of org/name."""


def is_run(block: Block) -> bool:
    """Whether an example is to be run here."""
    if str(block).startswith(tuple(PAGES_NOT_RUN)):
        return False
    return block.language == "python" or NOT_RUN.keys().isdisjoint(words[0] for words in commands(block))


EXAMPLES = [block for block in blocks("python", "sh") if is_run(block)]
WITH_EXAMPLES = sorted({block.page for block in EXAMPLES})
STANDING = "|".join(name.split()[1] for name in STAND_STILL if " " in name)
PREPARED = f"""
set -euo pipefail
ask() {{ command curl --silent --show-error --fail-with-body "$@"; }}
curl() {{ case "$1" in -N*) ask --max-time {WATCHED_S} "$@" || [ $? = 28 ] ;; *) ask "$@" ;; esac; }}
modelyard() {{ case "$1" in {STANDING}) ;; *) command modelyard "$@" ;; esac; }}
pip() {{ :; }}
make() {{ :; }}
"""
"""What a shell is told before an example: what stands still, that answers other than 2xx are failures, and that streams
of events (`-N`) are not listened to for ever."""


@pytest.fixture(scope="module")
def documented(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with every model that the pages name."""
    from tests.coverage.architectures import speaking  # the library takes seconds to import

    models = tmp_path_factory.mktemp("documented-models")
    shutil.copytree(zoo, models, dirs_exist_ok=True)
    shutil.copytree(ROOT / "examples" / "models", models, dirs_exist_ok=True)
    for model_id, tiny in IN_ITS_PLACE.items():
        shutil.copytree(models / tiny, models / model_id)
    (models / SPEAKS).mkdir(parents=True)
    speaking.build_whole("qwen2_5_omni", models / SPEAKS)
    (models / GGUF_FILE).parent.mkdir(parents=True)
    shutil.copy(real.smollm2_gguf(), models / GGUF_FILE)
    with (
        Server(tmp_path_factory.mktemp("documented"), models, "--rate-limit", "0") as server,
        thinking_model(server, "Qwen/Qwen3-0.6B"),
        scripted_model(server, "Qwen/Qwen3-1.7B", OBJECT),
    ):
        yield server


@pytest.fixture
def environ(documented: Server, tmp_path: Path) -> dict[str, str]:
    """What a reader of the pages has set."""
    return clean_environ(
        tmp_path,
        KEY=KEY,
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        MODELYARD_API_KEY=KEY,
        MODELYARD_DATA_DIR=str(documented.data_dir),
        MODELYARD_MODELS_DIR=str(documented.models_dir),
        MODELYARD_HUB="off",
        MODELYARD_PORT=str(documented.port),
    )


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_of_a_page_run(page: Path, documented: Server, environ: dict[str, str], tmp_path: Path) -> None:
    """In a folder of their own: first those in Python, as one program, then each of those for a shell."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    ours = [block for block in EXAMPLES if block.page == page]
    if program := [(block.line, text_for(documented, block)) for block in ours if block.language == "python"]:
        frameworks = [installed(FRAMEWORKS), PROVIDER_PACKAGES] if page.name == "frameworks.md" else []
        packages = [ROOT / "src", *frameworks, installed("bytez-3.0.1")]
        where = {**environ, "PYTHONPATH": os.pathsep.join(map(str, packages))}
        runner = at_port(documented.port, Path(__file__).with_name("run_python.py"))
        run(page, [*runner, str(page)], json.dumps(program), where, tmp_path)
    with a_job_under_way(documented) if page == NEEDS_A_JOB else nullcontext():
        for block in ours:
            if block.language == "sh":
                text = text_for(documented, block).replace("export KEY=...", ":")
                run(block, ["bash"], PREPARED + text, environ, tmp_path)


def text_for(server: Server, block: Block) -> str:
    """An example that asks this server, wherever the page says that it is."""
    return block.text.replace("localhost:8080", f"localhost:{server.port}")


@contextmanager
def a_job_under_way(server: Server) -> Iterator[None]:
    """Until the end of the block, unless somebody cancels it."""
    with server.boots_held():
        assert server.client.post("/models/v2/request/org/name", json={"retry": True}).is_success
        yield


def run(what: Block | Path, words: Sequence[str], given: str, environ: dict[str, str], folder: Path) -> None:
    """A program to its end. Fails with what it says."""
    done = subprocess.run(
        words, input=given, cwd=folder, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, f"{what}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
