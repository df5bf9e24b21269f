"""The readers of /proc against processes whose figures are known."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelyard.worker import memory
from modelyard.worker.memory import Gauge, mapped_files, peak_resident_bytes, resident_bytes, start_ticks
from tests.peaks import pss_bytes

MIB = 1024**2
NOBODY = 2**22 + 1
"""A pid above the kernel's largest."""
WAIT = "print(flush=True); input()"
"""Says that all is done that should be, and waits for the end of its input."""


@contextmanager
def program(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that has printed a line, and ends with the block."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.communicate()


def test_what_a_process_allocates_counts() -> None:
    with (
        program(WAIT) as small,
        program("x = b'x' * (64 << 20); print(flush=True); input()") as large,
    ):
        held = [Gauge(process.pid).measure() for process in (small, large)]
        assert held[0] is not None
        assert held[1] is not None
        assert 60 * MIB < held[1].held_bytes - held[0].held_bytes < 70 * MIB
        assert held[1].peak_bytes >= held[1].held_bytes


def test_what_was_given_back_counts_towards_the_peak() -> None:
    with program(f"x = b'x' * (64 << 20); del x; {WAIT}") as process:
        memory = Gauge(process.pid).measure()
        assert memory is not None
        assert memory.peak_bytes - memory.held_bytes > 60 * MIB
        assert memory.held_bytes < 40 * MIB


def test_what_has_hardly_changed_is_said_to_be_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    grow = "input(); x = b'x' * (8 << 20); print(flush=True); input()"
    with program(f"print(flush=True); {grow}") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        gauge = Gauge(process.pid)
        assert gauge.has_moved()
        before = gauge.measure()
        assert not gauge.has_moved()
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert gauge.has_moved()
        now = gauge.measure()
        assert before is not None
        assert now is not None
        assert now.held_bytes - before.held_bytes > 7 * MIB
        assert not gauge.has_moved()
        monkeypatch.setattr(memory, "REST_S", 0.0)
        assert gauge.has_moved()  # it may have written to what it shared


def test_shared_pages_are_shared_out(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(32 * MIB))
    opened = f"import mmap; f = open({str(file)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"
    code = f"{opened}; sum(m[::4096]); {WAIT}"
    with program(code) as one:
        alone, resident = pss_bytes(one.pid), resident_bytes(one.pid)
        with program(code):
            both = pss_bytes(one.pid)
            assert alone is not None
            assert both is not None
            assert alone - both > 14 * MIB
            assert resident_bytes(one.pid) == pytest.approx(resident, rel=0.05)


OPEN = "import mmap; f = open({!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); sum(m[::4096])"


def test_files_that_a_process_maps_itself_count_in_full_whoever_else_maps_them(tmp_path: Path) -> None:
    file = tmp_path / "weights (2)"
    file.write_bytes(os.urandom(32 * MIB))
    step = f"print(flush=True); input(); {OPEN.format(str(file))}; {WAIT}"
    with program(f"{OPEN.format(str(file))}; {WAIT}"), program(step) as one:
        gauge = Gauge(one.pid)
        before = gauge.measure()
        assert one.stdin is not None
        assert one.stdout is not None
        one.stdin.write(b"\n")
        one.stdin.flush()
        one.stdout.readline()
        after = gauge.measure()
        assert before is not None
        assert after is not None
        assert 31 * MIB < after.held_bytes - before.held_bytes < 36 * MIB


def test_files_that_were_mapped_before_count_as_far_as_they_are_read_later(tmp_path: Path) -> None:
    file = tmp_path / "library"
    file.write_bytes(os.urandom(32 * MIB))
    half = f"{OPEN.format(str(file)).replace('sum(m[::4096])', 'sum(m[: 16 << 20 : 4096])')}; print(flush=True)"
    with program(f"{half}; input(); sum(m[16 << 20 :: 4096]); {WAIT}") as one:
        gauge = Gauge(one.pid)
        assert str(file).encode() in mapped_files(one.pid)
        before = gauge.measure()
        assert one.stdin is not None
        assert one.stdout is not None
        one.stdin.write(b"\n")
        one.stdin.flush()
        one.stdout.readline()
        after = gauge.measure()
        assert before is not None
        assert after is not None
        assert 14 * MIB < after.held_bytes - before.held_bytes < 20 * MIB


def test_this_process_can_measure_itself() -> None:
    region = mmap.mmap(-1, 16 * MIB)
    before = pss_bytes()
    region.write(b"x" * len(region))
    after = pss_bytes()
    assert before is not None
    assert after is not None
    assert after - before > 15 * MIB
    assert peak_resident_bytes() is not None


def test_a_process_that_is_gone_has_no_figures() -> None:
    assert Gauge(NOBODY).measure() is None
    assert mapped_files(NOBODY) == frozenset()
    assert pss_bytes(NOBODY) is None
    assert peak_resident_bytes(NOBODY) is None
    assert start_ticks(NOBODY) is None


def test_start_ticks_tell_when() -> None:
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    with program(WAIT) as process:
        after = time.clock_gettime(time.CLOCK_BOOTTIME)
        ticks = start_ticks(process.pid)
        assert ticks is not None
        assert before - 0.1 <= ticks / ticks_per_s <= after + 0.1
        assert start_ticks(process.pid) == ticks


def test_a_name_with_brackets_and_spaces_misleads_nobody(tmp_path: Path) -> None:
    odd = tmp_path / "a) Z 1 (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([odd, "1000"])
    try:
        assert Path(f"/proc/{process.pid}/comm").exists()
        ticks = start_ticks(process.pid)
        mine = start_ticks(os.getpid())
        assert ticks is not None
        assert mine is not None
        assert ticks >= mine
    finally:
        process.kill()
        process.wait(120)


def test_the_dead_who_wait_to_be_reaped_are_gone() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}").exists()
    assert start_ticks(process.pid) is None
    process.wait(120)
