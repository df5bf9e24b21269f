"""What frames between a server and its workers carry, and what comes of an inference. Owns the types of both ends.

A leaf: knows nothing of sockets (`wire` does), tasks or HTTP. Fields may be added at the end with a default, never
reordered: a frame travels as an array of its tag and its fields.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from modelyard.errors import ModelyardError, make_error
from modelyard.tallies import BATCH_SIZES

MOST_SLOTS = 65536
"""More than any batch has; a larger number is a lie."""
Count = Annotated[int, msgspec.Meta(ge=0)]


class FinishReason(StrEnum):
    """Why a generation ended. STOP: an end token or a stop string. LENGTH: the most tokens asked for, or the model's
    context, was reached. TIME: `max_time` was over. CANCELLED: nobody waited any more."""

    STOP = "stop"
    LENGTH = "length"
    TIME = "time"
    CANCELLED = "cancelled"


class Thought(str):
    """A piece of a stream that is what a model thinks before it answers, and no part of the output."""

    __slots__ = ()


class CalledPiece(str):
    """A piece of a stream that is what comes next of the arguments of a call, and no part of the output. `number`:
    of the call, from 0. `id`, `name`: of the call and its function, with the first piece of it; empty with others."""

    __slots__ = ("id", "name", "number")
    id: str
    name: str
    number: int

    def __new__(cls, text: str, number: int, id: str = "", name: str = "") -> CalledPiece:
        piece = super().__new__(cls, text)
        piece.number, piece.id, piece.name = number, id, name
        return piece


def cut_piece(piece: str, at: int) -> tuple[str, str]:
    """A piece as two of its kind."""
    if isinstance(piece, CalledPiece):
        return CalledPiece(piece[:at], piece.number, piece.id, piece.name), CalledPiece(piece[at:], piece.number)
    kind = type(piece)
    return kind(piece[:at]), kind(piece[at:])


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one inference took. None: the task has no such thing, or it was not told.

    `prompt_tokens`, `new_tokens`: what a model that generates or ranks was given, and what it made, without padding.
    `cached_tokens`: how many of the prompt's were not read, since another prompt had begun alike. `first_piece_us`:
    from the moment a replica had the request to its first piece of the answer; `took_us`: until its end; `queued_us`:
    for how long it had waited for that replica. In microseconds, as the gateway measured them: a worker's clock bills
    nobody. `finish_reasons`: why each text ended, where there are several, in their order. `stop_sequence`: the stop
    string that a text has ended before, where the runtime tells it. `reasoning_tokens`: of the new ones, those made
    before the answer began; None: the model marks no thinking. `sound_ms`: how long the sound was that a provider has
    heard.
    """

    prompt_tokens: Count | None = None
    new_tokens: Count | None = None
    finish_reason: FinishReason | None = None
    first_piece_us: Count | None = None
    took_us: Count = 0
    queued_us: Count = 0
    finish_reasons: list[FinishReason] | None = None
    cached_tokens: Count | None = None
    stop_sequence: str | None = None
    reasoning_tokens: Count | None = None
    sound_ms: Count | None = None


class ReplicaTimes(msgspec.Struct, frozen=True, array_like=True):
    """Where the time of one request went inside its replica: microseconds until the model began with it, and those
    until its answer. `batch`: how many calls the model began with together, or went on with beside it."""

    waited_us: Count
    worked_us: Count
    batch: Count


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """An inference's output, in the form of its task, and what it took.

    `logprobs`: of each token, in the form of OpenAI's; where there are several texts, `index` says of which. None: not
    asked for. `raw`: what the provider of a closed model answered, as it said it. `times`: where they were asked for.
    """

    output: Any
    usage: Usage = Usage()
    logprobs: list[dict[str, Any]] | None = None
    raw: Any = None
    times: ReplicaTimes | None = None


# --- how far a worker has got ---


class Starting(msgspec.Struct, frozen=True, tag_field="phase", tag="starting"):
    """The worker listens; it has not begun to load."""


class Loading(msgspec.Struct, frozen=True, tag_field="phase", tag="loading"):
    """The worker loads its model."""


class Ready(msgspec.Struct, frozen=True, tag_field="phase", tag="ready"):
    """The worker takes requests, `slots` in one batch at most. Sent again when what it holds has changed.

    `memory_bytes`, `peak_bytes`: what it holds, and the most it has held; None where the system does not tell.
    `device_bytes`: the most it has held on an accelerator; None: it uses none. `joins`: it begins requests while others
    run.
    """

    slots: Annotated[int, msgspec.Meta(ge=1, le=MOST_SLOTS)]
    memory_bytes: Count | None = None
    peak_bytes: Count | None = None
    device_bytes: Count | None = None
    joins: bool = False


class Failed(msgspec.Struct, frozen=True, tag_field="phase", tag="failed"):
    """The worker ends because of `reason`. `permanent`: with this model, trying again would end the same way."""

    reason: str
    permanent: bool


Status = Starting | Loading | Ready | Failed


class CacheUse(msgspec.Struct, frozen=True, array_like=True):
    """The memory for what a model has read and written, in tokens: what texts that are being written have of it, what
    is kept of others for prompts that begin alike, and how many there is room for in all."""

    used: Count
    kept: Count
    room: Count


class Work(msgspec.Struct, frozen=True, array_like=True):
    """What a worker has done since its model had loaded. `batches`: how many of each size, see `tallies.BATCH_SIZES`;
    `calls`: in all of them together; `places`: how many there was place for. A step of texts that come and go at any
    token is a batch, and each text a call. `cache`: at this moment; None: no such thing.
    """

    batches: Annotated[tuple[Count, ...], msgspec.Meta(max_length=len(BATCH_SIZES) + 1)] = ()
    calls: Count = 0
    places: Count = 0
    cache: CacheUse | None = None


NO_WORK = Work()
"""Of a worker that has not told yet."""


# --- frames: `id` is the request a frame belongs to, of those on its connection ---


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The first frame in each direction. The server's proves by `secret` who it is; the worker's answer has none.
    `wants_lines`: the server is to be sent lines of the worker's log."""

    secret: str = ""
    wants_lines: bool = False


class StatusUpdate(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Worker to server: how far it has got. Follows its Hello, and every change."""

    status: Status


class Request(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Server to worker: an inference. `stream`: pieces are wanted as they are made. `adapter`: the one beside the model
    that is to answer; empty: the model by itself. `timed`: the outcome is to tell its times, for a trace."""

    id: int
    fields: dict[str, Any]
    params: dict[str, Any]
    stream: bool = False
    adapter: str = ""
    timed: bool = False


class Called(msgspec.Struct, frozen=True, array_like=True):
    """What a CalledPiece has beside its text."""

    number: Count
    id: str = ""
    name: str = ""


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Worker to server: a piece of a streamed answer. `prompt_tokens`: in the first one, what the model has read, where
    it tells before it writes. `is_thought`: it is a Thought; `called`: it is a CalledPiece."""

    id: int
    text: str
    prompt_tokens: Count | None = None
    is_thought: bool = False
    called: Called | None = None

    @classmethod
    def of(cls, id: int, piece: str, prompt_tokens: int | None) -> Chunk:
        """The frame of a piece."""
        called = Called(piece.number, piece.id, piece.name) if isinstance(piece, CalledPiece) else None
        return cls(id, str(piece), prompt_tokens, isinstance(piece, Thought), called)

    @property
    def piece(self) -> str:
        """The piece that it carries."""
        if self.called is not None:
            return CalledPiece(self.text, self.called.number, self.called.id, self.called.name)
        return Thought(self.text) if self.is_thought else self.text


class Done(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Worker to server: the end of a request that was answered."""

    id: int
    outcome: Outcome


class Failure(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Worker to server: the end of a request that was not answered; `id` 0: of the connection. An error as data."""

    id: int
    code: str
    message: str
    data: dict[str, Any] = {}

    @classmethod
    def of(cls, request_id: int, error: ModelyardError) -> Failure:
        """The failure of a request with `error`."""
        return cls(request_id, error.code, error.message, error.data)

    def error(self) -> ModelyardError:
        """The error that `of` was given."""
        return make_error(self.code, self.message, self.data)


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Server to worker: nobody waits for this request any more."""

    id: int


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Server to worker: answer with a Pong of the same id."""

    id: int


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Worker to server: its event loop runs."""

    id: int


class Credit(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Server to worker: pieces of this request that weigh so much were taken by its client; as many more may come."""

    id: int
    weight: Count


class Configure(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Server to worker: new settings. `threads`: how many one operation of the model may use."""

    threads: Annotated[int, msgspec.Meta(ge=1)]


class AdapterPiece(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Server to worker: what comes next in the file `file` of an adapter that is to be loaded."""

    adapter: str
    file: str
    data: bytes


class LoadAdapter(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Server to worker: all pieces of an adapter's files have come; it is to be put beside the model. Answered as a
    request is, by Done or Failure."""

    id: int
    adapter: str


class UnloadAdapter(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Server to worker: no more requests come for this adapter. It goes with the last one that there is."""

    adapter: str


class WorkUpdate(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Worker to server: what it has done so far. Follows answers, seldom; comes before a Pong where it has changed."""

    work: Work


class Logged(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Worker to server, which wants them: a line of its log. `id`: the request that it is about; 0: none, or several.
    `time_ns`: since 1970, by the worker's clock. `level`: a number of Python's logging. `exception`: with its trace;
    empty: none."""

    id: int
    time_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    level: int
    logger: str
    message: str
    exception: str = ""


Frame = (
    Hello | StatusUpdate | Request | Chunk | Done | Failure | Cancel | Ping | Pong | Credit | Configure
    | AdapterPiece | LoadAdapter | UnloadAdapter | WorkUpdate | Logged
)  # fmt: skip

WINDOW = 256 * 1024
"""The weight of pieces that may be under way to a client who has not taken them yet. A worker keeps what is beyond, and
goes on with its batch; most answers are never as large, and need no Credit."""
PIECE_WEIGHT = 64
"""What a piece weighs beside its text: about what it takes in memory."""


def weight_of(text: str) -> int:
    """What a piece weighs."""
    return len(text) + PIECE_WEIGHT
