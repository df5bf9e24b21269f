"""What a machine must offer for each level of the sandbox, and what is said to be missing."""

from __future__ import annotations

import sys

import pytest

from modelyard.worker.sandbox.levels import STRICT_LANDLOCK, Mechanisms

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
