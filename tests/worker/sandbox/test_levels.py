"""What a machine must offer for each level of the sandbox, and what is said to be missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelyard.worker.sandbox.levels import STRICT_LANDLOCK, Mechanisms, maps_worker_users

COMPLETE = Mechanisms(STRICT_LANDLOCK, seccomp=True, other_user=True)


@pytest.mark.parametrize(
    ("mechanisms", "missing"),
    [
        (COMPLETE, []),
        (Mechanisms(STRICT_LANDLOCK + 4, seccomp=True, other_user=True), []),
        (Mechanisms(STRICT_LANDLOCK, seccomp=True, other_user=False), []),
        (Mechanisms(STRICT_LANDLOCK - 1, seccomp=True, other_user=True), [f"here: {STRICT_LANDLOCK - 1}"]),
        (Mechanisms(0, seccomp=True, other_user=False), ["here: none"]),
        (Mechanisms(STRICT_LANDLOCK, seccomp=False, other_user=True), ["seccomp"]),
        (Mechanisms(0, seccomp=False, other_user=False), ["Landlock", "seccomp"]),
    ],
)
def test_what_a_strict_sandbox_lacks_is_said(mechanisms: Mechanisms, missing: list[str]) -> None:
    lacks = mechanisms.missing()
    assert len(lacks) == len(missing)
    assert all(word in said for word, said in zip(missing, lacks, strict=True))


def test_only_what_is_complete_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = (Mechanisms(STRICT_LANDLOCK - 1, seccomp=True, other_user=True), Mechanisms(0, False, False))
    assert COMPLETE.level == "strict"
    for platform, level in (("linux", "partial"), ("darwin", "off")):
        monkeypatch.setattr(sys, "platform", platform)
        assert {each.level for each in lacking} == {level}


EVERYBODY, ROOT_ALONE = "         0          0 4294967295\n", "         0       1000          1\n"
OF_A_CONTAINER = f"{ROOT_ALONE}         1     100000      65536\n"
IN_TWO_PARTS = f"{ROOT_ALONE}     61184     100000       4000\n     65184     200000        336\n"
ALL_BUT_THE_LAST = f"{ROOT_ALONE}         1     100000      65518\n"


@pytest.mark.parametrize(
    ("users", "groups", "setgroups", "there"),
    [
        (EVERYBODY, EVERYBODY, "allow", True),
        (OF_A_CONTAINER, IN_TWO_PARTS, "allow", True),
        (ROOT_ALONE, ROOT_ALONE, "deny", False),
        (ROOT_ALONE, EVERYBODY, "allow", False),
        (EVERYBODY, ALL_BUT_THE_LAST, "allow", False),
        (OF_A_CONTAINER, OF_A_CONTAINER, "deny", False),
    ],
)
def test_workers_have_users_of_their_own_where_their_namespace_has_them(
    tmp_path: Path, users: str, groups: str, setgroups: str, there: bool
) -> None:
    for name, text in (("uid_map", users), ("gid_map", groups), ("setgroups", f"{setgroups}\n")):
        (tmp_path / name).write_text(text)
    assert maps_worker_users(tmp_path) is there


def test_where_there_are_no_user_namespaces_everybody_is_there(tmp_path: Path) -> None:
    assert maps_worker_users(tmp_path)
