"""What this machine has for replicas: cores, memory, accelerators. Asks the system; imports no model library."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from modelyard.engine.base import Device

log = logging.getLogger(__name__)

MIB = 1024**2
ASK_DRIVER = ("--query-gpu=uuid,memory.free", "--format=csv,noheader,nounits")
"""Answered with a line for each device: its id, and its free memory in MiB. Source: nvidia-smi --help-query-gpu."""
DRIVER_S = 20.0
"""How long the driver may take to answer: some seconds when it has to wake the devices first."""


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory_bytes(fraction: float = 0.9) -> int:
    """What replicas may hold on this machine: `fraction` of what is free now, within the cgroup's limit."""
    limits = [psutil.virtual_memory().available]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return int(min(limits) * fraction)


def find_devices(environ: Mapping[str, str] = os.environ, fraction: float = 0.9) -> tuple[Device, ...]:
    """The CUDA devices that workers will see, each with `fraction` of what is free on it now; none without a driver.

    Blocks for up to DRIVER_S.
    """
    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if program is None:
        return ()
    try:
        answer = subprocess.run(
            [program, *ASK_DRIVER], capture_output=True, text=True, timeout=DRIVER_S, check=True, env=dict(environ)
        ).stdout
        return read_devices(answer, environ.get("CUDA_VISIBLE_DEVICES"), fraction)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("the accelerators of this machine are not used: %s", error)
        return ()


def read_devices(answer: str, visible: str | None, fraction: float) -> tuple[Device, ...]:
    """The devices in an answer to ASK_DRIVER, numbered as CUDA numbers those that are `visible` where its order is that
    of the bus (CUDA_DEVICE_ORDER=PCI_BUS_ID), or all are alike.

    `visible`: CUDA_VISIBLE_DEVICES, a list of numbers or ids; the first that there is not ends it. None: all are.
    Raises ValueError. Source: the CUDA C++ programming guide, environment variables.
    """
    lines = [line.split(", ") for line in answer.splitlines() if line.strip()]
    free_bytes = {uuid: int(free) * MIB for uuid, free in lines}
    uuids = list(free_bytes)
    chosen = uuids if visible is None else []
    for name in (visible or "").split(","):
        found = [uuid for number, uuid in enumerate(uuids) if name.strip() and is_named(name.strip(), number, uuid)]
        if not found:
            break
        chosen.append(found[0])
    return tuple(Device(f"cuda:{number}", int(free_bytes[uuid] * fraction)) for number, uuid in enumerate(chosen))


def is_named(name: str, number: int, uuid: str) -> bool:
    """Whether `name`, a number or the beginning of an id, means this device."""
    return int(name) == number if name.isdigit() else uuid.startswith(name)
