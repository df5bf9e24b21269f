"""The small decisions of a worker's life."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.errors import BootFailed, ModelRefused, NotFound
from modelyard.worker.boot import MEMORY_STEP_BYTES, differs, is_permanent, last_words
from modelyard.worker.memory import Memory


@pytest.mark.parametrize(
    ("error", "words", "permanent"),
    [
        (ModelRefused("no weights"), "no weights", True),
        (NotFound("no such task"), "no such task", True),
        (BootFailed("does not fit into the memory"), "does not fit into the memory", False),
        (MemoryError(), "Out of memory while loading.", False),
        (OSError(24, "Too many open files"), "OSError: [Errno 24] Too many open files", False),
        (ValueError("first line\nsecond line"), "ValueError: first line", True),
        (KeyError(), "KeyError: no message", True),
    ],
)
def test_last_words(error: BaseException, words: str, permanent: bool) -> None:
    assert last_words(error) == words
    assert is_permanent(error) is permanent


@pytest.mark.parametrize(
    ("held", "peak", "worth_telling"),
    [
        (0, 0, False),
        (MEMORY_STEP_BYTES - 1, 1 - MEMORY_STEP_BYTES, False),
        (MEMORY_STEP_BYTES, 0, True),
        (-MEMORY_STEP_BYTES, 0, True),
        (0, MEMORY_STEP_BYTES, True),
    ],
)
def test_only_changes_that_matter_are_told(held: int, peak: int, worth_telling: bool) -> None:
    before = Memory(100 * MEMORY_STEP_BYTES, 200 * MEMORY_STEP_BYTES)
    assert differs(Memory(before.held_bytes + held, before.peak_bytes + peak), before) is worth_telling


def test_more_memory_on_an_accelerator_is_told() -> None:
    before = Memory(100 * MEMORY_STEP_BYTES, 200 * MEMORY_STEP_BYTES)
    assert differs(replace(before, device_bytes=MEMORY_STEP_BYTES), before)
    assert not differs(replace(before, device_bytes=MEMORY_STEP_BYTES - 1), before)
