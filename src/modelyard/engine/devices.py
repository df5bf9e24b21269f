"""The accelerators of this machine that replicas may use: as the driver tells them, or as the operator has declared.

Says which there are and what is free on one. Imports no model library; reserves nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelyard.engine.base import Device, Need, Place
from modelyard.engine.nvml import DriverDevice, DriverFault, Nvml, open_nvml
from modelyard.errors import InvalidRequest
from modelyard.records.replicas import ReplicaSpec
from modelyard.units import GIB, gigabytes

log = logging.getLogger(__name__)

NONE = "none"
"""As a declaration: no accelerator is used."""
FreeOn = Callable[[Device], int | None]
"""What of a device's memory nobody holds at this moment; None: nobody can tell. On any thread, and may block."""
LOOK_EVERY_S = 0.1
DEVICE_WAIT_S = 20.0
"""How long what is reserved on a device may take to be free."""
WITHOUT_CUDA = "torch is installed in a build without CUDA"
DECLARATION = "cuda:0=20 (a device and its GB for replicas), or none"
FREE_SHARE = 0.9
"""Of what is free on a device at the start, what replicas may hold where nobody has said."""


def is_built_for_cuda() -> bool:
    """Whether the torch that workers import can use NVIDIA's devices; it is looked at, not imported."""
    found = find_spec("torch")
    folders = [] if found is None else found.submodule_search_locations or []
    return any(Path(folder, "lib", "libtorch_cuda.so").exists() for folder in folders)


class MachineDevices:
    """Those of this machine. `found`: which there are, in the order of their numbers; None: nobody knows."""

    def __init__(
        self,
        declared: Sequence[str] = (),
        open_driver: Callable[[], Nvml | None] = open_nvml,
        environ: Mapping[str, str] = os.environ,
        has_cuda: Callable[[], bool] = is_built_for_cuda,
    ) -> None:
        """`declared`: see `declare`; empty: every device of the driver. `open_driver`: raises DriverFault. `has_cuda`:
        whether workers could use one.

        May block for seconds, while the driver wakes the devices. Raises InvalidRequest for a declaration that says
        nothing, or that names a device which the driver does not have.
        """
        self._driver: Nvml | None = None
        there: Sequence[Device] | None = None
        if [*declared] != [NONE]:
            try:
                self._driver = open_driver()
                if self._driver is not None:
                    visible = environ.get("CUDA_VISIBLE_DEVICES")
                    there = number_devices(choose_visible(self._driver.list_devices(), visible))
            except DriverFault as error:
                log.warning("the accelerators of this machine are not used: %s", error)
                self._driver, there = None, ()
        if there and not declared and not has_cuda():
            log.warning("the accelerators of this machine are not used: %s", WITHOUT_CUDA)
            there = ()
        self.found: Sequence[Device] | None = declare(declared, there or ()) if declared else there

    def free_bytes(self, device: Device) -> int | None:
        """What of its memory nobody holds at this moment; None where no driver can tell. On any thread."""
        if self._driver is None or not device.uuid:
            return None
        try:
            return self._driver.free_bytes(device.uuid)
        except DriverFault as error:
            log.warning("what is free on %s cannot be told: %s", device.name, error)
            return None


class PlacedDevices:
    """A node's devices as its replicas have them."""

    def __init__(
        self, devices: Sequence[Device] | None, free_on: FreeOn | None = None, wait_s: float = DEVICE_WAIT_S
    ) -> None:
        """`devices` None: nobody knows which there are. `free_on` None: nobody can tell what is free on one. `wait_s`:
        how long a replica waits for what is reserved for it."""
        self._devices = devices
        self._free_on = free_on
        self._wait_s = wait_s

    def find_absent(self, place: Place) -> str:
        """Which of the devices of a place there are not; empty: all are there."""
        return ", ".join({*place.devices}.difference(device.name for device in self._devices or ()))

    def tell_worker(self, spec: ReplicaSpec, place: Place) -> dict[str, Any]:
        """What of a worker's spec says which accelerators it uses, and that it sees no others: those it sees are
        numbered anew, from 0."""
        if not place.devices:
            return {} if self._devices is None else {"device": "cpu", "visible_devices": ""}
        chosen = self._at(place)
        return {
            "device": "cuda:0",
            "visible_devices": ",".join(device.visible_as for device in chosen),
            "device_count": len(chosen),
            "device_share_bytes": Need(0, spec.need_device_bytes).share_bytes(len(chosen)),
        }

    async def wait_until_free(self, place: Place, need_bytes: int) -> str | None:
        """Returns once every device of a place has free what a replica needs of it, as far as that can be told; else,
        after a while, which has not, as the reason why it does not start.

        A driver takes a while to take back what a process that was killed has held, and others may hold some of which
        nobody has told.
        """
        share_bytes = Need(0, need_bytes).share_bytes(len(place.devices))
        ends_at = time.monotonic() + self._wait_s
        while (lacking := await self._find_lacking(place, share_bytes)) is not None:
            if time.monotonic() >= ends_at:
                name, free_bytes = lacking
                return (
                    f"{gigabytes(share_bytes)} are reserved for it on {name}, where {gigabytes(free_bytes)} are free: "
                    f"a program that this server does not know holds the rest"
                )
            await asyncio.sleep(LOOK_EVERY_S)
        return None

    async def _find_lacking(self, place: Place, share_bytes: int) -> tuple[str, int] | None:
        """A device that has less free, and how much."""
        if self._free_on is not None:
            for device in self._at(place):
                free_bytes = await asyncio.to_thread(self._free_on, device)
                if free_bytes is not None and free_bytes < share_bytes:
                    return device.name, free_bytes
        return None

    def _at(self, place: Place) -> Sequence[Device]:
        return [device for device in self._devices or () if device.name in place.devices]


def number_devices(chosen: Sequence[DriverDevice]) -> tuple[Device, ...]:
    """The driver's devices under the names that model libraries have for them, each with a share of what is free."""
    return tuple(
        Device(f"cuda:{number}", int(each.free_bytes * FREE_SHARE), each.uuid) for number, each in enumerate(chosen)
    )


def choose_visible(there: Sequence[DriverDevice], visible: str | None) -> Sequence[DriverDevice]:
    """The devices that CUDA would show.

    `visible`: CUDA_VISIBLE_DEVICES, a list of numbers or ids; the first that there is not ends it. None: all are.
    Source: the CUDA C++ programming guide, environment variables.
    """
    if visible is None:
        return there
    chosen = []
    for name in (part.strip() for part in visible.split(",")):
        found = [each for number, each in enumerate(there) if name and is_named(name, number, each.uuid)]
        if not found:
            break
        chosen.append(found[0])
    return chosen


def is_named(name: str, number: int, uuid: str) -> bool:
    """Whether `name`, a number or the beginning of an id, means this device."""
    return int(name) == number if name.isdigit() else uuid.startswith(name)


def declare(declared: Sequence[str], there: Sequence[Device]) -> tuple[Device, ...]:
    """The devices that the operator has declared, each as `name=GB`, or `none` alone for no device.

    `there`: as the driver tells them, if it tells any; then only such can be declared. Raises InvalidRequest.
    """
    if [*declared] == [NONE]:
        return ()
    known, found = {each.name: each for each in there}, {}
    for words in declared:
        name, _, size = words.partition("=")
        try:
            memory_bytes = int(float(size) * GIB)
        except (ValueError, OverflowError):
            memory_bytes = 0
        kind, _, number = name.partition(":")
        if kind != "cuda" or not number.isdigit() or memory_bytes <= 0 or name in found:
            raise InvalidRequest(field="device_memory", got=words, accepted=DECLARATION)
        if there and name not in known:
            raise InvalidRequest(field="device_memory", got=words, accepted=f"a device there is: {', '.join(known)}")
        found[name] = replace(known.get(name, Device(name, 0)), memory_bytes=memory_bytes)
    return tuple(found.values())
