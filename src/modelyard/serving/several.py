"""A server with several gateways, while it serves: what they follow, where they pass calls on to, and their end first.

Owns the sockets of both, and the secret that is shown there.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from modelyard.config import Settings
from modelyard.engine.rundir import RunDir
from modelyard.gateway.following.calls import Received
from modelyard.gateway.following.leader import Leader
from modelyard.gateway.server import serve_beside
from modelyard.serving.from_settings import connection_limits_of, share_of_gateway
from modelyard.serving.gateway_process import Orders, Place
from modelyard.serving.gateways import Gateways
from modelyard.serving.root import Root
from modelyard.serving.tasks import start_task
from modelyard.tls import LinkTls
from modelyard.worker.processes import bind_privately


async def run_gateways(
    stack: AsyncExitStack,
    settings: Settings,
    listeners: Sequence[socket.socket],
    root: Root,
    on_start: Callable[[], None],
) -> None:
    """Serves until SIGINT or SIGTERM; `stack` then has the gateways finish their requests, before all else is closed.

    `root`: open. `on_start`: called once requests are accepted. Raises Unavailable.
    """
    stopping = stopped_by_signal()
    run_dir = await asyncio.to_thread(RunDir)
    stack.callback(run_dir.close)
    secret = secrets.token_hex(32)
    followed, called = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
    addresses = [str(run_dir.path / name) for name in ("follow", "calls")]
    for listener, path in zip((followed, called), addresses, strict=True):
        bind_privately(listener, path)
    await be_followed(stack, settings, root, secret, followed, called)
    place = Place(f"unix:{addresses[0]}", f"unix:{addresses[1]}", secret)
    gateways = Gateways(listeners, Orders(share_of_gateway(settings), root.server_id, place).encode())
    stack.push_async_callback(gateways.close)
    await gateways.start()
    on_start()
    await stopping.wait()


async def be_followed(
    stack: AsyncExitStack,
    settings: Settings,
    root: Root,
    secret: str,
    followed: socket.socket,
    called: socket.socket,
    tls: LinkTls | None = None,
) -> Leader:
    """Takes gateways that show the secret, and the calls that they pass on, until the stack is closed. `followed`,
    `called`: bound. `tls`: what gateways on other machines are shown, and have to show."""
    authority = root.authority()
    leader = Leader(authority, secret)
    await leader.listen(followed, tls)
    stack.push_async_callback(leader.close)
    start_task(stack, leader.look_forever(), "news for gateways")
    received = Received(root.calls, secret, leader, authority.confirm)
    serve_beside(stack, received, called, connection_limits_of(settings), tls)
    stack.callback(root.streams.stop)
    return leader


def stopped_by_signal() -> asyncio.Event:
    """Set when SIGINT or SIGTERM comes."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    return stopping
