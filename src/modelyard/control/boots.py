"""Boots: from a replica that is wanted to one that is launched, its files and its room found, and what follows a boot
that failed.

Owns the memory that is set aside for other work. Does not decide how many replicas there should be.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from modelyard.clock import Clock
from modelyard.control.bases import Bases, find_free, need_beside
from modelyard.control.failures import GiveUp, Retry
from modelyard.control.fairness import share_of
from modelyard.control.faults import contained
from modelyard.control.holdings import Holdings
from modelyard.control.launch_funds import LaunchFunds
from modelyard.control.logs import log_path
from modelyard.control.needs import need_of, plan_limit, reserved
from modelyard.control.placement import Evict, MemoryHolder, Never, Placed, Placement, Wait
from modelyard.control.policy import Policy
from modelyard.control.preparation import Described, NotPrepared, Preparation, Preparations, Prepared, Preparing
from modelyard.control.records import Records
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.room import OTHER_WORK, Claims, QuotaOf, Room, name_for
from modelyard.control.states import ReplicaState
from modelyard.control.stops import Stops
from modelyard.control.urgency import is_patient
from modelyard.engine.base import Engine, Need, Place
from modelyard.errors import BootFailed, ModelyardError, NoCapacity, UnknownModel
from modelyard.records.models import ModelCard
from modelyard.records.replicas import ReplicaSpec
from modelyard.units import gigabytes

MayUse = Callable[[str, ModelCard], bool]
"""Whether an account, by its id, may see a model."""

FormOf = Callable[[ModelCard], ModelCard]
"""What a replica of the model loads."""

LESS_GOES_FIRST = "; another account, which holds no more for its weight, goes first"
LAUNCHES_PER_TURN = 2
"""As many as take about a third of a millisecond; the others wait for the next turn."""
RANKED_PER_TURN = 25
"""Accounts whose turns are found in one turn of the loop, as a round begins: about a fifth of a millisecond."""
URGENT_PER_TURN = 20
"""Clusters whose replicas have waited for so long by now that they go first, of which one turn takes note."""
PLACING_S = 0.0002
"""After which those that wait for room wait for the next turn, whatever became of the others."""

BOOTED = frozenset({ReplicaState.READY})
BOOTED_OR_BOOTING = BOOTED | {ReplicaState.STARTING, ReplicaState.LOADING}


@dataclass(eq=False, slots=True)
class Round:
    """What became of those that wait while each of them is tried once, in one turn of the loop or in several.

    `began_with`: the changes of who holds what that there were before. `claimed`: what was promised; `promised`: to how
    many. `out_of_luck`: the clusters, by id, of which one replica found no room: the others need just as much.
    `first_waiting`: the account whose replica was the first to find none. `turns`: that it has taken so far."""

    began_with: int = 0
    claimed: Claims = field(default_factory=Counter)
    promised: int = 0
    out_of_luck: set[str] = field(default_factory=set)
    first_waiting: str | None = None
    turns: int = 0


class Boots:
    """Starts the replicas that wait to be started, those of accounts that hold little first. Loop thread only."""

    def __init__(
        self,
        holdings: Holdings,
        engine: Engine,
        preparations: Preparations,
        records: Records,
        stops: Stops,
        policy: Policy,
        quota_of: QuotaOf,
        funds: LaunchFunds,
        wake: Callable[[], None],
        look_at: Callable[[str], None],
        clock: Clock,
        *,
        may_use: MayUse,
        form_of: FormOf,
        bases: Bases,
        operator_id: str = "",
    ) -> None:
        """`look_at`: told of a cluster, by its id, about which something is to be decided. `operator_id`: the account
        whose log may name others' models."""
        self._may_use = may_use
        self._form_of = form_of
        self._bases = bases
        self._holdings = holdings
        self._engine = engine
        self._preparations = preparations
        self._records = records
        self._stops = stops
        self._policy = policy
        self._quota_of = quota_of
        self._funds = funds
        self._wake = wake
        self._look_at = look_at
        self._clock = clock
        self._operator_id = operator_id
        self._held: dict[str, MemoryHolder] = {}
        self._round = Round()

    # --- memory for other work ---

    @property
    def memory_bytes(self) -> int:
        """What may be held on the largest node in all."""
        return self._holdings.know(self._engine.nodes()).largest_bytes

    def reserve_memory(self, name: str, need: Need, now: float, *, evicts: bool = False) -> Placement:
        """Sets memory aside for work that is no replica, if it is free somewhere now; see `release_memory`. `evicts`:
        idle replicas are asked to leave for it; ask again until they have."""
        found = self._room(now, Counter()).look(need, may_evict=evicts)
        if isinstance(found, Evict):
            for victim in found.holders:
                self._evict(victim, None, now)
        if isinstance(found, Placed):
            self._holdings.set_aside(found.place.node, found.need.memory_bytes)
            self._held[name] = MemoryHolder(
                name, name, found.need.memory_bytes, None, device_bytes=found.need.device_bytes, place=found.place
            )
        return found

    def release_memory(self, name: str) -> None:
        """Gives back what `reserve_memory` set aside. Idempotent."""
        holder = self._held.pop(name, None)
        if holder is not None:
            if holder.place is not None:
                self._holdings.set_aside(holder.place.node, -holder.memory_bytes)
            self._wake()

    @property
    def held(self) -> Sequence[MemoryHolder]:
        """What has memory set aside that is no replica."""
        return tuple(self._held.values())

    def _room(self, now: float, claimed: Claims) -> Room:
        machines = self._holdings.know(self._engine.nodes())
        return Room(machines, self._holdings, self._quota_of, now, self.held, self._operator_id, claimed)

    # --- boots ---

    def place_queued(self, now: float) -> None:
        """Launches what waits for its files and for room, as far as there is any and it can be recorded; ends the
        downloads that nothing waits for any more. What it has no time for goes on with the next turn."""
        if not self._holdings.any_queued:
            self._end_round()
        elif not self._records.held_up:
            self._place_in_turn(now)
        if self._preparations.under_way:
            self._preparations.keep(self._holdings.queued_models)

    def _place_in_turn(self, now: float) -> None:
        this = self._round
        room = self._room(now, this.claimed)
        if not self._holdings.note_urgent(now, URGENT_PER_TURN):
            self._wake()
        if not self._holdings.rank_queued(self._share_of, RANKED_PER_TURN):
            return self._wake()
        this.turns += 1
        until, launched = self._clock.monotonic() + PLACING_S, 0
        while (found := self._holdings.take_queued(self._share_of)) is not None:
            launched += self._try(*found, room, now)
            if launched == LAUNCHES_PER_TURN or self._clock.monotonic() > until:
                return self._wake()
        self._end_round()
        if this.turns > 1 and this.began_with != self._holdings.changes:
            self._wake()  # the first of them were tried before something changed
        return None

    def _end_round(self) -> None:
        if self._round.turns:
            self._holdings.begin_round()
            self._round = Round(self._holdings.changes)

    def _try(self, managed: ManagedCluster, replica: Replica, room: Room, now: float) -> bool:
        """Launches a replica whose turn it is, if it may begin; whether it did."""
        started = False
        booting = self._holdings.booting_of(managed.cluster.account_id)
        if booting >= self._policy.boots_at_once:
            self._say_once(managed, "queued", f"waiting for the account's {booting} other boots")
        elif managed.cluster.id not in self._round.out_of_luck:
            with contained(managed):
                started = self._try_to_start(managed, replica, room, now)
                if not started:
                    self._round.out_of_luck.add(managed.cluster.id)
            if not started and replica.place is not None:  # its launch has broken off
                self._look_at(managed.cluster.id)
        return started

    def _share_of(self, account_id: str) -> float:
        """What an account holds at this moment, of all there is."""
        whole = self._holdings.machines.whole
        return share_of(self._holdings.need_of(account_id), whole, self._quota_of(account_id).weight)

    def _try_to_start(self, managed: ManagedCluster, replica: Replica, room: Room, now: float) -> bool:
        """Launches a queued replica if its files are here and there is room; whether it did.

        What can never fit is not fetched.
        """
        model_id, account_id = managed.cluster.model_id, managed.cluster.account_id
        match self._preparations.ensure(model_id, account_id):
            case Described(card) | Prepared(card) if not self._may_use(account_id, card):
                self.give_up(managed, UnknownModel(f"There is no model {model_id} here.", model=model_id), now)
            case Prepared(card) if (base := self._bases.find(managed, card)) is not None:
                return self._place_beside(managed, replica, card, base, room, now)
            case Prepared(card):
                return self._place(managed, replica, self._choose_form(managed, card), room, now)
            case NotPrepared(error):
                self.give_up(managed, error, now)
            case Described(card) | Preparing(card=ModelCard() as card):
                never = room.find_never(account_id, self._need(managed, card, room))
                if never is not None:
                    self.give_up(managed, never_fits(card, never), now)
                else:
                    self._tell_progress(managed, self._preparations.fetch(model_id, account_id))
            case Preparing() as looking:
                self._tell_progress(managed, looking)
        return False

    def _choose_form(self, managed: ManagedCluster, card: ModelCard) -> ModelCard:
        """What the cluster's replicas load: all that run at once the same. What a job asks for is loaded as it is."""
        if managed.temporary:
            return card
        if managed.form is None or not any(replica.place for replica in managed.replicas.values()):
            form, managed.form = managed.form, self._form_of(card)
            if form is not None and form.path != managed.form.path:
                managed.held_bytes = managed.held_device_bytes = 0
        return managed.form

    def _tell_progress(self, managed: ManagedCluster, state: Preparation) -> None:
        if isinstance(state, Preparing):
            self._say_once(managed, "downloading", download_words(state))

    def _need(self, managed: ManagedCluster, card: ModelCard, room: Room) -> Need:
        reserve_bytes = managed.settings.reserve_bytes or max(card.memory_bytes, managed.held_bytes)
        held_bytes = managed.held_device_bytes
        return need_of(card, reserve_bytes, room.devices, held_device_bytes=held_bytes, is_trial=managed.temporary)

    def check_fits(self, account_id: str, card: ModelCard, now: float) -> None:
        """Whether a replica of the account could run here at all. Raises NoCapacity."""
        room = self._room(now, Counter())
        never = room.find_never(account_id, need_of(card, card.memory_bytes, room.devices))
        if never is not None:
            raise never_fits(card, never)

    def _place(self, managed: ManagedCluster, replica: Replica, card: ModelCard, room: Room, now: float) -> bool:
        under_way = self._holdings.booting + self._round.promised
        # Beyond the cores' number, boots share them: more at once end no sooner, and those that would have left serve
        # nobody.
        patient = is_patient(managed, replica, under_way, self._holdings.machines.cores, now)
        found = room.find(managed, self._need(managed, card, room), self._engine.nodes_with(card), patient=patient)
        return self._settle(managed, replica, card, found, now)

    def _place_beside(
        self, managed: ManagedCluster, replica: Replica, card: ModelCard, base: ManagedCluster, room: Room, now: float
    ) -> bool:
        """The same for an adapter, in the process of a replica of its base."""
        if base.failure is not None:
            words = f"{card.model_id} runs in a replica of its base: {base.failure.message}"
            self.give_up(managed, BootFailed(words), now)
            return False
        beside = find_free(base, managed)
        if beside is None or beside.place is None:
            self._say_once(managed, "queued", f"waiting for a replica of its base, {base.cluster.model_id}")
            return False
        if len(beside.place.devices) > 1:
            self._has_own_replicas(managed, "its base lies on several devices")
            self._wake()
            return False
        found = room.find_beside(managed, need_beside(card, beside.place), beside.place)
        return self._settle(managed, replica, card, found, now, beside.id)

    def _settle(
        self,
        managed: ManagedCluster,
        replica: Replica,
        card: ModelCard,
        found: Placement,
        now: float,
        beside: str | None = None,
    ) -> bool:
        """Launches a replica where there is room, else does what that takes. `beside`: see Replica."""
        match found:
            case Placed() as placed:
                refusal = None if beside else self._funds.find_refusal(managed, card, now)
                if refusal is not None:
                    self.give_up(managed, refusal, now, keep=BOOTED_OR_BOOTING)
                    return False
                replica.beside = beside
                self._launch(managed, replica, card, placed, now)
                return True
            case Evict(victims, reason):
                self._round.promised += 1
                self._goes_first(managed)
                for victim in victims:
                    self._evict(victim, managed, now)
                self._say_once(managed, "queued", reason)
            case Wait(reason):
                self._say_once(managed, "queued", reason if self._goes_first(managed) else reason + LESS_GOES_FIRST)
            case Never() as never:
                self.give_up(managed, never_fits(card, never), now)
        return False

    def _goes_first(self, managed: ManagedCluster) -> bool:
        """Whether no other account's replica has found no room before one of its own did."""
        account_id = managed.cluster.account_id
        self._round.first_waiting = self._round.first_waiting or account_id
        return self._round.first_waiting == account_id

    def _evict(self, victim: MemoryHolder, to_make_room_for: ManagedCluster | None, now: float) -> None:
        managed, replica = self._holdings.get(victim.replica_id)
        other = to_make_room_for
        name = OTHER_WORK if other is None else name_for(managed, other, self._operator_id)
        managed.rest(managed.live() - 1)
        reason = f"evicted after {victim.idle_s or 0:.0f} s idle, to make room for {name}"
        for adapter, beside in managed.adapters_in(victim.replica_id):
            adapter.rest(adapter.live() - 1)
            self._stops.stop(adapter, beside, reason, now)
        self._stops.evict(managed, replica, reason, now)
        assert replica.place is not None  # noqa: S101 - it holds memory
        need = Need(replica.reserved_bytes, replica.reserved_device_bytes)
        self._records.evicted(managed.cluster, replica.id, replica.place, need, reason)

    def _launch(self, managed: ManagedCluster, replica: Replica, card: ModelCard, placed: Placed, now: float) -> None:
        cluster, place, need = managed.cluster, placed.place, placed.need
        replica.move(ReplicaState.STARTING, now)
        replica.place = place
        replica.reserved_bytes, replica.reserved_device_bytes = need.memory_bytes, need.device_bytes
        managed.waiting_for = None
        self._holdings.note(managed)
        if replica.beside is None:
            replica.priced_bytes = need.memory_bytes - unpriced_bytes(managed, card)
            where, billed = self._place_words(place), managed.settings.billed
        else:
            where, billed = f" in {replica.beside}, a replica of its base", False
        self._records.opened(cluster, replica.id, place.node, replica.priced_bytes, billed=billed)
        self._records.event(cluster, "booting", f"{replica.id} starts{where}, {reserved(need, place)}")
        self._engine.launch(
            ReplicaSpec.of(
                replica.id,
                card,
                card.path,
                max_batch=managed.settings.max_batch or card.max_batch,
                memory_limit_bytes=plan_limit(need, managed.settings.limit_bytes),
                reserved_bytes=None if managed.settings.limit_bytes else need.device_bytes or need.memory_bytes,
                secret=secrets.token_hex(16),
                log_path=log_path(cluster, replica.id),
                owner=cluster.account_id,
                most_threads=managed.settings.most_threads or card.max_threads,
                all_cores=managed.settings.all_cores,
                beside=replica.beside,
                cluster_id=cluster.id,
                need_bytes=need.memory_bytes,
                need_device_bytes=need.device_bytes,
            ),
            place,
        )

    def _place_words(self, place: Place) -> str:
        """Where, for the cluster's log; nothing where there is one node."""
        return f" on {place.node}" if len(self._holdings.machines.nodes) > 1 else ""

    # --- failures ---

    def failed(self, managed: ManagedCluster, replica: Replica, reason: str, now: float, *, permanent: bool) -> None:
        model_id = managed.cluster.model_id
        self._preparations.forget(model_id)
        if permanent and replica.beside is not None:
            self._has_own_replicas(managed, reason)
            return
        match managed.failures.add(now, self._policy, was_ready=replica.was_ready, permanent=permanent):
            case GiveUp(because):
                self.give_up(managed, BootFailed(f"{model_id} {because}: {reason}"), now)
            case Retry(delay_s):
                managed.retry_at = now + delay_s

    def _has_own_replicas(self, managed: ManagedCluster, reason: str) -> None:
        """From now on an adapter runs in processes of its own, its weights put into those of its base."""
        managed.merges = True
        words = f"{managed.cluster.model_id} gets replicas of its own, it cannot run in those of its base: {reason}"
        self._records.event(managed.cluster, "merged", words)

    def give_up(
        self, managed: ManagedCluster, error: ModelyardError, now: float, keep: Collection[ReplicaState] = BOOTED
    ) -> None:
        """Stops trying to boot. A cluster with replicas in states to `keep` keeps them, and tries to add more later."""
        self._stops.drop_queued(managed, now)
        self._look_at(managed.cluster.id)
        if any(state in keep for state in managed.states()):
            managed.retry_at = now + self._policy.failure_kept_s
            self._records.problem(managed.cluster, "cannot scale", error)
            return
        managed.failure = error
        managed.failed_at = now
        self._records.problem(managed.cluster, "gave up", error)
        self._stops.publish(managed)

    def _say_once(self, managed: ManagedCluster, kind: str, reason: str) -> None:
        if managed.waiting_for != reason:
            managed.waiting_for = reason
            self._records.event(managed.cluster, kind, reason)


def never_fits(card: ModelCard, never: Never) -> NoCapacity:
    """The error for a model that is larger than all there is for it."""
    return NoCapacity(f"{card.model_id} {never.reason}", cause=never.cause, model=card.model_id)


def unpriced_bytes(managed: ManagedCluster, card: ModelCard) -> int:
    """What is reserved beyond the catalogue's figure, for what requests and trials make replicas hold."""
    return max(0, managed.held_bytes - card.memory_bytes, (managed.settings.reserve_bytes or 0) - card.memory_bytes)


def download_words(preparing: Preparing) -> str:
    """How far a download has got, in steps coarse enough for a log."""
    if not preparing.total_bytes:
        return "looking for the model's files"
    tenths = 10 * preparing.done_bytes // preparing.total_bytes
    return f"downloading {gigabytes(preparing.total_bytes)}, {tenths * 10} % done"
