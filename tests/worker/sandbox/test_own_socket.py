"""The one socket that a runtime with a server in it may open: nobody else's, and none that reaches anybody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.worker.sandbox.levels import find_mechanisms

CODE = """
import json, os, socket, sys
from pathlib import Path
from modelyard.worker.sandbox.confinement import Needs, confine

folder = Path(sys.argv[1])
scratch = folder / "scratch"
confine(Needs("own-socket", folder / "model", scratch, own_socket=sys.argv[2] == "own"), "auto", os.getppid())
made = {}

def attempt(name, work):
    try:
        made[name] = work() and None
    except OSError as error:
        made[name] = error.strerror

def listen(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        one.listen()

def connect():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(folder / "other"))

attempt("listen", lambda: listen(scratch / "s"))
attempt("elsewhere", lambda: listen(folder / "s"))
attempt("connect", connect)
attempt("datagrams", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
attempt("network", lambda: socket.socket(socket.AF_INET))
print(json.dumps(made))
"""
REFUSED = "Operation not permitted"


def attempts(folder: Path, kind: str) -> dict[str, str | None]:
    (folder / "model").mkdir()
    folder.chmod(0o777)
    done = subprocess.run([sys.executable, "-c", CODE, str(folder), kind], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def mechanisms():
    found = find_mechanisms()
    if not found.seccomp:
        pytest.fail("this machine has no seccomp filters, which all machines that tests run on have")
    return found


def test_a_runtime_with_a_server_listens_in_its_own_folder_and_nowhere_else(tmp_path: Path, mechanisms) -> None:
    made = attempts(tmp_path, "own")

    assert made["listen"] is None
    assert {made[name] for name in ("connect", "datagrams", "network")} == {REFUSED}
    if mechanisms.landlock:
        assert made["elsewhere"] == "Permission denied"


def test_any_other_opens_no_socket(tmp_path: Path, mechanisms) -> None:
    assert set(attempts(tmp_path, "none").values()) == {REFUSED}
