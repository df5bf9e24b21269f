"""A collector for OTLP over HTTP: keeps what is posted to it, answers with what a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import free_port


class Collector:
    """`bodies`: what came, by path; `headers`: of each request. `statuses`: of the first answers; then 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def _took(self, path: str, type_: str) -> list[dict[str, Any]]:
        resources = [
            each for at, body in list(self.bodies) if at == path for each in json.loads(body)[f"resource{type_}"]
        ]
        name = {"Spans": "spans", "Logs": "logRecords"}[type_]
        return [one for each in resources for scope in each[f"scope{type_}"] for one in scope[name]]

    def spans(self) -> list[dict[str, Any]]:
        """All that came."""
        return self._took("/v1/traces", "Spans")

    def lines(self) -> list[dict[str, Any]]:
        """All that came."""
        return self._took("/v1/logs", "Logs")


@contextmanager
def collecting(*statuses: int) -> Iterator[Collector]:
    """One that listens."""
    collector = Collector(*statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = collector.statuses.pop(0) if collector.statuses else 200
            if status == 200:
                collector.bodies.append((self.path, body))
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", collector.port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def attributes_of(span: dict[str, Any]) -> dict[str, Any]:
    """By name, without their types."""
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}
