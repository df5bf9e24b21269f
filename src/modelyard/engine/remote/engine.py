"""Replicas on many machines: an agent on each runs them, and this server talks to them directly.

Owns what this server knows of nodes, and which replicas it shows. Replicas are their nodes'; they outlive this server,
and the next one that leads finds them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from modelyard.engine.adapter_replicas import without_base
from modelyard.engine.base import Engine, Fetch, Node, OnStep, Phase, Place, ReplicaLog, Sighting, Stray
from modelyard.engine.local import PING_DEADLINE_S, PING_EVERY_S, fetch_nothing
from modelyard.engine.remote.agent import name_machine
from modelyard.engine.remote.finder import AgentAddress, Finder
from modelyard.engine.remote.messages import Drain, Export, Forget, Launch, Lead, ReadLogs, Seen, Stop
from modelyard.engine.remote.node import RemoteNode
from modelyard.engine.remote.replica import RemoteReplica
from modelyard.engine.sightings import Sightings
from modelyard.engine.strays import end_strays
from modelyard.errors import LeaseLost, ModelRefused, ModelyardError, ReplicaLost, UnknownNode
from modelyard.records.models import ModelCard, OnProgress
from modelyard.records.replicas import ReplicaSpec
from modelyard.records.variants import ExportOrder
from modelyard.tls import LinkTls

log = logging.getLogger(__name__)

T = TypeVar("T")

TELL_S = 2.0
"""How long nodes may take to tell of their replicas before a server that leads goes on without them."""
LEAD_S = 0.4
"""How long nodes may take to say that they follow a server that begins to lead, and then their replicas to take its
connections, before it goes on: what comes later is taken when it comes."""
EXIT_S = 5.0
"""How long a worker whose connection has broken may take to end before it is ended."""
LOGS_S = 5.0
"""How long a node may take to read logs; those of one that takes longer are left out."""
AGAIN_S = 0.1


class RemoteEngine(Engine):
    """Many nodes, found by a Finder."""

    outlives_servers = True

    def __init__(
        self,
        finder: Finder,
        *,
        fetch: Fetch = fetch_nothing,
        tls: LinkTls | None = None,
        ping_every_s: float = PING_EVERY_S,
        ping_deadline_s: float = PING_DEADLINE_S,
    ) -> None:
        """`fetch`: gets a model's files to this server, from where nodes take what the hub or a shared folder does not
        have. `tls`: what this server shows agents, and wants to be shown; None: nothing is encrypted. A worker is asked
        for a sign of life every `ping_every_s`, and ended when it gives this server none for `ping_deadline_s`."""
        self._finder = finder
        self._fetch = fetch
        self._tls = tls
        self._ping_every_s = ping_every_s
        self._ping_deadline_s = ping_deadline_s
        self._nodes: dict[str, RemoteNode] = {}
        self._models: dict[str, set[str]] = {}
        """By node, the models that it has run."""
        self._replicas: dict[str, RemoteReplica] = {}
        self._sightings = Sightings()
        self._orphans: dict[RemoteNode, set[str]] = {}
        """By node, what lives there and is gone, as far as this server knows, or was launched by an earlier one since
        this one leads."""
        self._token = 0
        self._on_change: Callable[[], None] = lambda: None
        self._large_frames = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def start(self) -> None:
        await self._finder.start(self._take_agents)
        await self._wait_told()

    async def lead(self, token: int) -> None:
        await self._wait_told()
        there = [node for node in self._nodes.values() if node.told.is_set()]
        asked = [self._start_task(self._lead_on(node, token), f"lead on {node.name}") for node in there]
        await asyncio.gather(*(within(LEAD_S, asyncio.shield(each)) for each in asked))
        if any(each.done() and not each.result() for each in asked):
            raise LeaseLost
        self._token = token
        for replica in list(self._replicas.values()):
            if not replica.shown:
                replica.shown = True
                self._see(replica, Sighting(replica.id, Phase.STARTING, replica.place, spec=replica.spec))
                self._follow(replica)
        await asyncio.gather(*(within(LEAD_S, replica.connected.wait()) for replica in self._awaited()))

    async def close(self) -> None:
        self._closed = True
        await self._finder.close()
        await asyncio.gather(*(node.close() for node in self._nodes.values()))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(replica.disconnect() for replica in self._replicas.values()))

    @property
    def warm(self) -> bool:
        there = [node.facts for node in self._nodes.values() if node.facts is not None]
        return bool(there) and all(facts.warm for facts in there)

    def nodes(self) -> tuple[Node, ...]:
        described = (node.describe() for node in self._nodes.values())
        return tuple(node for node in described if node is not None)

    async def take_launches(self, node: str, accepting: bool, device: str | None = None) -> None:
        found = self._nodes.get(node)
        described = None if found is None else found.describe()
        if found is None or described is None:
            there = ", ".join(each.name for each in self.nodes()) or "none"
            raise UnknownNode(f"There is no node {node}; there are: {there}.", node=node)
        described.taking(accepting, device)
        await found.call(lambda call: Drain(call, self._token, accepting, device))

    def watch(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def sightings(self) -> Sightings:
        return self._sightings

    def forget(self, replica_id: str) -> None:
        if self._sightings.forget(replica_id):
            replica = self._replicas.pop(replica_id)
            if replica.node.facts is not None:
                replica.node.send(Forget(self._token, replica_id))

    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        if spec.replica_id in self._sightings or self._closed:
            return
        node = self._nodes.get(place.node)
        replica = RemoteReplica(spec, place, node or absent(place.node, self), found=False, shown=True)
        self._replicas[replica.id] = replica
        self._see(replica, Sighting(replica.id, Phase.STARTING, place))
        if not self._token:
            self._end(replica, "this server does not lead", host_died=True)
        elif node is None or node.facts is None:
            self._end(replica, f"there is no node {place.node}", host_died=True)
        elif spec.beside is not None and not self._runs(spec.beside, place):
            self._end(replica, without_base(spec), host_died=True)
        else:
            node.send(Launch(self._token, spec, place.devices))

    def _runs(self, replica_id: str, place: Place) -> bool:
        replica = self._replicas.get(replica_id)
        return replica is not None and replica.place == place and not replica.gone.is_set()

    async def stop(self, replica_id: str, grace_s: float) -> None:
        replica = self._replicas.get(replica_id)
        if replica is None or replica.gone.is_set() or self._closed:
            return
        if not self._token:
            raise LeaseLost()
        while not replica.gone.is_set():
            try:
                await replica.node.call(lambda call: Stop(call, self._token, replica_id, grace_s))
                await replica.gone.wait()
            except ReplicaLost:  # its node is lost, or back in a moment
                await within(AGAIN_S, replica.gone.wait())

    def end_strays(self, strays: Iterable[Stray]) -> int:
        """Only on this machine: on others no process of a replica outlives its node's agent."""
        machine = name_machine()
        here = {name for name, node in self._nodes.items() if node.facts and node.facts.machine == machine}
        return end_strays((each.pid, each.started) for each in strays if each.node in here)

    # --- what is local to a node ---

    async def prepare(self, card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        return await self._fetch(card, on_progress, account_id)

    def nodes_with(self, card: ModelCard) -> Collection[str]:
        return [name for name, models in self._models.items() if card.model_id in models and name in self._nodes]

    async def read_logs(self, folder: str, count: int) -> Sequence[ReplicaLog]:
        there = [node for node in self._nodes.values() if node.facts is not None]
        found: dict[str, ReplicaLog] = {}  # nodes may share a folder
        for logs in await asyncio.gather(*(self._logs_of(node, folder, count) for node in there)):
            found.update((each.name, each) for each in logs)
        return [found[name] for name in sorted(found, reverse=True)[:count]]

    async def _logs_of(self, node: RemoteNode, folder: str, count: int) -> Sequence[ReplicaLog]:
        try:
            async with asyncio.timeout(LOGS_S):
                return (await node.call(lambda call: ReadLogs(call, folder, count))).logs
        except (TimeoutError, ModelyardError) as error:
            log.warning("the logs of node %s are left out: %s", node.name, error or "it does not answer")
            return []

    async def export(self, order: ExportOrder, place: Place, on_step: OnStep) -> dict[str, Any]:
        node = self._nodes.get(place.node)
        if node is None:
            raise ReplicaLost(f"There is no node {place.node}.")
        answer = await node.call(lambda call: Export(call, order), on_step)
        if not await asyncio.to_thread(Path(order.target).is_dir):
            raise ModelRefused(
                "The variant was made on another machine, which does not share the data folder with this server.",
                model=order.model_id,
                detail=f"Node {place.node} has it in {order.target}; share {Path(order.target).parent} between all.",
            )
        return answer.facts

    # --- nodes ---

    def _take_agents(self, agents: Sequence[AgentAddress]) -> None:
        """What the finder has found; see OnAgents."""
        if self._closed:
            return
        by_node = {agent.node: agent for agent in agents}
        for name, node in list(self._nodes.items()):
            if by_node.get(name) != node.agent:
                del self._nodes[name]
                self._start_task(node.close(f"node {name} is not there any more"), f"end of node {name}")
        for name, agent in by_node.items():
            if name not in self._nodes:
                node = self._nodes[name] = RemoteNode(agent, self, self._tls)
                node.start()

    def node_changed(self, node: RemoteNode) -> None:
        """See Listener."""
        self._on_change()

    def node_found(self, node: RemoteNode) -> None:
        """See Listener."""
        for replica in list(self._replicas.values()):
            if replica.node is node and not replica.gone.is_set() and replica.id not in node.heard_of:
                if replica.seen is None:  # it was asked for, and the connection broke meanwhile
                    node.send(Launch(self._token, replica.spec, replica.place.devices))
                else:
                    self._end(replica, f"node {node.name} was started anew", host_died=True)
        if self._token:
            self._start_task(self._lead_again(node), f"lead on {node.name}")

    def node_lost(self, node: RemoteNode, reason: str) -> None:
        """See Listener."""
        for replica in list(self._replicas.values()):
            if replica.node is node and not replica.gone.is_set():
                self._end(replica, reason, host_died=True, silent_s=node.silent_s)
        self._on_change()

    def node_sees(self, node: RemoteNode, seen: Seen) -> None:
        """See Listener."""
        condition = seen.condition
        replica = self._replicas.get(condition.replica_id)
        if replica is None or (replica.gone.is_set() and replica.node is not node):
            if condition.is_gone:
                return node.send(Forget(self._token, condition.replica_id)) if self._token else None
            replica = RemoteReplica(seen.spec, condition.place or Place(node.name), node)
            self._replicas.setdefault(replica.id, replica)
            if self._token:
                self._orphans.setdefault(node, set()).add(replica.id)
                if node.told.is_set():  # else it leads there, and ends them, once it was told of all
                    self._start_task(self._lead_again(node), f"end of {replica.id}")
        elif replica.gone.is_set():
            if not condition.is_gone and not node.told.is_set():
                self._orphans.setdefault(node, set()).add(replica.id)
            return None
        replica.seen = seen
        if condition.is_gone:
            reason = condition.reason or "ended"
            return self._end(replica, reason, refused=condition.refused, host_died=condition.host_died)
        self._models.setdefault(node.name, set()).add(seen.spec.model_id)
        return self._follow(replica)

    async def _wait_told(self) -> None:
        """Returns when all nodes that were found have told of their replicas, or are lost, or after TELL_S."""
        expected = [node for node in self._nodes.values() if not node.is_lost]
        await asyncio.gather(*(within(TELL_S, node.told.wait()) for node in expected))

    async def _lead_on(self, node: RemoteNode, token: int) -> bool:
        """Has a node follow this server; False: it follows one that leads with a higher token. What else becomes of it
        is told by its connection."""
        try:
            await node.call(lambda call: Lead(call, token))
        except LeaseLost:
            log.warning("node %s follows another server", node.name)
            return False
        except ModelyardError as error:
            log.warning("node %s: %s", node.name, error)
        return True

    async def _lead_again(self, node: RemoteNode) -> None:
        """On a node that was not there, not connected, or slow when this server began to lead: what lives on it and is
        gone, as far as anybody has been told, is ended, and so is what an earlier server has launched since."""
        orphans = self._orphans.pop(node, set())
        token = self._token
        if not await self._lead_on(node, token):
            return
        try:
            for replica_id in orphans:
                log.warning("ending %s, which lives on node %s and is nobody's", replica_id, node.name)
                await node.call(lambda call, each=replica_id: Stop(call, token, each, 0.0))  # type: ignore[misc]
                node.send(Forget(token, replica_id))
        except LeaseLost:
            log.warning("node %s follows another server", node.name)
        except ReplicaLost as error:
            log.warning("node %s: %s", node.name, error)

    # --- replicas ---

    def _awaited(self) -> Iterable[RemoteReplica]:
        """Those that are ready but for the connection of this server."""
        return [replica for replica in self._replicas.values() if replica.is_ready and not replica.connected.is_set()]

    def _follow(self, replica: RemoteReplica) -> None:
        """Shows what is new of a replica that is shown, and connects to it where that can be done by now."""
        if not replica.shown or replica.seen is None:
            return
        if replica.may_connect:
            replica.connecting = True
            self._start_task(self._attend(replica), f"replica {replica.id}")
        base = self._replicas.get(replica.spec.beside or "")
        if base is not None:
            replica.use_link_of(base)
        self._see(replica, replica.describe(self._sightings[replica.id]))

    async def _attend(self, replica: RemoteReplica) -> None:
        """A connection to a replica, from its beginning to its end; whose other end is then ended, unless it has."""
        try:
            await replica.connect(self._ping_deadline_s, self._large_frames, self._tls)
            for each in [replica, *(other for other in self._replicas.values() if other.spec.beside == replica.id)]:
                self._follow(each)
            why = await replica.wait_for_end(self._ping_every_s, self._ping_deadline_s)
        except ReplicaLost as error:
            why = error.message
        if await within(EXIT_S, replica.gone.wait()):
            return
        log.warning("replica %s: %s", replica.id, why)
        try:
            await self.stop(replica.id, 0.0)
        except LeaseLost:
            log.warning("replica %s is another server's to end", replica.id)

    def _end(
        self,
        replica: RemoteReplica,
        reason: str,
        *,
        refused: bool = False,
        host_died: bool = False,
        silent_s: float = 0.0,
    ) -> None:
        replica.note_end(reason, host_died=host_died)
        self._start_task(replica.disconnect(), f"end of {replica.id}")
        if replica.shown:
            last = replica.describe(self._sightings[replica.id])
            ended = replace(
                last,
                phase=Phase.GONE,
                link=None,
                reason=reason,
                refused=refused,
                host_died=host_died,
                silent_s=silent_s,
            )
            self._see(replica, ended)
        else:
            del self._replicas[replica.id]

    def _see(self, replica: RemoteReplica, sighting: Sighting) -> None:
        if self._sightings.get(replica.id) != sighting:
            self._sightings[replica.id] = sighting
            self._on_change()

    def _start_task(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)


def absent(name: str, engine: RemoteEngine) -> RemoteNode:
    """Stands for a node that is not there."""
    return RemoteNode(AgentAddress(name, "", 0, ""), engine)


async def within(timeout_s: float, work: Awaitable[Any]) -> bool:
    """Waits for something, at most `timeout_s`; whether it came."""
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except TimeoutError:
        return False
    return True
