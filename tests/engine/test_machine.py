"""What a machine has for replicas."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.engine.base import Device
from modelyard.engine.machine import find_devices, read_devices, usable_cores, usable_memory_bytes
from modelyard.units import GIB

ANSWER = "GPU-aa11, 40960\nGPU-ab22, 20480\nGPU-cc33, 81920\n"


def driver(folder: Path, script: str) -> dict[str, str]:
    """An environment in which the driver's program is this shell script."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": str(folder)}


def test_cores_and_memory_are_those_of_this_process() -> None:
    assert usable_cores() >= 1
    assert 0 < usable_memory_bytes(0.5) < usable_memory_bytes(1.0)


def test_a_machine_without_a_driver_has_no_devices(tmp_path: Path) -> None:
    assert find_devices({"PATH": str(tmp_path)}) == ()


def test_devices_are_what_the_driver_says(tmp_path: Path) -> None:
    environ = driver(tmp_path, f"printf '{ANSWER}'")
    assert find_devices(environ, fraction=0.5) == (
        Device("cuda:0", 20 * GIB),
        Device("cuda:1", 10 * GIB),
        Device("cuda:2", 40 * GIB),
    )
    assert find_devices({**environ, "CUDA_VISIBLE_DEVICES": "2"}, fraction=0.5) == (Device("cuda:0", 40 * GIB),)


@pytest.mark.parametrize("script", ["exit 9", "echo something else", "printf 'GPU-aa11, [N/A]\\n'"])
def test_a_driver_that_does_not_work_is_said_to_be_and_gives_none(
    tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_devices(driver(tmp_path, script)) == ()
    assert "the accelerators of this machine are not used" in caplog.text


@pytest.mark.parametrize(
    ("visible", "sizes"),
    [
        (None, [40, 20, 80]),
        ("", []),
        ("2,0", [80, 40]),
        ("1", [20]),
        ("GPU-cc", [80]),
        ("GPU-ab22, 0", [20, 40]),
        ("0,-1,2", [40]),
        ("7", []),
        ("NoDevFiles", []),
    ],
)
def test_only_visible_devices_count_in_the_order_in_which_cuda_numbers_them(
    visible: str | None, sizes: list[int]
) -> None:
    devices = read_devices(ANSWER, visible, 1.0)
    assert [device.memory_bytes for device in devices] == [size * GIB for size in sizes]
    assert [device.name for device in devices] == [f"cuda:{number}" for number in range(len(sizes))]
