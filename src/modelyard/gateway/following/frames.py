"""What a gateway and the process it follows say to each other, over frames as between a server and its workers.

A gateway asks under a number of its own and is answered once, or says that it gave up; all else is told, in order. Who
follows another process than before first tells what it still holds. Owns the types of both ends; fields may be added at
the end with a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from modelyard.errors import ModelyardError, make_error
from modelyard.gateway.metrics import ClusterTally, ModelTally
from modelyard.records.accounts import Key
from modelyard.records.aliases import Alias
from modelyard.records.clusters import Capacity
from modelyard.records.deaths import Death
from modelyard.records.models import ModelCard
from modelyard.records.requests import RequestRecord
from modelyard.wire import WrongFrame

T = TypeVar("T")


class Follow(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The first frame of a gateway: `secret` proves that it is one, `number` says which."""

    secret: str
    number: int


class Followed(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The answer to it, after all that the gateway has to know."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The end of a question that has no answer but an error. `headers`: that the answer to the client has all the
    same."""

    id: int
    code: str
    message: str
    data: dict[str, Any] = {}
    detail: str | None = None
    headers: dict[str, str] = {}

    @classmethod
    def of(cls, number: int, error: ModelyardError, headers: Mapping[str, str] = {}) -> Refused:
        """The refusal with `error`."""
        return cls(number, error.code, error.message, error.data, error.detail, dict(headers))

    def error(self) -> ModelyardError:
        """The error that `of` was given."""
        error = make_error(self.code, self.message, self.data)
        error.detail = self.detail
        return error


class GiveUp(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Nobody waits for the answer any more; what it may have given is given back."""

    id: int


# --- what a gateway holds that follows another process than before ---


class HoldsSlot(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A slot that was given before, under this number; see `AskSlot`. It is held until `Released`."""

    id: int
    account_id: str
    model_id: str
    replica_id: str
    alone: bool = False


class HoldsAdmission(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A request that was admitted before, under this number. It counts until `Left`."""

    id: int
    account_id: str


class HoldsReservation(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """What was set aside before for a request that has not ended."""

    record: RequestRecord


# --- who may begin a request ---


class AskKey(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Whose is the key in this header? `address`: of the client."""

    id: int
    authorization: str | None
    address: str | None


class KeyFound(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """`age_s`: how long ago it was looked up."""

    id: int
    key: Key
    age_s: float


class AskAdmission(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """May a request with this key begin? It counts until `Left`."""

    id: int
    key: Key


class Admitted(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """`headers`: how the client is told of its rate."""

    id: int
    headers: dict[str, str]


class Left(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """A request that was admitted has ended."""

    id: int


class Report(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Requests under way, by account, of those whose accounts have no limit and that nobody was asked about."""

    under_way: dict[str, int]


# --- models and slots ---


class AskModel(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """What is known of this model, if the account may use it?"""

    id: int
    account_id: str
    model_id: str


class ModelFound(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """`card`: without the folders of its files."""

    id: int
    card: ModelCard


class AskCluster(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """Has the account a cluster of this model that runs, or is about to?"""

    id: int
    account_id: str
    model_id: str


class Agreed(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """Yes, or: done."""

    id: int


class AskSlot(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """A slot on a replica of the account's cluster, which is made with that capacity where there is none. `alone`: a
    replica that holds nothing else. `deadline_s`: how long it may take. It is held until `Released`."""

    id: int
    account_id: str
    model_id: str
    capacity: Capacity | None
    deadline_s: float
    alone: bool = False


class Replica(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Where requests to a replica go; comes before the first slot there. See `engine.link.Door`. `ready_s`: for how
    long it has taken them."""

    replica_id: str
    address: str
    secret: str
    adapter: str
    ready_s: float = 0.0


class ReplicaGone(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """The replica has ended, or its node is lost: what the gateway still waits for there will not come."""

    replica_id: str


class SlotGiven(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """The slot is the gateway's. `is_lent`: it may keep it for a while after its request, for the next one; `is_full`:
    there is no other for now."""

    id: int
    cluster_id: str
    replica_id: str
    is_lent: bool = False
    is_full: bool = False


class Recall(msgspec.Struct, frozen=True, array_like=True, tag=29):
    """So many of the slots that are lent of this cluster are to be given back as soon as they are free, first those of
    this replica."""

    cluster_id: str
    count: int
    replica_id: str = ""


class Kept(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """Of a cluster of which slots are lent: so many requests were answered whose slots were kept, since that was told
    last; `idle`: slots that no request holds now; `waiting`: requests that wait in the gateway for one; `idle_on`: the
    former by replica."""

    cluster_id: str
    answered: int
    idle: int
    waiting: int
    idle_on: dict[str, int] = {}


class Released(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """The slot is free. `answered`: the request that held it was."""

    id: int
    answered: bool = False


class Lost(msgspec.Struct, frozen=True, array_like=True, tag=28):
    """The connection to the replica of this slot broke; it is released afterwards."""

    id: int


class EndStuck(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """The replica does not do what it is told."""

    cluster_id: str
    replica_id: str
    reason: str


class WasEnded(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """The server ends the process at this address, for something that what it holds need not have caused."""

    address: str


class AskDeath(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """How has the replica of this slot ended?"""

    id: int
    slot: int
    timeout_s: float


class DeathFound(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """None: nobody has said so in that time."""

    id: int
    death: Death | None


# --- records ---


class AskReserve(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """Set a request's cost aside."""

    id: int
    record: RequestRecord


class Over(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """What requests came to. `written`: the ids of those whose records the gateway writes itself, and for which
    something was set aside."""

    records: list[RequestRecord]
    written: list[str] = []


class Counted(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """What metrics count of inferences, since that was told last; see `InferenceTallies`."""

    models: dict[str, ModelTally]
    clusters: dict[tuple[str, str], ClusterTally]


# --- what a gateway knows without asking ---


class Aliases(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """All accounts' aliases, as they are from now on."""

    aliases: Sequence[Alias]


class Accounts(msgspec.Struct, frozen=True, array_like=True, tag=51):
    """By account: why it may begin nothing; those with a credit or a limit; those whose requests at once are
    limited."""

    refusals: dict[str, tuple[str, dict[str, Any]]]
    funded: frozenset[str]
    limited: frozenset[str]


class Records(msgspec.Struct, frozen=True, array_like=True, tag=52):
    """Why nothing new may begin; None: it may."""

    refusal: tuple[str, dict[str, Any]] | None


class Sync(msgspec.Struct, frozen=True, array_like=True, tag=53):
    """The gateway says all that it has to tell by now, and then so. `forgets`: something has changed that it may have
    asked about before; it forgets that first."""

    id: int
    forgets: bool


class AskFile(msgspec.Struct, frozen=True, array_like=True, tag=55):
    """What follows at this byte of a file that a model has made, by its name? To the gateway."""

    id: int
    name: str
    offset: int


class FilePiece(msgspec.Struct, frozen=True, array_like=True, tag=56):
    """It. `size_bytes`: of the whole file; `made_at`: seconds since 1970."""

    id: int
    data: bytes
    size_bytes: int
    made_at: float


class NoFile(msgspec.Struct, frozen=True, array_like=True, tag=57):
    """The gateway has no such file, or no longer."""

    id: int


class Synced(msgspec.Struct, frozen=True, array_like=True, tag=54):
    """The gateway knows all that came before the `Sync`, and has told all there was."""

    id: int


FromGateway = (
    Follow | HoldsSlot | HoldsAdmission | HoldsReservation | GiveUp | AskKey | AskAdmission | Left | Report | AskModel
    | AskCluster | AskSlot | Released | Kept | Lost | EndStuck | AskDeath | AskReserve | Over | Counted | Synced
    | FilePiece | NoFile
)  # fmt: skip
ToGateway = (
    Followed | Refused | KeyFound | Admitted | ModelFound | Agreed | Replica | ReplicaGone | SlotGiven | Recall
    | WasEnded | DeathFound | Aliases | Accounts | Records | Sync | AskFile
)  # fmt: skip
Answer = Refused | KeyFound | Admitted | ModelFound | Agreed | SlotGiven | DeathFound

_from_gateway: msgspec.msgpack.Decoder[FromGateway] = msgspec.msgpack.Decoder(FromGateway)
_to_gateway: msgspec.msgpack.Decoder[ToGateway] = msgspec.msgpack.Decoder(ToGateway)


def decode_from_gateway(payload: bytes | memoryview) -> FromGateway:
    """One frame without its length. Raises WrongFrame."""
    return decoded(_from_gateway, payload)


def decode_to_gateway(payload: bytes | memoryview) -> ToGateway:
    """One frame without its length. Raises WrongFrame."""
    return decoded(_to_gateway, payload)


def decoded(decoder: msgspec.msgpack.Decoder[T], payload: bytes | memoryview) -> T:
    """One frame. Raises WrongFrame."""
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise WrongFrame(f"not a frame: {error}") from error
