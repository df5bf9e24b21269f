"""What frames between a server and its workers carry, and what comes of an inference. Owns the types of both ends.

A leaf: knows nothing of sockets (`wire` does), tasks or HTTP. Fields may be added with a default, never reordered.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class FinishReason(StrEnum):
    """Why a generation ended. STOP: an end token or a stop string. LENGTH: the most tokens asked for, or the model's
    context, was reached. TIME: `max_time` was over. CANCELLED: nobody waited any more."""

    STOP = "stop"
    LENGTH = "length"
    TIME = "time"
    CANCELLED = "cancelled"


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one inference took. None: the task has no such thing, or it was not told.

    `prompt_tokens`, `new_tokens`: what a generating model read and made; padding and what a cache spared included in
    neither. `first_piece_us`: from the moment a replica had the request to its first piece of the answer; `took_us`:
    until its end. Both in microseconds, as the gateway measured them: a worker's clock bills nobody.
    """

    prompt_tokens: int | None = None
    new_tokens: int | None = None
    finish_reason: FinishReason | None = None
    first_piece_us: int | None = None
    took_us: int = 0


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """An inference's output, in the form of its task, and what it took.

    `logprobs`, `tool_calls`: what a surface that has a place for them may show; None: not asked for, or not made.
    """

    output: Any
    usage: Usage = Usage()
    logprobs: list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None
