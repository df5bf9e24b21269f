"""The program that speaks to Ray for a server: looks which nodes there are, has an actor on each, tells of the agents.

A process of its own, so that a server's has none of Ray's threads and memory, and a Ray that hangs or dies holds up
nobody: the agents that are known stay so. Its one argument is the cluster's address; it ends when its standard input
closes.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from modelyard.engine.ray.actor import PROGRAM, NodeActor
from modelyard.engine.ray.messages import AGENT_VARIABLE, CannotConnect, Found, News, to_line
from modelyard.engine.ray.watched import Actor, ActorFailed, Watched
from modelyard.engine.remote.finder import AgentAddress

log = logging.getLogger(__name__)

NAMESPACE = "modelyard"
SERVERS_ONLY = "modelyard-server"
"""A node with this resource runs no replica: it is there since who speaks to Ray has to be on a node."""
LOOK_EVERY_S = 0.5


class RayActor(Actor):
    """An actor of a Ray cluster."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """`make`: has Ray find the actor, or start it."""
        self._make = make
        self._actor: Any = None
        self._asked: Any = None

    def ask(self) -> None:
        """See Actor."""
        with failures_in_words():
            if self._actor is None:
                self._actor = self._make()
            self._asked = self._actor.describe.remote()

    def answer(self) -> tuple[str, AgentAddress] | None:
        """See Actor."""
        with failures_in_words():
            ready, _ = ray.wait([self._asked], timeout=0)
            described: tuple[str, AgentAddress] | None = ray.get(self._asked) if ready else None
            return described

    def forget(self) -> None:
        """See Actor."""
        self._actor = self._asked = None


@contextmanager
def failures_in_words() -> Iterator[None]:
    """What Ray raises as ActorFailed."""
    try:
        yield
    except (RayError, ValueError) as error:
        raise ActorFailed(said_by(error)) from error


def said_by(error: Exception) -> str:
    """What Ray says, on one line: of an actor that raised as it was made, the end of its trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if isinstance(error, RayActorError) and "creation task" in lines[0] else lines[0]


def make_actor(node_id: str, name: str, host: str, program: tuple[str, ...]) -> Any:
    """The actor of a node, the one there is or a new one. It takes none of what Ray counts, and is never restarted by
    Ray, which would race with who asks for it by name."""
    return (
        ray.remote(NodeActor)
        .options(
            name=f"node-{node_id}",
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        )
        .remote(name, host, program)
    )


class Watch:
    """All nodes of the cluster."""

    def __init__(self, program: tuple[str, ...], server: BinaryIO) -> None:
        """`program`: the agent's command. `server`: where it is told of agents."""
        self._program = program
        self._server = server
        self._nodes: dict[str, Watched] = {}
        self._named_twice: set[str] = set()
        self._told: News | None = None

    def look(self) -> None:
        """Looks once; tells what is new."""
        alive = {node["NodeID"]: node for node in list_nodes() if node["Alive"] and not is_for_servers(node)}
        for node_id in self._nodes.keys() - alive.keys():
            del self._nodes[node_id]
        for node_id in sorted(alive.keys() - self._nodes.keys()):
            self._add(node_id, alive[node_id])
        now = time.monotonic()
        for node in self._nodes.values():
            node.look(now)
        self._tell(Found([node.agent for node in self._nodes.values() if node.agent is not None]))

    @property
    def settled(self) -> bool:
        """Whether every actor has answered, or failed to, once."""
        return all(node.is_settled for node in self._nodes.values())

    def _add(self, node_id: str, node: dict[str, Any]) -> None:
        name, host = name_of(node), node["NodeManagerAddress"]
        if any(each.name == name for each in self._nodes.values()):
            if node_id not in self._named_twice:
                advice = "give it a name by ray start --node-name"
                log.error("two nodes are called %s: the one at %s is not used; %s", name, host, advice)
            self._named_twice.add(node_id)
        else:
            log.info("node %s of the Ray cluster, at %s: waiting for its agent", name, host)
            make = partial(make_actor, node_id, name, host, self._program)
            self._nodes[node_id] = Watched(name, RayActor(make))

    def _tell(self, found: Found) -> None:
        """The first time not before all that there were have answered: a server that leads is to find what lives."""
        if found != self._told and (self._told is not None or self.settled):
            self._told = found
            self._server.write(to_line(found))


def list_nodes() -> list[dict[str, Any]]:
    """What Ray says of every node that there is or was."""
    nodes: list[dict[str, Any]] = ray.nodes()
    return nodes


def is_for_servers(node: dict[str, Any]) -> bool:
    """Whether no replica is to run there."""
    return SERVERS_ONLY in node.get("Resources", {})


def name_of(node: dict[str, Any]) -> str:
    """What a node is called: as its `ray start --node-name` says, else its host's name."""
    given = node.get("NodeName") or ""
    name = node["NodeManagerHostname"] if given in ("", node["NodeManagerAddress"]) else given
    return str(name)


def take_output() -> BinaryIO:
    """Where lines to the server go. What Ray prints goes to standard error from now on."""
    server = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return server


def end_with_server() -> None:
    """Ends this process when the server's end of its standard input closes."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Entry: argv[1] is the cluster's address."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    threading.Thread(target=end_with_server, daemon=True).start()
    server = take_output()
    try:
        ray.init(address=sys.argv[1], namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        server.write(to_line(CannotConnect(str(error))))
        sys.exit(1)
    command = os.environ.get(AGENT_VARIABLE)
    watch = Watch(PROGRAM if command is None else tuple(command.split("\n")), server)
    while True:
        watch.look()
        time.sleep(LOOK_EVERY_S if watch.settled else LOOK_EVERY_S / 10)


if __name__ == "__main__":
    main()
