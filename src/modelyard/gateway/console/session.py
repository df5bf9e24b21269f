"""`/console/session`: a key is exchanged for a cookie that pages cannot read, and the cookie is taken back.

Owns the cookie's attributes. What a session is worth is `accounts.sessions`' to say.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts import sessions
from modelyard.accounts.keys import read_session
from modelyard.clock import Clock, iso
from modelyard.errors import InvalidRequest, Unauthorized
from modelyard.gateway.credentials import COOKIE, check_is_console, headers_of, of_call
from modelyard.gateway.endpoint import Authenticate, json_response
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body
from modelyard.gateway.shapes.base import FAILURES, Answer
from modelyard.gateway.shapes.console import Session, SessionBody
from modelyard.records.accounts import Key
from modelyard.store.store import Store

PATH = "/console/session"
TAG = "console"
FOREIGN = "The request does not come from the console's own page."
READ = Operation(
    path=PATH,
    summary="Read who is signed in: null where nobody is",
    tag=TAG,
    answer=Answer[Session | None],
    public=True,
    failures={429: FAILURES[429], 503: FAILURES[503]},
)
BEGIN = Operation(
    methods=("POST",),
    path=PATH,
    summary="Sign in to the console: a key is exchanged for a cookie",
    tag=TAG,
    body=SessionBody,
    answer=Answer[Session],
    public=True,
    failures={403: FOREIGN, **{status: FAILURES[status] for status in (400, 401, 422, 429, 503)}},
)
END = Operation(
    methods=("DELETE",),
    path=PATH,
    summary="Sign out: the cookie is taken back",
    tag=TAG,
    answer=Answer[str],
    public=True,
    failures={403: FOREIGN, 429: FAILURES[429]},
)


class SessionCalls:
    """Handlers over the keys."""

    def __init__(self, store: Store, clock: Clock, authenticate: Authenticate, operator_id: str) -> None:
        """`operator_id`: the account whose keys may administer."""
        self._store = store
        self._clock = clock
        self._authenticate = authenticate
        self._operator_id = operator_id
        self._codes = sessions.Codes(store.keys)

    def operations(self) -> Sequence[Operation]:
        """What can be done."""
        return [
            replace(READ, handler=self.read),
            replace(BEGIN, handler=self.begin),
            replace(END, handler=self.end),
        ]

    async def read(self, request: Request) -> Answer[Session | None]:
        """Who asks. That nobody is signed in yet, or any more, is what a page asks for, and no error."""
        shown = of_call(request)
        try:
            key = await self._authenticate(shown, address_of(request))
        except Unauthorized:
            return Answer(output=None)
        token = read_session(shown)
        return Answer(output=await self._show(key, None if token is None else sessions.end_of(token)))

    async def begin(self, request: Request) -> Response:
        """Exchanges a key, or a code, for a cookie."""
        check_is_console(headers_of(request))
        body = await read_body(request, SessionBody)
        key = await self._find_key(body, address_of(request))
        token = await asyncio.to_thread(sessions.begin, self._store.keys, key, self._clock.now())
        response = json_response(200, Answer(output=await self._show(key, sessions.end_of(token))))
        set_cookie(request, response, token, int(sessions.LIFE.total_seconds()))
        return response

    async def _find_key(self, body: SessionBody, address: str | None) -> Key:
        """Codes sign in the operator alone, on the server's own machine: nobody can be led to sign in as others."""
        if body.key is not None and body.code is None:
            return await self._authenticate(f"Key {body.key}", address)
        if body.code is None or body.key is not None:
            got = "neither" if body.key is None else "both"
            raise InvalidRequest(field="key", got=got, accepted="an API key, or a code in its place")
        key = await self._codes.take(body.code, self._clock.now()) if is_of_this_machine(address) else None
        if key is None or key.account_id != self._operator_id:
            raise Unauthorized(
                "This code signs nobody in: it is good once, for a minute, on the server's own machine.", cause="code"
            )
        return key

    async def end(self, request: Request) -> Response:
        """Takes the cookie back."""
        check_is_console(headers_of(request))
        response = json_response(200, Answer(output="Signed out"))
        set_cookie(request, response, "", 0)
        return response

    async def _show(self, key: Key, end: datetime | None) -> Session:
        account = await asyncio.to_thread(self._store.accounts.get, key.account_id)
        return Session(
            account=account.name,
            admin=account.id == self._operator_id,
            key_id=key.id,
            key_name=key.name,
            expires=None if end is None else iso(end),
        )


def address_of(request: Request) -> str | None:
    """Where a request comes from."""
    return None if request.client is None else request.client.host


def is_of_this_machine(address: str | None) -> bool:
    """Whether a request comes from where the server runs."""
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def set_cookie(request: Request, response: Response, token: str, life_s: int) -> None:
    """Gives a browser the token for so long: no page can read it, none of another site makes the browser send it."""
    is_secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, max_age=life_s, path="/", secure=is_secure, httponly=True, samesite="strict")
