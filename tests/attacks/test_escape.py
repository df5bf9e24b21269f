"""A model whose own code was allowed to run, and which tries everything to get out of its worker.

It reports by its labels what it has reached: nothing. The server and its other models keep answering.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from modelyard.engine.export import make_variant
from modelyard.records.variants import ExportOrder
from modelyard.units import GIB
from modelyard.worker.sandbox.confinement import limit_threads
from modelyard.worker.sandbox.levels import find_mechanisms
from tests.builders import build
from tests.serving import KEY, Server, family_of, is_alive, wait_until

NOT_REPEATED = (
    "Its model attacks from within a worker; what comes of workers that end is repeated by `test_lost_replicas`."
)

EVIL, GOOD = "evil/model", "good/model"
CODE = Path(__file__).with_name("escape_code.py")
OWN_CODE = {"AutoConfig": "escape_code.EscapeConfig", "AutoModelForSequenceClassification": "escape_code.EscapeModel"}
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.getuid() == 0 else ()
"""Makes of root a user like any other, whose files are root's: who is no root has no rights anyway."""
ROOT_ALONE = ("unshare", "--user", "--map-root-user")
"""Makes whoever runs the tests root of a user namespace in which there is nobody else."""
PATIENCE_S = 60.0
"""What a client waits for an answer at most."""
SECRET_VARIABLES = {"HF_TOKEN": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "MY_OWN_NAME": KEY}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with a good model and one that attacks."""
    folder = tmp_path / "models"
    for name in (GOOD, EVIL):
        build("bert_classifier", folder / name)
    return folder


def tell(models: Path, facts: dict[str, Any]) -> Path:
    """Tells the bad model what it needs to know to attack."""
    told = models / EVIL / "facts.json"
    unfinished = told.with_suffix(".new")
    unfinished.write_text(json.dumps(facts))
    return unfinished.rename(told)


def arm(models: Path, facts: dict[str, Any]) -> None:
    """Gives the bad model its code, and what it needs to know to attack."""
    told = tell(models, facts)
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


def facts_about(pid: int, data: Path, port: int, models: Path, abstract: str, named: str) -> dict[str, Any]:
    """What there is to reach: the process that the attacked one serves, and its data."""
    (data / "modelyard.db-extra").touch()
    return {
        "server": pid, "address": find_address(pid), "key": KEY, "port": port, "abstract": abstract, "socket": named,
        "cli_key": str(data / "cli.key"), "database": str(data / "modelyard.db"),
        "logs": str(data / "logs"), "models": str(models), "own": str(models / EVIL),
        "other_model": str(models / GOOD), "home": str(data.parent), "threads": limit_threads(),
    }  # fmt: skip


def find_address(pid: int) -> int:
    """Where a process has some memory; 0 where the tests may not look, being no root: nor may a worker then."""
    try:
        with open(f"/proc/{pid}/maps") as maps:
            return int(maps.readline().partition("-")[0], 16)
    except PermissionError:
        return 0


def make_data(folder: Path) -> Path:
    """A data folder as a server has it, for programs that need none."""
    (folder / "data" / "logs").mkdir(parents=True)
    for name in ("cli.key", "modelyard.db"):
        (folder / "data" / name).touch(0o600)
    return folder / "data"


def reached_of(report: dict[str, str]) -> list[str]:
    """The attempts that came through."""
    return sorted(name for name, came in report.items() if came == "reached")


def what_is_left(own_user: bool) -> list[str]:
    """What the kernel does not keep from a process of its parent's user: threads are counted, see test_excess."""
    return [] if own_user else ["threads"]


VERIFIED = pytest.mark.verify(part="attacks")
"""Of a server without any rights: `make test` has one in `test_closed_home`, which is nobody's."""


@pytest.mark.parametrize(
    "program",
    [(), pytest.param(WITHOUT_RIGHTS, marks=VERIFIED), pytest.param(ROOT_ALONE, marks=VERIFIED)],
    ids=["as-who-runs-the-tests", "without-any-rights", "root-of-nobody-else"],
)
def test_allowed_code_reaches_nothing_but_its_model(
    models: Path, tmp_path: Path, program: Sequence[str], record_property: Callable[[str, object], None]
) -> None:
    """All of it lies below folders that only the server's user may enter: as pytest makes them."""
    assert tmp_path.stat().st_mode & 0o077 == 0
    record_property("level", find_mechanisms().level)
    arm(models, {})
    with listeners(tmp_path) as (abstract, named), Server(
        tmp_path, models, "--allow-unsafe", EVIL, program=program, **SECRET_VARIABLES
    ) as server:  # fmt: skip
        assert server.process is not None
        arm(models, facts_about(server.process.pid, server.data_dir, server.port, models, abstract, named))
        report = json.loads(server.run(EVIL, text="Hello.")[0]["label"])
        own_user = not program and find_mechanisms().other_user
        assert reached_of(report) == what_is_left(own_user), report
        assert server.run(GOOD, text="Hello.")
        assert (server.data_dir / "cli.key").stat().st_mode & 0o077 == 0
        assert (int(report["user"]) != (0 if program == ROOT_ALONE else os.getuid())) is own_user
        family = server.descendants()
        server.kill()
    wait_until(lambda: not any(map(is_alive, family)))


@pytest.mark.parametrize(
    "has_rights",
    [pytest.param(True, marks=pytest.mark.verify(part="attacks")), False],
    ids=["as-who-runs-the-tests", "without-any-rights"],
)
def test_a_model_that_is_served_alone_reaches_nothing_either(models: Path, tmp_path: Path, has_rights: bool) -> None:
    arm(models, {})
    command = [*(() if has_rights else WITHOUT_RIGHTS), sys.executable, "-m", "modelyard", "worker", EVIL,
               "--models-dir", str(models), "--no-hub", "--allow-unsafe", EVIL, "--port", "0"]  # fmt: skip
    environ = {**os.environ, "MODELYARD_ADMIN_KEY": KEY, **SECRET_VARIABLES}
    with listeners(tmp_path) as (abstract, named), running(command, environ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")
        data = make_data(tmp_path)
        tell(models, facts_about(process.pid, data, int(url.rpartition(":")[2]), models, abstract, named))
        assert process.stdout.readline().startswith("Ready: ")
        answer = httpx.post(f"{url}/run", json={"text": "Hello."}, timeout=PATIENCE_S)
        report = json.loads(answer.json()["output"][0]["label"])
        own_user = has_rights and find_mechanisms().other_user
        assert reached_of(report) == what_is_left(own_user), report
        assert (int(report["user"]) != os.getuid()) is own_user
        family = family_of(psutil.Process(process.pid))
        process.kill()
    assert family
    wait_until(lambda: not any(map(is_alive, family)))


@contextmanager
def running(command: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program whose output is read, until the end of the block."""
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


TAKEN_OVER = """
import pathlib, runpy, sys
from modelyard.worker import variants

def attack(order, on_step):
    pathlib.Path(order.target).mkdir(parents=True)
    return {"report": runpy.run_path(order.path + "/escape_code.py")["REPORT"]}

variants.make_variant = attack
sys.exit(variants.main())
"""
"""The program that makes variants, whose libraries a model's files have made do as they like."""


async def test_the_program_that_makes_variants_reaches_nothing_but_its_model(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRET_VARIABLES.items():
        monkeypatch.setenv(name, value)
    target = tmp_path / "variants" / f"{EVIL}.onnx"
    order = ExportOrder(
        path=str(models / EVIL), task="text-classification", kind="onnx", target=str(target), model_id=EVIL,
        memory_limit_bytes=GIB, sandbox="auto",
    )  # fmt: skip
    with listeners(tmp_path) as (abstract, named), socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        arm(models, facts_about(os.getpid(), make_data(tmp_path), port, models, abstract, named))
        facts = await make_variant(order, lambda _: None, (sys.executable, "-c", TAKEN_OVER))
    report = json.loads(facts["report"])
    own_user = find_mechanisms().other_user
    assert reached_of(report) == what_is_left(own_user), report
    assert (int(report["user"]) != os.getuid()) is own_user
    assert target.stat().st_uid == os.getuid()
    assert list(target.parent.iterdir()) == [target]
