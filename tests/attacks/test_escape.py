"""A model whose own code was allowed to run, and which tries everything to get out of its worker.

It reports by its labels what it has reached: nothing. The server and its other models keep answering.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelyard.worker.sandbox.levels import find_mechanisms
from tests.builders import build
from tests.serving import KEY, Server, wait_until

NOT_REPEATED = (
    "Its model attacks from within a worker; what comes of workers that end is repeated by `test_lost_replicas`."
)

EVIL, GOOD = "evil/model", "good/model"
CODE = Path(__file__).with_name("escape_code.py")
OWN_CODE = {"AutoConfig": "escape_code.EscapeConfig", "AutoModelForSequenceClassification": "escape_code.EscapeModel"}
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.getuid() == 0 else ()
"""Makes of root a user like any other, whose files are root's: who is no root has no rights anyway."""
SECRET_VARIABLES = {"HF_TOKEN": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "MY_OWN_NAME": KEY}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with a good model and one that attacks."""
    folder = tmp_path / "models"
    for name in (GOOD, EVIL):
        build("bert_classifier", folder / name)
    return folder


def arm(models: Path, facts: dict[str, Any]) -> None:
    """Gives the bad model its code, and what it needs to know to attack."""
    told = models / EVIL / "facts.json"
    told.write_text(json.dumps(facts))
    (models / EVIL / CODE.name).write_text(CODE.read_text().replace('"FACTS"', repr(str(told))))
    config = models / EVIL / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": OWN_CODE, "model_type": "escape"}))


@contextmanager
def listeners(folder: Path) -> Iterator[tuple[str, str]]:
    """An abstract socket and one in a folder, for anyone on the machine to connect to."""
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        abstract.bind("\0" + folder.name)
        path = str(folder / "s")
        named.bind(path)
        os.chmod(path, 0o777)
        for each in (abstract, named):
            each.listen()
        yield folder.name, path


def facts_about(server: Server, models: Path, abstract: str, named: str) -> dict[str, Any]:
    assert server.process is not None
    pid = server.process.pid
    (server.data_dir / "modelyard.db-extra").touch()
    with open(f"/proc/{pid}/maps") as maps:
        address = int(maps.readline().partition("-")[0], 16)
    return {
        "server": pid, "address": address, "key": KEY, "port": server.port, "abstract": abstract, "socket": named,
        "cli_key": str(server.data_dir / "cli.key"), "database": str(server.data_dir / "modelyard.db"),
        "logs": str(server.data_dir / "logs"), "models": str(models), "own": str(models / EVIL),
        "other_model": str(models / GOOD), "home": str(server.data_dir.parent),
    }  # fmt: skip


def reached_by(server: Server) -> tuple[list[str], dict[str, str]]:
    """What the model says that it has reached, and all it says."""
    report = json.loads(server.run(EVIL, text="Hello.")[0]["label"])
    return sorted(name for name, came in report.items() if came == "reached"), report


@pytest.mark.parametrize("has_rights", [True, False], ids=["as-who-runs-the-tests", "without-any-rights"])
def test_allowed_code_reaches_nothing_but_its_model(
    models: Path, tmp_path: Path, has_rights: bool, record_property: Callable[[str, object], None]
) -> None:
    """All of it lies below folders that only the server's user may enter: as pytest makes them."""
    assert tmp_path.stat().st_mode & 0o077 == 0
    record_property("level", find_mechanisms().level)
    arm(models, {})
    with listeners(tmp_path) as (abstract, named), Server(
        tmp_path, models, "--allow-unsafe", EVIL, program=() if has_rights else WITHOUT_RIGHTS, **SECRET_VARIABLES
    ) as server:  # fmt: skip
        arm(models, facts_about(server, models, abstract, named))
        reached, report = reached_by(server)
        own_user = has_rights and find_mechanisms().other_user
        assert reached == ([] if own_user else ["threads"]), report  # those are counted, see test_excess
        assert server.run(GOOD, text="Hello.")
        assert (server.data_dir / "cli.key").stat().st_mode & 0o077 == 0
        assert (int(report["user"]) != os.getuid()) is own_user
        family = server.descendants()
        server.kill()
    wait_until(lambda: not [each for each in family if each.is_running() and each.status() != "zombie"])
