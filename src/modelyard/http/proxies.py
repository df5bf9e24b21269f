"""Proxies in front of a server: which are believed, and in which header they say where a request comes from.

Owns the choice of the header. Which of its addresses counts is uvicorn's: the last that is no trusted proxy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from modelyard.errors import InvalidRequest

USUAL_HEADER = "X-Forwarded-For"
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Source: RFC 9110, 5.6.2 (token)."""
OWN_SYNTAX = "forwarded"
"""Source: RFC 7239; its value is no list of addresses."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """`addresses`: of proxies that are trusted, single ones and networks. `header`: in which they name clients."""

    addresses: Sequence[str] = ()
    header: str = USUAL_HEADER

    def check(self) -> None:
        """Raises InvalidRequest for what is neither an address nor a network, or no header of addresses."""
        for each in self.addresses:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                accepted = "addresses and networks, such as 10.0.0.1 or 10.0.0.0/8"
                raise InvalidRequest(field="trusted_proxies", got=each, accepted=accepted) from error
        if not HEADER_NAME.fullmatch(self.header) or self.header.lower() == OWN_SYNTAX:
            accepted = f"the name of a header that holds addresses, such as {USUAL_HEADER} or X-Real-IP"
            raise InvalidRequest(field="proxy_header", got=self.header, accepted=accepted)


def believe_proxies(app: Any, proxies: Proxies) -> Any:
    """`app`, to which requests by a trusted proxy come from where that says."""
    if not proxies.addresses:
        return app
    believing = ProxyHeadersMiddleware(app, list(proxies.addresses))
    name, usual = proxies.header.lower().encode("ascii"), USUAL_HEADER.lower().encode("ascii")
    if name == usual:
        return believing

    async def renamed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(usual if key == name else key, value) for key, value in scope["headers"] if key != usual]
            scope = {**scope, "headers": headers}
        await believing(scope, receive, send)

    return renamed
