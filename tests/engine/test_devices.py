"""Which accelerators there are: what the driver tells, what the operator has declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.engine.base import Device, Phase, Place
from modelyard.engine.devices import MachineDevices, PlacedDevices
from modelyard.engine.local import LocalEngine
from modelyard.engine.nvml import Nvml, open_nvml
from modelyard.errors import InvalidRequest
from modelyard.units import GIB
from tests.engine.conftest import model_spec
from tests.engine.driver import FakeLibrary
from tests.engine.harness import Harness

FREE = {"GPU-aa11": 40 * GIB, "GPU-ab22": 20 * GIB, "GPU-cc33": 80 * GIB}


def devices(*declared: str, visible: str | None = None, broken: str = "") -> MachineDevices:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return MachineDevices(declared, lambda: Nvml(FakeLibrary(dict(FREE), broken)), environ, lambda: True)


def test_devices_are_what_the_driver_says_each_with_most_of_what_is_free() -> None:
    assert devices().found == (
        Device("cuda:0", 36 * GIB, "GPU-aa11"),
        Device("cuda:1", 18 * GIB, "GPU-ab22"),
        Device("cuda:2", 72 * GIB, "GPU-cc33"),
    )


def test_of_a_machine_without_a_driver_nobody_knows_the_devices() -> None:
    assert MachineDevices((), lambda: None, {}).found is None


@pytest.mark.parametrize("broken", ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetMemoryInfo"])
def test_a_driver_that_does_not_work_is_said_to_be_and_gives_none(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert devices(broken=broken).found == ()
    assert f"the accelerators of this machine are not used: {broken}: Unknown Error" in caplog.text


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        (None, ["GPU-aa11", "GPU-ab22", "GPU-cc33"]),
        ("", []),
        ("2,0", ["GPU-cc33", "GPU-aa11"]),
        ("1", ["GPU-ab22"]),
        ("GPU-cc", ["GPU-cc33"]),
        ("GPU-ab22, 0", ["GPU-ab22", "GPU-aa11"]),
        ("0,-1,2", ["GPU-aa11"]),
        ("7", []),
        ("NoDevFiles", []),
    ],
)
def test_only_visible_devices_count_in_the_order_in_which_cuda_numbers_them(
    visible: str | None, uuids: list[str]
) -> None:
    found = devices(visible=visible).found
    assert found is not None
    assert [device.uuid for device in found] == uuids
    assert [device.name for device in found] == [f"cuda:{number}" for number in range(len(uuids))]


def test_a_torch_without_cuda_leaves_the_devices_alone_unless_they_are_declared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def there(*declared: str) -> Sequence[Device] | None:
        return MachineDevices(declared, lambda: Nvml(FakeLibrary(dict(FREE))), {}, lambda: False).found

    assert there() == ()
    assert "not used: torch is installed in a build without CUDA" in caplog.text
    assert there("cuda:0=1") == (Device("cuda:0", GIB, "GPU-aa11"),)


def test_what_is_declared_counts_in_place_of_what_is_free() -> None:
    assert devices("cuda:2=10", "cuda:0=0.5").found == (
        Device("cuda:2", 10 * GIB, "GPU-cc33"),
        Device("cuda:0", GIB // 2, "GPU-aa11"),
    )
    assert MachineDevices(["cuda:0=2"], lambda: None, {}).found == (Device("cuda:0", 2 * GIB),)
    assert devices("none").found == ()


@pytest.mark.parametrize(
    "words",
    ["cuda:0", "cuda:0=", "cuda:0=-1", "cuda:0=0", "cuda:0=nan", "cuda:0=inf", "cuda=1", "tpu:0=1", "=1", "none"],
)
def test_a_declaration_that_says_nothing_is_refused_by_name(words: str) -> None:
    with pytest.raises(InvalidRequest, match="device_memory") as caught:
        devices("cuda:1=1", words)
    assert caught.value.data["got"] == repr(words)


def test_a_device_is_declared_once_and_only_if_the_driver_has_it() -> None:
    with pytest.raises(InvalidRequest, match="cuda:1=2"):
        devices("cuda:1=1", "cuda:1=2")
    with pytest.raises(InvalidRequest, match=r"a device there is: cuda:0, cuda:1, cuda:2"):
        devices("cuda:3=1")


def test_what_is_free_is_asked_at_that_moment(caplog: pytest.LogCaptureFixture) -> None:
    library = FakeLibrary(dict(FREE))
    machine = MachineDevices((), lambda: Nvml(library), {}, lambda: True)
    library.free["GPU-ab22"] = GIB
    assert [machine.free_bytes(device) for device in machine.found or ()] == [40 * GIB, GIB, 80 * GIB]
    assert machine.free_bytes(Device("cuda:0", 1, "GPU-gone")) is None
    assert "free on cuda:0 cannot be told: nvmlDeviceGetHandleByUUID: Not Found" in caplog.text
    assert machine.free_bytes(Device("cuda:9", 1)) is None
    assert MachineDevices(["cuda:0=2"], lambda: None, {}).free_bytes(Device("cuda:0", 1, "GPU-aa11")) is None


async def test_what_is_reserved_is_waited_for_and_what_does_not_come_free_is_told_with_both_figures() -> None:
    first, second = (Device(name, 8 * GIB, name) for name in ("cuda:0", "cuda:1"))
    free: dict[str, int | None] = {"cuda:0": 6 * GIB, "cuda:1": None}
    asked: list[str] = []

    def free_on(device: Device) -> int | None:
        asked.append(device.name)
        if len(asked) > 4:  # whoever held it has ended
            free["cuda:0"] = 7 * GIB
        return free[device.name]

    async def wait(name: str, need_bytes: int, wait_s: float = 0.0) -> str | None:
        names = tuple(name.split("+"))
        return await PlacedDevices([first, second], free_on, wait_s).wait_until_free(Place("here", names), need_bytes)

    assert await wait("cuda:1", 7 * GIB) is None, "nobody can tell"
    assert await wait("cuda:0", 6 * GIB) is None
    lack = await wait("cuda:0", 6 * GIB + 1)
    assert lack is not None
    assert lack.startswith("6.0 GB are reserved for it on cuda:0, where 6.0 GB are free: a program that this server")
    assert str(await wait("cuda:0+cuda:1", 12 * GIB)).startswith("6.2 GB are reserved for it on cuda:0")
    assert await wait("cuda:0", 7 * GIB, 200.0) is None
    assert len(asked) > 4


@pytest.mark.gpu
def test_the_real_driver_tells_its_devices() -> None:
    driver = open_nvml()
    assert driver is not None
    for device in driver.list_devices():
        assert device.uuid.startswith("GPU-")
        assert 0 < device.free_bytes <= device.total_bytes
        assert 0 < driver.free_bytes(device.uuid) <= device.total_bytes


@pytest.mark.gpu
async def test_what_an_evicted_replica_held_is_free_before_the_next_one_loads(tiny_gpt2: Path) -> None:
    machine = MachineDevices()
    device = (machine.found or ())[0]
    engine = LocalEngine(GIB, node="here", devices=machine.found, free_on=machine.free_bytes)
    await engine.start()
    try:
        harness, place = Harness(engine), Place("here", (device.name,))
        before = machine.free_bytes(device)
        assert before is not None
        for need_bytes in (GIB, before - GIB // 4):
            spec = replace(model_spec(tiny_gpt2), need_device_bytes=need_bytes)
            harness.launch(spec, place)
            sighting = await harness.until_phase(spec.replica_id, Phase.READY)
            assert sighting.device_bytes is not None
            assert (machine.free_bytes(device) or 0) < before
            await engine.stop(spec.replica_id, 0.0)
    finally:
        await engine.close()
