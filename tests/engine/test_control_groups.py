"""What control groups allow a process, in both of their versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.engine.control_groups import Controller, find_limit


@pytest.mark.parametrize(
    ("own", "files", "controller", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "700\n", "memory.max": "900\n"}, "memory", 700),
        ("0::/a\n", {"a/pids.max": "max\n"}, "pids", None),
        ("0::/../../outside\n", {"memory.max": "500\n"}, "memory", 500),
        ("4:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "300"}, "memory", 300),
        ("4:memory:/on/the/host\n", {"memory/memory.limit_in_bytes": "400"}, "memory", 400),
        ("8:pids:/a\n", {"pids/a/pids.max": "12", "pids/pids.max": "max"}, "pids", 12),
        ("", {}, "memory", None),
    ],
)
def test_the_least_limit_of_the_groups_a_process_is_in_holds(
    tmp_path: Path, own: str, files: dict[str, str], controller: Controller, limit: int | None
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    assert find_limit(controller, tmp_path / "groups", tmp_path / "own") == limit


def test_without_the_list_of_its_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert find_limit("memory", tmp_path, tmp_path / "none") is None
