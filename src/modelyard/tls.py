"""TLS between servers, nodes' agents and replicas: both ends show a certificate, and want one of the same authority.

Owns the contexts made of the three files, how connections are taken, and what is said of one that is refused.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.config import Settings
from modelyard.errors import InvalidRequest

log = logging.getLogger(__name__)

FILES = ("links_certificate", "links_key", "links_ca")
"""The settings that name them."""
HANDSHAKE_S = 10.0
"""How long a client may take to show its certificate."""
CLOSING_S = 1.0
"""How long a connection that is closed here waits for the other end to say that it has seen that: one that waits for
nothing reads nothing. Without it a server that leads no more waits for each gateway as long as for requests."""
FULL_S = 1.0
"""How long nothing is taken where this process has no file left for another connection."""
SAY_AGAIN_S = 60.0
"""A refusal is logged once in that time for each host and reason: who is refused tries again at once."""
MOST_SAID = 1000
"""Refusals that are remembered."""
SAME_FILES = f"set {FILES[0]}, {FILES[1]} and {FILES[2]} on both machines, to certificates of one authority"


@dataclass(frozen=True, slots=True)
class LinkTls:
    """`accepts`: for whoever listens; `connects`: for whoever connects. Neither looks at a host's name: whoever has a
    certificate of the authority is taken for one of this cluster."""

    accepts: ssl.SSLContext
    connects: ssl.SSLContext


def load_tls(settings: Settings) -> LinkTls | None:
    """What the settings say; None where they name no file. Reads the files. Raises InvalidRequest."""
    files = {name: getattr(settings, name) for name in FILES}
    if not any(files.values()):
        return None
    for name, path in files.items():
        if not path:
            named = ", ".join(each for each in FILES if files[each])
            raise InvalidRequest(field=name, got="nothing", accepted=f"the path of a file, as {named} is set")
        if not Path(path).expanduser().is_file():
            raise InvalidRequest(field=name, got=path, accepted="the path of a file that is there")
    certificate, key, authority = (str(Path(path).expanduser()) for path in files.values())
    contexts = []
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(authority)
        except (ssl.SSLError, OSError) as error:
            raise InvalidRequest(
                field=FILES[2], got=f"{authority} ({error})", accepted="certificates in PEM form"
            ) from None
        try:
            context.load_cert_chain(certificate, key, password="")  # else OpenSSL asks on the terminal
        except (ssl.SSLError, OSError) as error:
            raise InvalidRequest(
                field=FILES[0],
                got=f"{certificate}, with the key {key} ({error})",
                accepted="a certificate and its own key, without a password, in PEM form",
            ) from None
        contexts.append(context)
    return LinkTls(*contexts)


class Entrance:
    """Takes connections on a socket that is bound and listens. Loop thread only."""

    def __init__(self, listener: socket.socket, make: Callable[[], asyncio.Protocol], tls: LinkTls | None) -> None:
        """`make`: makes what a connection's bytes go to, once its handshake is over."""
        self._listener = listener
        self._make = make
        self._tls = tls
        self._said: dict[str, float] = {}
        self._greeting: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Takes connections from now on."""
        self._listener.listen()
        self._listener.setblocking(False)
        self._task = asyncio.create_task(self._accept_forever(), name="connections")

    async def close(self) -> None:
        """Takes no more; those there are stay. Idempotent."""
        tasks = [*self._greeting, *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, peer = await loop.sock_accept(self._listener)
            except OSError as error:
                log.error("no connection can be taken: %s", error.strerror or error)  # noqa: TRY400 - no fault of ours
                await asyncio.sleep(FULL_S)
                continue
            task = asyncio.create_task(self._greet(connected, str(peer[0])), name="handshake")
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    async def _greet(self, connected: socket.socket, host: str) -> None:
        try:
            if self._tls is None:
                await asyncio.get_running_loop().connect_accepted_socket(self._make, connected)
            else:
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._make,
                    connected,
                    ssl=self._tls.accepts,
                    ssl_handshake_timeout=HANDSHAKE_S,
                    ssl_shutdown_timeout=CLOSING_S,
                )
        except OSError as error:  # TimeoutError and what OpenSSL says among them
            connected.close()
            self._say(f"refused a connection from {host}: {explain(error)}")
        except BaseException:
            connected.close()
            raise

    def _say(self, words: str) -> None:
        now = time.monotonic()
        if now - self._said.get(words, -SAY_AGAIN_S) < SAY_AGAIN_S:
            return
        if len(self._said) >= MOST_SAID:
            self._said.clear()
        self._said[words] = now
        log.warning("%s", words)


def explain(error: OSError) -> str:
    """Why a connection with TLS was not made, in a sentence that says what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not one of the authority in {FILES[2]} ({error.verify_message}): {SAME_FILES}"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if not isinstance(error, ssl.SSLError):
        return str(error.strerror or error) or f"it broke off the handshake: {SAME_FILES}"
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in reason:
        return f"it does not take the certificate that is shown here ({reason}): {SAME_FILES}"
    if "did not return a certificate" in reason:
        return f"it shows no certificate: {SAME_FILES}"
    return f"it does not speak TLS ({reason}): {SAME_FILES}"
