"""Who else on the machine may read what a server keeps; what it says of a folder that it cannot use."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import Server

NOT_REPEATED = "It asks who may read files, and starts servers that are refused: nothing is done to one that runs."

VARIANTS = "variants"
"""Models: workers that run as another user read them. Who has no key to the data folder does not get there."""
PR_CAPBSET_DROP = 24  # Source: prctl(2)
CAP_DAC_OVERRIDE = 1  # Source: capabilities(7)


def open_to_others(data_dir: Path) -> list[str]:
    """What is in a data folder, itself included, that others than its owner have any right to."""
    found = [data_dir, *data_dir.rglob("*")]
    return sorted(
        f"{path.relative_to(data_dir)} {stat.S_IMODE(path.lstat().st_mode):o}"
        for path in found
        if path.relative_to(data_dir).parts[:1] != (VARIANTS,) and stat.S_IMODE(path.lstat().st_mode) & 0o077
    )


def test_nobody_else_may_read_what_a_server_keeps_whatever_the_umask(attacked_server: Server, zoo: Path) -> None:
    assert attacked_server.process is not None
    assert "Umask:\t0000" in Path(f"/proc/{attacked_server.process.pid}/status").read_text()
    with attacked_server.with_models(zoo) as server:
        server.run("tiny/classifier", text="Hello.")
        names = {path.name for path in server.data_dir.iterdir()}
        assert {"modelyard.db", "modelyard.db-wal", "cli.key", "logs"} <= names
        assert list(server.data_dir.glob("logs/*/*/*.log"))
        assert open_to_others(server.data_dir) == []


def test_a_folder_that_others_could_read_is_closed_to_them_and_that_is_said(zoo: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, zoo, boots=False)
    logs = server.data_dir / "logs" / "acc_1" / "org--name"
    logs.mkdir(parents=True)
    (logs / "old.log").write_text("words of a model")
    (server.data_dir / "artefacts").mkdir()
    (server.data_dir / "artefacts" / "old.png").write_bytes(b"a picture")
    (server.data_dir / "modelyard.toml").write_text('log_level = "info"\n')
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    outside.chmod(0o644)
    (server.data_dir / "link").symlink_to(outside)
    for path in (server.data_dir, *server.data_dir.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    with server:
        assert [each for each in open_to_others(server.data_dir) if not each.startswith("link")] == []
        assert stat.S_IMODE(outside.stat().st_mode) == 0o644
        assert f"others could read {server.data_dir}; now only this user can" in server.log.read_text()
        server.kill()
        server.start(warm=False)
        assert server.log.read_text().count("others could read") == 1


def drop_the_right_to_write_anywhere() -> None:
    """In a child of root: makes the modes of files hold for it as they do for everybody."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


@pytest.mark.parametrize("missing", [False, True], ids=["a folder that is read-only", "a folder in a read-only one"])
def test_a_data_folder_that_cannot_be_written_to_is_a_sentence(tmp_path: Path, missing: bool) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    data_dir = folder / "data" if missing else folder
    ended = subprocess.run(
        [sys.executable, "-m", "modelyard", "serve", "--port", "0", "--no-hub", "--data-dir", str(data_dir)],
        env={**os.environ, "PYTHONPATH": os.environ.get("MODELYARD_TEST_SOURCE") or os.environ.get("PYTHONPATH", "")},
        preexec_fn=drop_the_right_to_write_anywhere,
        capture_output=True,
        text=True,
        timeout=150,
    )
    said = " ".join(ended.stderr.split())
    assert ended.returncode == 1, said
    assert f"error: The data folder {data_dir} cannot be" in said
    assert "fix: make it writable for this user, or choose another with --data-dir" in said
    assert "Traceback" not in said
