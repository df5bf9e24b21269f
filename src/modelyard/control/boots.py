"""Boots: from a replica that is wanted to one that is launched, its files and its room found, and what follows a boot
that failed.

Owns the memory that is set aside for other work. Does not decide how many replicas there should be.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime

from modelyard.control.failures import GiveUp, Retry
from modelyard.control.faults import contained
from modelyard.control.limits import gigabytes
from modelyard.control.placement import Evict, Never, Placed, Placement, Tenant, Wait
from modelyard.control.policy import Policy
from modelyard.control.preparation import NotPrepared, Preparations, Prepared, Preparing
from modelyard.control.records import Records
from modelyard.control.replicas import Replica, Supervised
from modelyard.control.room import QuotaOf, Room, name_for
from modelyard.control.states import ReplicaState
from modelyard.control.stops import Stops
from modelyard.engine.base import Engine, Need, Place
from modelyard.errors import BootFailed, ModelyardError, NoCapacity
from modelyard.records.clusters import Cluster
from modelyard.records.models import ModelCard
from modelyard.records.replicas import ReplicaSpec

LaunchRefusal = Callable[[str, Iterable[tuple[int, float]]], ModelyardError | None]
"""Why an account may not launch another instance, by the memory each is priced by and the seconds since each became
ready, 0 before; the new one is among them. None when it may."""


BOOTED = frozenset({ReplicaState.READY})
BOOTED_OR_BOOTING = BOOTED | {ReplicaState.STARTING, ReplicaState.LOADING}


class Boots:
    """Starts the replicas that wait to be started, the oldest first. Loop thread only."""

    def __init__(
        self,
        clusters: Mapping[str, Supervised],
        engine: Engine,
        preparations: Preparations,
        records: Records,
        stops: Stops,
        policy: Policy,
        quota_of: QuotaOf,
        launch_refusal: LaunchRefusal,
        poke: Callable[[], None],
    ) -> None:
        """`clusters`: all of them, by id; the reconciler adds to them and takes away."""
        self._clusters = clusters
        self._engine = engine
        self._preparations = preparations
        self._records = records
        self._stops = stops
        self._policy = policy
        self._quota_of = quota_of
        self._launch_refusal = launch_refusal
        self._poke = poke
        self._held: dict[str, Tenant] = {}

    # --- memory for other work ---

    @property
    def memory_bytes(self) -> int:
        """What may be held on the largest node in all."""
        return max((node.memory_bytes for node in self._engine.nodes() if node.accepting), default=0)

    def reserve_memory(self, name: str, need: Need, now: float) -> Placement:
        """Sets memory aside for work that is no replica, if it is free somewhere now; see `release_memory`."""
        found = self._room(now).look(need)
        if isinstance(found, Placed):
            self._held[name] = Tenant(
                name, name, found.need.memory_bytes, None, device_bytes=found.need.device_bytes, place=found.place
            )
        return found

    def release_memory(self, name: str) -> None:
        """Gives back what `reserve_memory` set aside. Idempotent."""
        if self._held.pop(name, None) is not None:
            self._poke()

    def _room(self, now: float) -> Room:
        held = tuple(self._held.values())
        return Room(self._engine.nodes(), self._clusters.values(), self._quota_of, now, held)

    # --- boots ---

    def place_queued(self, now: float) -> None:
        """Launches what waits for its files and for room, as far as there is any and it can be recorded."""
        if self._records.held_up:
            return
        room = self._room(now)
        queued = [
            (supervised, replica)
            for supervised in self._clusters.values()
            for replica in supervised.replicas.values()
            if replica.state is ReplicaState.QUEUED
        ]
        out_of_luck: set[str] = set()  # the other replicas of a cluster need just as much
        booting = self._count_booting()
        for supervised, replica in sorted(queued, key=lambda pair: pair[1].since):
            account_id = supervised.cluster.account_id
            if booting[account_id] >= self._policy.boots_at_once:
                self._say_once(supervised, "queued", f"waiting for the account's {booting[account_id]} other boots")
            elif supervised.cluster.id not in out_of_luck:
                with contained(supervised):
                    if self._try_to_start(supervised, replica, room, now):
                        booting[account_id] += 1
                    else:
                        out_of_luck.add(supervised.cluster.id)

    def _count_booting(self) -> Counter[str]:
        """By account, the replicas that start or load; those stopped meanwhile too, until they are gone."""
        return Counter(
            supervised.cluster.account_id
            for supervised in self._clusters.values()
            for replica in supervised.replicas.values()
            if replica.place is not None and not replica.was_ready
        )

    def _try_to_start(self, supervised: Supervised, replica: Replica, room: Room, now: float) -> bool:
        """Launches a queued replica if its files are here and there is room; whether it did."""
        match self._preparations.ensure(supervised.cluster.model_id):
            case Prepared(card):
                return self._place(supervised, replica, card, room, now)
            case NotPrepared(error):
                self.give_up(supervised, error, now)
            case Preparing() as preparing:
                self._say_once(supervised, "downloading", download_words(preparing))
        return False

    def _place(self, supervised: Supervised, replica: Replica, card: ModelCard, room: Room, now: float) -> bool:
        reserve_bytes = supervised.settings.reserve_bytes or max(card.memory_bytes, supervised.held_bytes)
        match room.find(supervised, Need(reserve_bytes, card.device_bytes), self._engine.nodes_with(card)):
            case Placed() as placed:
                if (refusal := self._find_launch_refusal(supervised, card, now)) is not None:
                    self.give_up(supervised, refusal, now, keep=BOOTED_OR_BOOTING)
                    return False
                self._launch(supervised, replica, card, placed, now)
                return True
            case Evict(victims, reason):
                for victim in victims:
                    self._evict(victim, supervised, now)
                self._say_once(supervised, "queued", reason)
            case Wait(reason):
                self._say_once(supervised, "queued", reason)
            case Never(reason, cause):
                self.give_up(supervised, NoCapacity(f"{card.model_id} {reason}", cause=cause, model=card.model_id), now)
        return False

    def _find_launch_refusal(self, supervised: Supervised, card: ModelCard, now: float) -> ModelyardError | None:
        """Why its account's funds do not allow a launch, those before it considered."""
        if not supervised.settings.billed:
            return None
        account_id = supervised.cluster.account_id
        begun = [
            (replica.priced_bytes, now - replica.since if replica.was_ready else 0.0)
            for each in self._clusters.values()
            if each.cluster.account_id == account_id and each.settings.billed
            for replica in each.replicas.values()
            if replica.place is not None
        ]
        return self._launch_refusal(account_id, [*begun, (card.memory_bytes, 0.0)])

    def _evict(self, victim: Tenant, to_make_room_for: Supervised, now: float) -> None:
        supervised = next(each for each in self._clusters.values() if victim.replica_id in each.replicas)
        name = name_for(supervised, to_make_room_for)
        supervised.rest(supervised.live() - 1)
        reason = f"evicted after {victim.idle_s or 0:.0f} s idle, to make room for {name}"
        self._stops.drain(supervised, supervised.replicas[victim.replica_id], reason, now)

    def _launch(self, supervised: Supervised, replica: Replica, card: ModelCard, placed: Placed, now: float) -> None:
        cluster, place, need = supervised.cluster, placed.place, placed.need
        replica.move(ReplicaState.STARTING, now)
        replica.place = place
        replica.reserved_bytes, replica.reserved_device_bytes = need.memory_bytes, need.device_bytes
        supervised.waiting_for = None
        replica.priced_bytes = need.memory_bytes - unpriced_bytes(supervised, card)
        self._records.opened(cluster, replica.id, place.node, replica.priced_bytes, billed=supervised.settings.billed)
        self._records.event(cluster, "booting", f"{replica.id} starts{self._whereabouts(place)}, {reserved(need)}")
        self._engine.launch(
            ReplicaSpec(
                replica_id=replica.id,
                model_id=card.model_id,
                path=str(card.path),
                task=card.task,
                runtime=card.inspection.runtime,
                remote_code=card.inspection.remote_code,
                pickled=card.inspection.pickle_only,
                max_batch=supervised.settings.max_batch or card.max_batch,
                memory_limit_bytes=supervised.settings.limit_bytes,
                secret=secrets.token_hex(16),
                log_path=log_path(cluster, replica.id),
            ),
            place,
        )

    def _whereabouts(self, place: Place) -> str:
        """Where, for the cluster's log; nothing where there is one node."""
        return f" on {place.node}" if len(self._engine.nodes()) > 1 else ""

    # --- failures ---

    def failed(self, supervised: Supervised, replica: Replica, reason: str, now: float, *, permanent: bool) -> None:
        model_id = supervised.cluster.model_id
        self._preparations.forget(model_id)
        match supervised.failures.add(now, self._policy, was_ready=replica.was_ready, permanent=permanent):
            case GiveUp(because):
                self.give_up(supervised, BootFailed(f"{model_id} {because}: {reason}"), now)
            case Retry(delay_s):
                supervised.retry_at = now + delay_s
                asyncio.get_running_loop().call_later(delay_s, self._poke)

    def give_up(
        self, supervised: Supervised, error: ModelyardError, now: float, keep: Collection[ReplicaState] = BOOTED
    ) -> None:
        """Stops trying to boot. A cluster with replicas in states to `keep` keeps them, and tries to add more later."""
        self._stops.drop_queued(supervised, now)
        if any(state in keep for state in supervised.states()):
            supervised.retry_at = now + self._policy.failure_kept_s
            self._records.problem(supervised.cluster, "cannot scale", error)
            return
        supervised.failure = error
        supervised.failed_at = now
        self._records.problem(supervised.cluster, "gave up", error)
        self._stops.publish(supervised)

    def _say_once(self, supervised: Supervised, kind: str, reason: str) -> None:
        if supervised.waiting_for != reason:
            supervised.waiting_for = reason
            self._records.event(supervised.cluster, kind, reason)


def unpriced_bytes(supervised: Supervised, card: ModelCard) -> int:
    """What is reserved beyond the catalogue's figure, because requests have made replicas grow: nobody pays by it."""
    return max(0, supervised.held_bytes - card.memory_bytes)


def download_words(preparing: Preparing) -> str:
    """How far a download has got, in steps coarse enough for a log."""
    if not preparing.total_bytes:
        return "looking for the model's files"
    tenths = 10 * preparing.done_bytes // preparing.total_bytes
    return f"downloading {gigabytes(preparing.total_bytes)}, {tenths * 10} % done"


def reserved(need: Need) -> str:
    """What is reserved, for the cluster's log."""
    on_device = f" and {gigabytes(need.device_bytes)} on its device" if need.device_bytes else ""
    return f"{gigabytes(need.memory_bytes)}{on_device} reserved"


def log_folder(account_id: str, model_id: str) -> str:
    """Where the outputs of a cluster's replicas go, below the engine's folder of logs."""
    return f"{account_id}/{model_id.replace('/', '--')}"


def log_path(cluster: Cluster, replica_id: str) -> str:
    """Where a replica's output goes, below the engine's folder of logs: names sort in order of time."""
    now = datetime.now(UTC)
    stamp = f"{now:%Y%m%d-%H%M%S}-{now.microsecond:06d}"
    return f"{log_folder(cluster.account_id, cluster.model_id)}/{stamp}-{replica_id}.log"
