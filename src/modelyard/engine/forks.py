"""The forks that a nursery is asked for: a few at once, in the order of launches, those on devices once there is room.
Owns that queue; knows nothing of what becomes of a fork."""

from __future__ import annotations

from collections.abc import Callable

from modelyard.engine.base import Place
from modelyard.engine.devices import PlacedDevices
from modelyard.worker.nursery_messages import Spawn

FORKS_AT_ONCE = 4
"""Asked of the nursery before it has answered: enough to keep it busy, few enough that a launch which is stopped before
its turn costs no fork."""


class Forks:
    """Of one nursery, and of those that follow when it dies."""

    def __init__(self, send: Callable[[Spawn], None], devices: PlacedDevices) -> None:
        """`send`: asks the nursery."""
        self._send = send
        self._devices = devices
        self._waiting: dict[str, Spawn] = {}
        self._asked: set[str] = set()
        self._awaiting_devices: set[str] = set()

    def add(self, spawn: Spawn) -> None:
        """Has it forked in its turn."""
        self._waiting[spawn.spec.replica_id] = spawn
        self.go_on()

    async def add_when_free(self, spawn: Spawn, place: Place) -> str | None:
        """The same once the devices of its place have free what is reserved for it; else why it is not forked."""
        replica_id = spawn.spec.replica_id
        self._awaiting_devices.add(replica_id)
        lack = await self._devices.wait_until_free(place, spawn.spec.need_device_bytes)
        if replica_id not in self._awaiting_devices:
            return None
        self._awaiting_devices.discard(replica_id)
        if lack is None:
            self.add(spawn)
        return lack

    def drop(self, replica_id: str) -> None:
        """It is not wanted any more. What the nursery was asked for comes all the same."""
        self._waiting.pop(replica_id, None)
        self._awaiting_devices.discard(replica_id)

    def has(self, replica_id: str) -> bool:
        """Whether the nursery is still to be asked for it."""
        return replica_id in self._waiting or replica_id in self._awaiting_devices

    def answered(self, replica_id: str) -> None:
        """The nursery has answered for one."""
        self._asked.discard(replica_id)
        self.go_on()

    def nursery_died(self) -> None:
        """What it was asked for will not come; `go_on` asks the next one for the others."""
        self._asked.clear()

    def go_on(self) -> None:
        """Asks for as many as may be asked for."""
        while self._waiting and len(self._asked) < FORKS_AT_ONCE:
            replica_id = next(iter(self._waiting))
            self._asked.add(replica_id)
            self._send(self._waiting.pop(replica_id))
