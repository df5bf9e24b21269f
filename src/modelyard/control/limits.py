"""What replicas may take up together: on a node, on an accelerator, within what their account may hold; and in what
words each limit is told. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelyard.engine.base import Need, Place
from modelyard.units import gigabytes


def instances(count: int) -> str:
    """A number of replicas for a person."""
    return f"{count} instance{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Limit:
    """`size`: what a replica takes up of it. `own`: only replicas of the account that asks count. `cause`: what errors
    that come of it carry under this name.

    `never`, `wait`, `why` and `in_turn` are sentences that may name {need}, {most}, {free}; {node}, {on_node}, {device}
    and {devices}, how many. `in_turn`: one replica loads there at a time, now of the model {loading}; empty: any
    number. `wait_hidden`: in place of `wait` where others hold some of it: what is free would tell what they do.
    """

    cause: str
    size: Callable[[Need], int]
    show: Callable[[int], str]
    own: bool
    never: str
    wait: str
    why: str = ""
    wait_hidden: str = ""
    in_turn: str = ""


NODE_MEMORY = Limit(
    cause="machine",
    size=lambda need: need.memory_bytes,
    show=gigabytes,
    own=False,
    never="needs {need}, but replicas on {node} may use {most} in all.",
    wait="waiting for {need}{on_node}, {free} free",
    wait_hidden="waiting for {need}{on_node}, for which there is no room at the moment",
)
DEVICE_MEMORY = Limit(
    cause="device",
    size=lambda need: need.device_bytes,
    show=gigabytes,
    own=False,
    never="needs {need} on {devices}, but replicas on {device} may use {most} in all.",
    wait="waiting for {need} on {device}, {free} free",
    wait_hidden="waiting for {need} on {device}, for which there is no room at the moment",
    in_turn="waiting for {device}, where {loading} is loaded first",
)
ACCOUNT_MEMORY = Limit(
    cause="account memory",
    size=lambda need: need.total_bytes,
    show=gigabytes,
    own=True,
    never="needs {need}, but your account may hold {most} at once.",
    wait="waiting for {need}: your account may hold {most} at once, {free} of it free",
    why=": your account may hold {most} at once",
)
ACCOUNT_INSTANCES = Limit(
    cause="account instances",
    size=lambda need: 1,
    show=instances,
    own=True,
    never="cannot start: your account may hold {most} at once.",
    wait="waiting for {need}: your account may hold {most} at once",
    why=": your account may hold {most} at once",
)


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit in force. `claimed`: what those who asked before were promised of what is free or about to be.

    `place`: whose memory it is, for limits of a node or device; None: of all there is. `alone`: there is one node, so
    that nobody needs to be told its name. `parts`: the devices that the replica which asks would lie on, this among
    them.
    """

    most: int
    claimed: int = 0
    limit: Limit = NODE_MEMORY
    place: Place | None = None
    alone: bool = True
    parts: int = 1

    def size(self, need: Need, place: Place | None = None) -> int:
        """What a replica at `place` takes up of it; None: the one that asks."""
        parts = self.parts if place is None else len(place.devices)
        return need.share_bytes(parts) if self.limit is DEVICE_MEMORY else self.limit.size(need)

    def covers(self, place: Place | None) -> bool:
        """Whether a replica at `place` takes up some of it."""
        if self.place is None:
            return True
        return place is not None and place.node == self.place.node and set(self.place.devices) <= {*place.devices}

    def tell(self, words: str, need: int, free: int, loading: str = "") -> str:
        """One of the limit's sentences with its numbers. `loading`: which model is being loaded."""
        show, place = self.limit.show, self.place or Place("")
        return words.format(
            need=show(need),
            most=show(self.most),
            free=show(max(0, free)),
            node="this machine" if self.alone else f"the largest node, {place.node},",
            on_node="" if self.alone else f" on {place.node}",
            device=" and ".join(place.devices) + ("" if self.alone else f" of {place.node}"),
            loading=loading,
            devices="an accelerator" if self.parts == 1 else f"each of {self.parts} accelerators",
        )
