"""A server that has everything below a home which only its user may enter: data, models, the hub's cache, and, where
the tests may mount, the interpreter with its libraries and our own code. Its workers run, and reach no file but their
model's.

It runs as who runs the tests, and, where that is root and may mount, as nobody.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

import modelyard
from modelyard.worker.sandbox.levels import find_mechanisms
from modelyard.worker.sandbox.system import permitted_capabilities
from tests.attacks.test_escape import (
    EVIL,
    GOOD,
    SECRET_VARIABLES,
    arm,
    facts_about,
    listeners,
    reached_of,
    what_is_left,
)
from tests.builders import build
from tests.e2e.test_hub import published
from tests.hub.server import HubServer
from tests.serving import Server

NOT_REPEATED = "Its server is another user's; the attack is that of `test_escape`."

NOBODY = 65534
CAP_SYS_ADMIN = 1 << 21
"""Source: linux/capability.h. What mounting takes."""
FROM_HUB = "acme/classifier"
LIBRARIES = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")


@pytest.fixture
def home() -> Iterator[Path]:
    """The home of the server's user. Not below pytest's own folder, which no other user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="home-"))
    yield folder
    shutil.rmtree(folder)


def may_become_nobody() -> bool:
    """Whether the server can run as another user than the tests, with what it needs mounted below its home."""
    return os.geteuid() == 0 and bool(permitted_capabilities() & CAP_SYS_ADMIN)


def plan_mounts(home: Path) -> Mapping[Path, Path]:
    """What is needed below the home, and where it lies there: interpreter, libraries, our code."""
    return {
        Path(sys.base_prefix): home / "python",
        Path(sysconfig.get_path("purelib")): home / "venv" / LIBRARIES,
        Path(modelyard.__file__).parents[1]: home / "src",
    }


def make_environment(home: Path) -> Path:
    """A virtual environment below the home, for the mounted interpreter and libraries; its interpreter."""
    for folder in plan_mounts(home).values():
        folder.mkdir(parents=True)
    executable = home / "python" / Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
    interpreter = home / "venv" / "bin" / "python"
    interpreter.parent.mkdir()
    interpreter.symlink_to(executable)
    (home / "venv" / "pyvenv.cfg").write_text(f"home = {executable.parent}\n")
    return interpreter


def as_nobody(home: Path) -> tuple[str, ...]:
    """A program that becomes the server: with mounts that end with it, as another user, its first word replaced by the
    interpreter below the home."""
    interpreter = make_environment(home)
    mounts = " && ".join(f"mount --bind {source} {target}" for source, target in plan_mounts(home).items())
    user = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=-all"
    return ("unshare", "--mount", "sh", "-c", f'{mounts} && shift && exec {user} {interpreter} "$@"', "sh")


def give_to_nobody(home: Path) -> None:
    """Makes all that is below the home its user's, who alone may enter it."""
    for folder, folders, files in os.walk(home):
        for name in (*folders, *files):
            os.chown(Path(folder, name), NOBODY, NOBODY, follow_symlinks=False)
    os.chown(home, NOBODY, NOBODY)


VERIFIED = pytest.param(False, marks=pytest.mark.verify(part="attacks"))


@pytest.mark.parametrize("nobody", [VERIFIED, True] if may_become_nobody() else [False])
def test_a_user_serves_from_below_a_closed_home_and_workers_reach_no_file(
    home: Path, tmp_path: Path, nobody: bool
) -> None:
    models = home / "models"
    for name in (GOOD, EVIL):
        build("bert_classifier", models / name)
    arm(models, {})
    program, environ = (), {"HOME": str(home), "XDG_RUNTIME_DIR": "", "XDG_CACHE_HOME": "", "HF_HUB_OFFLINE": "0"}
    with HubServer().running() as hub, listeners(tmp_path) as (abstract, named):
        hub.repos[FROM_HUB] = published(models / GOOD)
        environ |= {**SECRET_VARIABLES, "HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hub"), "HF_TOKEN": ""}
        if nobody:
            program = as_nobody(home)
            environ |= {"PYTHONPATH": str(home / "src"), "LD_LIBRARY_PATH": str(home / "python" / "lib")}
            give_to_nobody(home)
        assert home.stat().st_mode & 0o077 == 0
        with Server(home, models, "--allow-unsafe", EVIL, hub=True, program=program, **environ) as server:
            assert server.process is not None
            pid = server.process.pid
            assert psutil.Process(pid).uids().real == home.stat().st_uid
            assert server.run(FROM_HUB, text="Hello.")
            assert list((home / "hub").rglob("model.safetensors"))
            arm(models, facts_about(pid, server.data_dir, server.port, models, abstract, named))
            report = json.loads(server.run(EVIL, text="Hello.")[0]["label"])
        own_user = not nobody and find_mechanisms().other_user
        assert reached_of(report) == what_is_left(own_user), report
        assert (int(report["user"]) != home.stat().st_uid) is own_user
