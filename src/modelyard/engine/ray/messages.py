"""What the program that speaks to Ray tells its server, a line of JSON each. Imports no Ray."""

from __future__ import annotations

import msgspec

from modelyard.engine.remote.finder import AgentAddress

AGENT_VARIABLE = "MODELYARD_RAY_AGENT"
"""The command of the agent where it is another than this package's, words parted by newlines. For tests."""


class Found(msgspec.Struct, frozen=True, tag="found"):
    """The agents that there are by now."""

    agents: list[AgentAddress]


class CannotConnect(msgspec.Struct, frozen=True, tag="failed"):
    """The program ends, for this reason."""

    reason: str


News = Found | CannotConnect

_decoder: msgspec.json.Decoder[News] = msgspec.json.Decoder(News)


def to_line(news: News) -> bytes:
    """The line, with its end."""
    return msgspec.json.encode(news) + b"\n"


def read_line(line: bytes) -> News:
    """What a line says. Raises msgspec.MsgspecError."""
    return _decoder.decode(line)
