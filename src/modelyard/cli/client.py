"""Talking to a running server: where it is, which key to send, and what its answers and errors mean.

Owns the connection. Blocking; imports no part of the server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from modelyard.cli.problems import AdministrationRefused, ServerRefused, ServerUnreachable
from modelyard.config import CLI_KEY_FILE, Settings

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0
ASK_AGAIN_S = 0.02
MAX_PAGE = 1000
"""Entries of a list asked for at a time."""
MODELS, ADMIN = "/models/v2", "/admin/v1"
"""Where the server's own API is, and its operator's."""
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Client:
    """One server's v2 surface and its admin API; use it as a context.

    Every method raises ServerUnreachable when nobody answers, and ServerRefused for an error the server answered with.
    """

    def __init__(self, url: str, key: str | None) -> None:
        import httpx

        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={} if key is None else {"authorization": f"Key {key}"},
            # A request to a cold model waits for it: only the server knows for how long.
            timeout=httpx.Timeout(None, connect=CONNECT_S),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def is_up(self) -> bool:
        """Whether a Modelyard server answers there."""
        try:
            return self.health().get("status") == "ok"
        except (ServerUnreachable, ServerRefused):
            return False

    def health(self) -> dict[str, Any]:
        """What the server says of itself; to others than its operator, that it answers."""
        with self._errors(None):
            response = self._http.get("/health", timeout=CONNECT_S)
        return read_object(response)

    def key_id(self) -> str:
        """The id of the key that the server is sent. Raises ServerRefused where it is none."""
        with self._errors(None):
            response = self._http.get("/console/session")
        session = read_output(response, None)
        if session is None:
            raise ServerRefused(401, "The server does not know this key.", None)
        return str(session["keyId"])

    def ask(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        """The `output` of `METHOD /models/v2/{path}`."""
        model_id = model_of(path)
        with self._errors(model_id):
            response = self._http.request(method, f"{MODELS}/{path}", json=body, params=query)
        return read_output(response, model_id)

    def administer(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        """The `output` of `METHOD /admin/v1/{path}`."""
        with self._errors(None):
            response = self._http.request(method, f"{ADMIN}/{path}", json=body, params=query)
        return read_output(response, None)

    def pages(
        self, path: str, query: Mapping[str, Any], most: int | None = None, *, root: str = MODELS
    ) -> Iterator[Any]:
        """The entries of a list that comes in pages, in order; at most `most`, if given. `root`: where the list is."""
        parameters = dict(query)
        while most is None or most > 0:
            parameters["limit"] = MAX_PAGE if most is None else min(most, MAX_PAGE)
            with self._errors(None):
                response = self._http.get(f"{root}/{path}", params=parameters)
            entries = read_output(response, None)
            yield from entries
            most = None if most is None else most - len(entries)
            if (after := read_object(response).get("next")) is None:
                return
            parameters["after"] = after

    @contextmanager
    def run(self, model_id: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """An inference: an iterator over pieces of text when the server streams, else the whole output.

        Leaving the context early closes the connection, which cancels the work.
        """
        with self._errors(model_id), self._http.stream("POST", f"/models/v2/{model_id}", json=body) as response:
            if response.is_success and response.headers["content-type"].startswith("text/event-stream"):
                yield response.iter_text()
            else:
                response.read()
                yield Whole(read_output(response, model_id))

    def wait_for(self, path: str, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Asks `GET {path}` until `ready(output)` is true; the output then. Raises ServerRefused when it has failed."""
        while True:
            output: dict[str, Any] = self.ask("GET", path)
            if ready(output):
                return output
            if output.get("error"):
                raise ServerRefused(503, output["error"], model_of(path))
            time.sleep(ASK_AGAIN_S)

    @contextmanager
    def _errors(self, model_id: str | None) -> Iterator[None]:
        """Turns the library's errors into ours."""
        import httpx

        try:
            yield
        except httpx.ConnectError as error:
            reason = "connection refused" if "refused" in str(error) else str(error)
            raise ServerUnreachable(self.url, reason) from error
        except httpx.RemoteProtocolError as error:
            raise ServerRefused(502, f"The answer broke off: {error}", model_id) from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServerUnreachable(self.url, str(error) or type(error).__name__) from error


class Whole:
    """An output that came in one piece."""

    __slots__ = ("output",)

    def __init__(self, output: Any) -> None:
        self.output = output


def open_client(url: str | None, settings: Settings) -> Client:
    """A client for the server at `url`, by default the one that has these settings on this machine."""
    url = url or local_url(settings)
    return Client(url if "://" in url else f"http://{url}", find_key(url, settings.data_dir))


def local_url(settings: Settings) -> str:
    """Where a server with these settings answers on this machine."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def find_key(url: str, data_dir: Path) -> str | None:
    """The key to send: MODELYARD_API_KEY, else the local server's own, which never leaves this machine."""
    if key := os.environ.get("MODELYARD_API_KEY"):
        return key
    if urlsplit(url if "://" in url else f"//{url}").hostname not in LOCAL_HOSTS:
        return None
    try:
        return (data_dir / CLI_KEY_FILE).read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def model_of(path: str) -> str | None:
    """The model a path under /models/v2 names: its last two parts, unless it is a list."""
    parts = path.split("/")
    return None if parts[0] == "list" or len(parts) < 2 else "/".join(parts[-2:])


def read_output(response: httpx.Response, model_id: str | None) -> Any:
    """What is in an answer's envelope. Raises ServerRefused."""
    data = read_object(response)
    if response.is_success and "output" in data:
        return data["output"]
    message = data.get("error") or f"{response.url} answered {response.status_code} {response.reason_phrase}."
    if isinstance(code := data.get("code"), str):
        raise AdministrationRefused(response.status_code, str(message), code)
    raise ServerRefused(response.status_code, str(message), model_id)


def read_object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in an answer; an empty one for anything else, as a proxy's error page."""
    try:
        data = response.json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
