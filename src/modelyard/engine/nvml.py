"""What NVIDIA's driver says of its devices, asked through its management library (NVML). Owns the connection to it.

The library comes with the driver; where there is none, nothing here is used. Opens no CUDA: a process that asks may
fork. Source: NVML API reference guide.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
SUCCESS = 0
UUID_BYTES = 96
"""NVML_DEVICE_UUID_V2_BUFFER_SIZE."""


class DriverFault(OSError):
    """The driver is there and does not answer as it should."""


@dataclass(frozen=True, slots=True)
class DriverDevice:
    """A device as the driver knows it. `uuid`: its id, the same after every restart; `total_bytes`, `free_bytes`: of
    its memory, at this moment."""

    uuid: str
    total_bytes: int
    free_bytes: int


class Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class Nvml:
    """The library, loaded. On any thread; each call may take as long as the driver does."""

    def __init__(self, library: Any) -> None:
        """`library`: as ctypes has loaded it. Raises DriverFault when the driver cannot be reached."""
        self._library = library
        library.nvmlErrorString.restype = ctypes.c_char_p
        self._call("nvmlInit_v2")

    def list_devices(self) -> list[DriverDevice]:
        """Every device, in the order of their slots (PCI). Raises DriverFault."""
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        return [self._describe(number) for number in range(count.value)]

    def free_bytes(self, uuid: str) -> int:
        """What of a device's memory nobody holds at this moment. Raises DriverFault."""
        handle = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(uuid.encode()), ctypes.byref(handle))
        return int(self._memory(handle).free)

    def _describe(self, number: int) -> DriverDevice:
        handle = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(number), ctypes.byref(handle))
        uuid = ctypes.create_string_buffer(UUID_BYTES)
        self._call("nvmlDeviceGetUUID", handle, uuid, ctypes.c_uint(UUID_BYTES))
        memory = self._memory(handle)
        return DriverDevice(uuid.value.decode(), memory.total, memory.free)

    def _memory(self, handle: ctypes.c_void_p) -> Memory:
        memory = Memory()
        self._call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        return memory

    def _call(self, name: str, *arguments: Any) -> None:
        result = getattr(self._library, name)(*arguments)
        if result != SUCCESS:
            words = self._library.nvmlErrorString(result) or b"unknown"
            raise DriverFault(f"{name}: {words.decode(errors='replace')}")


def open_nvml() -> Nvml | None:
    """The driver's library; None on a machine without one. Raises DriverFault when there is one and it cannot be used,
    as after an upgrade of the driver without a restart."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return Nvml(library)
