"""A provider on this machine: an HTTP server that answers as a test says, and keeps what it was asked."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PACKAGES = Path(sys.prefix) / "provider-packages"
"""Where `make setup` puts the library that asks providers."""
WAITS_S = 120.0


@dataclass(frozen=True)
class Asked:
    """A request as the provider got it."""

    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What the provider says. `body`: JSON, bytes, or the events of a stream. `breaks`: the connection breaks after,
    once `until` is set."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    breaks: bool = False
    until: threading.Event | None = None


Say = Callable[[Asked], Answer]


class LocalProvider:
    """See the module. `say`: what it answers from now on."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.say: Say = lambda _asked: Answer({"error": {"message": "nothing was expected"}}, 500)
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                is_json = self.headers.get("content-type", "").startswith("application/json")
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.path, headers, json.loads(raw) if is_json else raw)
                provider.asked.append(asked)
                self._answer(provider.say(asked))

            def _answer(self, answer: Answer) -> None:
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                self.send_header("content-type", answer.content_type)
                self.send_header("content-length", str(len(body) + answer.breaks))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                if answer.until is not None:
                    answer.until.wait(WAITS_S)
                self.close_connection = self.close_connection or answer.breaks

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[LocalProvider]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def answers(self, *answers: Answer) -> None:
        """Answers with these, one after the other, the last of them again and again; forgets what it was asked."""
        self.asked.clear()
        left = list(answers)
        self.say = lambda _asked: left.pop(0) if len(left) > 1 else left[0]


def events(*data: Any, named: bool = False, done: bool = True) -> bytes:
    """A stream of server-sent events. `named`: with the type of each in front, as Anthropic's have; `done`: with
    OpenAI's end."""
    lines = [(f"event: {each['type']}\n" if named else "") + f"data: {json.dumps(each)}\n\n" for each in data] + (
        ["data: [DONE]\n\n"] if done else []
    )
    return "".join(lines).encode()


def completion(text: str, read: int = 3, made: int = 2, **message: Any) -> dict[str, Any]:
    """A completion as OpenAI's API has it."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "told",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made},
    }  # fmt: skip


def chunks(texts: Sequence[str], read: int = 3, made: int = 2, *, ends: bool = True) -> bytes:
    """A completion in events. `ends`: it is whole."""

    def event(choices: list[dict[str, Any]], usage: Any = None) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "told",
                "choices": choices, "usage": usage}  # fmt: skip

    told = [event([{"index": 0, "delta": {"content": text}, "finish_reason": None}]) for text in texts]
    if not ends:
        return events(*told, done=False)
    usage = {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
    return events(*told, event([{"index": 0, "delta": {}, "finish_reason": "stop"}]), event([], usage))
