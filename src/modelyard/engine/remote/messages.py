"""What a server and a node's agent say to each other: a line of JSON each, over TCP. Owns the types of both ends.

The first line of a server shows the agent's secret; the agent then tells what its node has and every replica it knows,
and from then on each change. A server that leads shows its token with whatever starts or ends something. With TLS, the
first line may name a replica instead, to which the connection leads from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from modelyard.engine.base import Condition, Device, ReplicaLog
from modelyard.engine.doors import Enter
from modelyard.errors import LeaseLost, ModelRefused, ModelyardError, Unavailable
from modelyard.records.deaths import Death
from modelyard.records.replicas import ReplicaSpec
from modelyard.records.variants import ExportOrder

LINE_BYTES = 64 * 1024**2
"""The longest line that is read: the ends of a thousand logs."""
ORDER_BYTES = 64 * 1024
"""The longest one that an agent reads: of whoever connects, before anything is known of them."""


class Greet(msgspec.Struct, frozen=True, tag="greet"):
    """Server to agent, first: the agent's secret."""

    secret: str


class Lead(msgspec.Struct, frozen=True, tag="lead"):
    """Server to agent: it leads from now on. Answered: done, or with LeaseLost."""

    call: int
    token: int


class Launch(msgspec.Struct, frozen=True, tag="launch"):
    """Server to agent: start a replica, on those devices of the node. What becomes of it is told by Seen."""

    token: int
    spec: ReplicaSpec
    devices: tuple[str, ...] = ()


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Server to agent: end a replica, as `Engine.stop` does. Answered when it is gone, or with LeaseLost."""

    call: int
    token: int
    replica_id: str
    grace_s: float


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """Server to agent: drop what is known of a replica that is gone."""

    token: int
    replica_id: str


class Export(msgspec.Struct, frozen=True, tag="export"):
    """Server to agent: make a variant. Answered with the facts about it, after a Step for each step."""

    call: int
    order: ExportOrder


class ReadLogs(msgspec.Struct, frozen=True, tag="logs"):
    """Server to agent: the ends of logs, as `Engine.read_logs` has them."""

    call: int
    folder: str
    count: int


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Server to agent: whether the node, or that device of it, takes new replicas. Answered when every server has been
    told, or with LeaseLost."""

    call: int
    token: int
    accepting: bool
    device: str | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Server to agent: nobody waits for the answer of that call any more."""

    call: int


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Server to agent: a sign of life, please."""


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """Agent to server: one."""


class Facts(msgspec.Struct, frozen=True, tag="facts"):
    """Agent to server: what its node has, first and whenever that changes. `machine`: names the kernel and the
    namespace whose process ids are told."""

    memory_bytes: int
    devices: list[Device]
    cores: int | None
    accepting: bool
    warm: bool
    machine: str


class Seen(msgspec.Struct, frozen=True, omit_defaults=True, tag="seen"):
    """Agent to server: how a replica is by now. `spec`: what a server launched it with. `death`: how its process ended,
    where that is known."""

    condition: Condition
    spec: ReplicaSpec
    death: Death | None = None


class AllSeen(msgspec.Struct, frozen=True, tag="all-seen"):
    """Agent to server: it has told of every replica that there was when the server greeted it."""


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Agent to server: what a call is doing, in a sentence."""

    call: int
    words: str


class Failed(msgspec.Struct, frozen=True):
    """Why a call came to nothing. `code`: of the error."""

    code: str
    message: str

    @classmethod
    def of(cls, error: ModelyardError) -> Failed:
        """An error in a message."""
        return cls(error.code, error.message)

    def error(self) -> ModelyardError:
        """The error again; one that calls do not end with by design is Unavailable."""
        kinds = {kind.code: kind for kind in (LeaseLost, ModelRefused)}
        return kinds.get(self.code, Unavailable)(self.message)


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, tag="answer"):
    """Agent to server: what came of a call; a field for each kind of result."""

    call: int
    failed: Failed | None = None
    logs: list[ReplicaLog] = []
    facts: dict[str, object] = {}


ToAgent = Greet | Enter | Lead | Launch | Stop | Forget | Export | ReadLogs | Drain | Cancel | Ask
ToServer = Facts | Seen | AllSeen | Step | Answer | Alive

_encoder = msgspec.json.Encoder()
_to_agent: msgspec.json.Decoder[ToAgent] = msgspec.json.Decoder(ToAgent)
_to_server: msgspec.json.Decoder[ToServer] = msgspec.json.Decoder(ToServer)


def to_line(message: ToAgent | ToServer) -> bytes:
    """The message's line, with its end."""
    return _encoder.encode(message) + b"\n"


async def read_orders(reader: asyncio.StreamReader) -> AsyncIterator[ToAgent]:
    """What a server says, until it leaves. Raises OSError, ValueError for what is none of it."""
    async for line in reader:
        yield _to_agent.decode(line)


async def read_news(reader: asyncio.StreamReader) -> AsyncIterator[ToServer]:
    """What an agent says, until it leaves. Raises OSError, ValueError for what is none of it."""
    async for line in reader:
        yield _to_server.decode(line)
