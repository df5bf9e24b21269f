"""What no kernel keeps a limit of is found: threads, files, bytes, and what hides them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from modelyard.engine import excess


def test_a_process_within_its_bounds_has_nothing_in_excess(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x")
    assert excess.find_excess(os.getpid(), tmp_path, 10_000) is None
    assert excess.find_excess(os.getpid(), tmp_path / "never made", 10_000) is None


def test_more_threads_than_may_be_are_told(tmp_path: Path) -> None:
    ended = threading.Event()
    threads = [threading.Thread(target=ended.wait) for _ in range(3)]
    for each in threads:
        each.start()
    found = excess.find_excess(os.getpid(), tmp_path, 3)
    ended.set()
    for each in threads:
        each.join()
    assert found is not None
    assert "threads, and a worker may have 3" in found


def test_more_files_or_bytes_than_may_be_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / str(number)).write_bytes(b"x" * 10_000)
    monkeypatch.setattr(excess, "MOST_FILES", 2)
    assert excess.find_excess(os.getpid(), tmp_path, 10_000) == "it kept more than 2 files"
    monkeypatch.setattr(excess, "MOST_FILES", 3)
    monkeypatch.setattr(excess, "MOST_FILE_BYTES", 20_000)
    found = excess.find_excess(os.getpid(), tmp_path, 10_000)
    assert found is not None
    assert "its files took more than" in found


def test_folders_too_deep_to_be_looked_at_are_told(tmp_path: Path) -> None:
    before, name = os.getcwd(), "d" * 200
    try:
        os.chdir(tmp_path)
        for _ in range(25):
            os.mkdir(name)
            os.chdir(name)
    finally:
        os.chdir(before)
    assert excess.find_excess(os.getpid(), tmp_path, 10_000) == (
        "it kept files that cannot be looked at: File name too long"
    )
