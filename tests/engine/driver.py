"""NVIDIA's management library as `Nvml` calls it, for machines without its driver: the functions of its reference
guide, which write what they tell through their arguments."""

from __future__ import annotations

from typing import Any

NOT_FOUND = 6


class FakeLibrary:
    """`free`: bytes by id, in the order of the slots; a test may change them. `broken`: the function that fails."""

    def __init__(self, free: dict[str, int], broken: str = "") -> None:
        self.free = free
        self.broken = broken
        self.nvmlErrorString = ErrorString()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return (lambda *arguments: 999) if name == self.broken else getattr(self, f"do_{name.removeprefix('nvml')}")

    def do_Init_v2(self) -> int:
        return 0

    def do_DeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = len(self.free)
        return 0

    def do_DeviceGetHandleByIndex_v2(self, number: Any, handle: Any) -> int:
        handle._obj.value = number.value + 1
        return 0

    def do_DeviceGetHandleByUUID(self, uuid: Any, handle: Any) -> int:
        name = uuid.value.decode()
        if name not in self.free:
            return NOT_FOUND
        handle._obj.value = [*self.free].index(name) + 1
        return 0

    def do_DeviceGetUUID(self, handle: Any, uuid: Any, size: Any) -> int:
        uuid.value = [*self.free][handle.value - 1].encode()
        return 0

    def do_DeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        free = [*self.free.values()][handle.value - 1]
        memory._obj.total, memory._obj.free, memory._obj.used = 100 * free, free, 99 * free
        return 0


class ErrorString:
    """`nvmlErrorString`, whose result type its caller sets."""

    restype: Any = None

    def __call__(self, code: int) -> bytes:
        return b"Not Found" if code == NOT_FOUND else b"Unknown Error"
