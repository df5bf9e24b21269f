"""What a nursery and its owner say to each other, a line of JSON each. Owns the types of both ends."""

from __future__ import annotations

import msgspec

from modelyard.records.replicas import ReplicaSpec


class Spawn(msgspec.Struct, frozen=True, tag="spawn"):
    """Owner to nursery: start a worker that listens on the Unix socket `socket`; where `host` names an address of this
    machine, on any free TCP port of it instead. Answered by Started or Refused."""

    spec: ReplicaSpec
    socket: str
    host: str = ""


class NurseryReady(msgspec.Struct, frozen=True, tag="ready"):
    """Nursery to owner: it takes commands, and is the process `pid`."""

    pid: int


class Started(msgspec.Struct, frozen=True, tag="started"):
    """Nursery to owner: a worker has begun, and takes connections at `address`: `unix:/path` or `tcp://host:port`.
    `socket`: as in Spawn."""

    replica_id: str
    pid: int
    socket: str
    address: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Nursery to owner: a worker could not be started."""

    replica_id: str
    reason: str


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """Nursery to owner: a worker has ended, and with it all it had started. Standby to owner: a nursery has ended.
    `status`: as wait(2) has it; None when what had started the worker ended, and the worker with it."""

    pid: int
    status: int | None


Report = NurseryReady | Started | Refused | Exited

_encoder = msgspec.json.Encoder()
_spawns: msgspec.json.Decoder[Spawn] = msgspec.json.Decoder(Spawn)
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def to_line(message: Spawn | Report) -> bytes:
    """The message's line, with its end."""
    return _encoder.encode(message) + b"\n"


def read_spawn(line: bytes) -> Spawn:
    """The owner's message in a line. Raises msgspec.MsgspecError."""
    return _spawns.decode(line)


def read_report(line: bytes) -> Report:
    """The nursery's message in a line. Raises msgspec.MsgspecError."""
    return _reports.decode(line)
