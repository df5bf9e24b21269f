"""Fixtures every folder of tests may use: a zoo of tiny models, and a real server that serves them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.builders import quantised
from tests.builders.quantised import Figures
from tests.console.browser import chromium
from tests.described import check_answers
from tests.serving import Server, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ZOO = {
    "tiny/gpt2": "gpt2",
    "tiny/chat": "llama_chat",
    "tiny/t5": "t5",
    "tiny/bart": "bart",
    "tiny/mlm": "bert_masked_lm",
    "tiny/classifier": "bert_classifier",
    "tiny/ner": "bert_token_classifier",
    "tiny/qa": "bert_qa",
    "tiny/nli": "bert_nli",
    "tiny/encoder": "bert_encoder",
    "tiny/sentences": "sentence_transformer",
    "tiny/ranker": "bert_ranker",
}
"""Model id → the builder that makes it."""
UNSAFE = ("tests/pickled", "tests/hostile")
"""Models of weights in pickles, which the operator of the shared server allows."""


AUTHORITY = Path(__file__).parent / "media" / "certificate" / "right.test.pem"


@pytest.fixture(scope="session", autouse=True)
def described_answers() -> Iterator[None]:
    """Every JSON answer of a server of ours is held against its document."""
    yield from check_answers()


@pytest.fixture(scope="session", autouse=True)
def one_authority() -> Iterator[str | None]:
    """Whatever tests start, and each client of theirs, trusts one authority: to read all that the machine trusts takes
    a client 20 ms of CPU time. The file that named those."""
    with pytest.MonkeyPatch.context() as changed:
        machines = os.environ.get("SSL_CERT_FILE")
        changed.setenv("SSL_CERT_FILE", str(AUTHORITY))
        yield machines


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with every model of ZOO."""
    from tests.builders import build

    folder = tmp_path_factory.mktemp("zoo")
    for model_id, family in ZOO.items():
        build(family, folder / model_id)
    return folder


@pytest.fixture(scope="session")
def server(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A warm server for tests that leave nothing behind but clusters of their own models."""
    with Server(tmp_path_factory.mktemp("server"), zoo) as running:
        yield running


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A warm server for modules that bring models of their own: `with_models`. It has none, limits nobody's requests,
    fetches from this machine too, for five seconds at most, reads the pickles of UNSAFE, and has a port for metrics."""
    folder = tmp_path_factory.mktemp("shared-server")
    (folder / "models").mkdir()
    flags = ("--rate-limit", "0", "--allow-private-media", "--fetch-timeout-s", "5")
    environ = {"MODELYARD_ALLOW_UNSAFE": ",".join(UNSAFE), "MODELYARD_METRICS_PORT": str(free_port())}
    with Server(folder, folder / "models", *flags, **environ) as running:
        yield running


@pytest.fixture(scope="session")
def task_zoo(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one model per registered task, `tasks/<task id>`, each with a card that names its task."""
    from modelyard.tasks.registry import TASKS
    from tests.builders.fixtures import FAMILY_OF_TASK

    folder = tmp_path_factory.mktemp("task-zoo")
    for task in TASKS:
        model = folder / "tasks" / task.id
        shutil.copytree(model_folder(FAMILY_OF_TASK[task.id]), model)
        (model / "README.md").write_text(f"---\npipeline_tag: {task.id}\n---\n")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for pages of the console. While one runs no other test may have an event loop: it ends with the
    module."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def quantised_forms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Figures]]:
    """A models folder with a tiny model in each quantised form of `quantised.OFTEN`, and what was found of each as it
    was made."""
    folder = tmp_path_factory.mktemp("quantised-forms")
    return folder, quantised.compare(folder, *quantised.OFTEN)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all its tables, to be copied."""
    from modelyard.store.store import Store

    path = tmp_path_factory.mktemp("database") / "empty.db"
    Store.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def own_database(database: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test."""
    return Path(shutil.copy(database, tmp_path / "modelyard.db"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server that lives as long as the session."""
    from tests.store.postgresql import run_postgresql

    with run_postgresql() as server:
        yield server.get_uri()


@pytest.fixture
def postgresql_schema(postgresql_server: str) -> str:
    """The name of a new, empty schema."""
    from tests.store.postgresql import create_schema

    return create_schema(postgresql_server)


@pytest.fixture
def empty_postgresql_url(postgresql_server: str, postgresql_schema: str) -> str:
    """A URL that sees only the new schema."""
    from tests.store.postgresql import url_of_schema

    return url_of_schema(postgresql_server, postgresql_schema)


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    """The server's URL, once it has the database that tests' own are copies of."""
    from tests.store.postgresql import create_template

    create_template(postgresql_server)
    return postgresql_server


@pytest.fixture
def postgresql_url(postgresql_template: str) -> Iterator[str]:
    """The URL of a new database with all tables, for one test."""
    from tests.store.postgresql import copied_database

    with copied_database(postgresql_template) as url:
        yield url
