"""`modelyard demo`: the main job from beginning to end against a server of its own, each request as a curl line; or
that server's console in a browser."""

from __future__ import annotations

import json
import secrets
import signal
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.client import Client, Whole
from modelyard.cli.examples import CHAT, REVIEWS, STORIES, example_models_dir
from modelyard.cli.serve import curl
from modelyard.cli.temporary_server import TemporaryServer
from modelyard.errors import InferenceFailed, Unavailable

if TYPE_CHECKING:
    from rich.console import Console

WARM_S = 120.0
LOOK_AGAIN_S = 0.05
INDENT = "   "
SHOWN_CHARACTERS = 400

PROMPT = "Once upon a time there was a"
STORY = {"text": PROMPT, "params": {"max_new_tokens": 40}}
QUESTION = "What color is the sky?"
REVIEW = {"text": "I love this phone, it works great"}


def demo(
    open_console: Annotated[
        bool,
        typer.Option(
            "--open", help="show the server's console in a browser, signed in, until Ctrl-C, in place of that"
        ),
    ] = False,
) -> None:
    """Show the main job: start a server, list, create, run, stream, chat, classify, scale, delete; then clean up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the demo's server ends with it
    models_dir = example_models_dir()
    key = f"demo-{secrets.token_urlsafe(12)}"
    console = output.stdout()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="demo-of-modelyard-", ignore_cleanup_errors=True) as folder:
        arguments = ["--models-dir", str(models_dir), "--no-hub", "--log-level", "warning"]
        console.print("[bold]Starting a server[/] with the models that come with Modelyard ...")
        with (
            TemporaryServer(Path(folder), key, arguments) as server,
            Client(server.url, key) as client,
        ):
            console.print(f"{INDENT}$ export KEY={key}", markup=False)
            if open_console:
                show_console(console, server, client.key_id(), key)
                return
            tour = Tour(console, client)
            tour.wait_until_warm(began)
            tour.walk()
    took_s = time.perf_counter() - began
    console.print(f"\n[bold green]Done[/] in {took_s:.1f} s. The demo's server is stopped, nothing is left behind.")
    console.print("Start your own with [bold]modelyard serve --example-models[/]")


def show_console(console: Console, server: TemporaryServer, key_id: str, key: str) -> None:
    """Opens the server's console in a browser, and returns when somebody ends the demo. Raises Unavailable when the
    server has ended by itself."""
    from modelyard.accounts.keys import hash_key
    from modelyard.accounts.sessions import write_code

    console.print(f"\nThe console is at [bold]{server.url}[/] and asks for that key.")
    code = write_code(key_id, hash_key(key), datetime.now(UTC))
    try:
        if webbrowser.open(f"{server.url}/#/sign-in?code={code}"):
            console.print("It is open in your browser, where you are signed in.")
        else:
            console.print("No browser could be opened here (BROWSER names one): open the address in one of yours.")
        console.print("Ctrl-C ends the server; nothing is left behind.")
        sys.stdout.flush()
        server.wait()
    except KeyboardInterrupt:
        console.print("\nThe demo's server is stopped.")
        return
    raise Unavailable(f"The demo's server has ended:\n{server.last_lines()}")


class Tour:
    """The walk itself: every step shows its request, what came back, and how long it took."""

    def __init__(self, console: Console, client: Client) -> None:
        self._console = console
        self._client = client
        self._number = 0

    def wait_until_warm(self, began: float) -> None:
        """Waits until the server has imported the model libraries. Raises Unavailable when it takes too long."""
        while not self._client.health()["warm"]:
            if time.perf_counter() - began > WARM_S:
                raise Unavailable(f"The model libraries were not loaded within {WARM_S:.0f} s.")
            time.sleep(LOOK_AGAIN_S)
        took_s = time.perf_counter() - began
        self._say(f"listening on {self._client.url}; model libraries loaded in {took_s:.1f} s, once per server")

    def walk(self) -> None:
        """Every step in order. Raises InferenceFailed when an answer is not what it should be."""
        self.list_models()
        self.create()
        self.run()
        self.stream()
        self.chat()
        self.classify()
        self.scale()
        self.delete()

    def list_models(self) -> None:
        """Which models there are."""
        path = f"list/models?search={STORIES.partition('/')[0]}/"
        with self._step("List the models", "GET", path):
            models = self._client.ask("GET", path)
        width = max((len(model["modelId"]) for model in models), default=0)
        for model in models:
            size = output.count(None if model["params"] is None else model["params"] * 1e9)
            self._say(f"{model['modelId']:{width}}  {model['task']:20}  {size} parameters")
        missing = {STORIES, CHAT, REVIEWS} - {model["modelId"] for model in models}
        expect(not missing, f"the example models {', '.join(sorted(missing))} are not in the list")

    def create(self) -> None:
        """A cluster, and its cold boot."""
        body = {"capacity": {"min": 0, "desired": 1, "max": 2}, "timeout": 600}
        began = time.perf_counter()
        with self._step("Create a cluster", "PUT", STORIES, body):
            accepted = self._client.ask("PUT", STORIES, body)
        self._say(json.dumps(accepted))
        self._client.wait_for(STORIES, lambda cluster: cluster["ready"] > 0)
        took_s = time.perf_counter() - began
        self._console.print(
            f"{INDENT}[bold green]cold boot: {took_s:.2f} s[/] from this request to a model that answers"
        )

    def run(self) -> None:
        """An inference that is answered at once."""
        with self._step("Run it", "POST", STORIES, STORY):
            told = self._client.ask("POST", STORIES, STORY)
        expect(isinstance(told, str) and told.startswith(PROMPT), f"a story was expected, not {told!r}")
        self._say(told)

    def stream(self) -> None:
        """The same, as it is made."""
        body = {**STORY, "stream": True}
        began = time.perf_counter()
        arrivals: list[float] = []
        with self._step("Stream it", "POST", STORIES, body, "-N"), self._client.run(STORIES, body) as pieces:
            expect(not isinstance(pieces, Whole), "the answer came in one piece")
            self._console.print(INDENT, end="")
            for piece in pieces:
                arrivals.append(time.perf_counter())
                self._console.print(piece.replace("\n", " "), end="", markup=False)
            self._console.print()
        expect(bool(arrivals), "the stream was empty")
        self._say(f"first text after {(arrivals[0] - began) * 1000:.0f} ms, {len(arrivals)} pieces")

    def chat(self) -> None:
        """A model nobody asked for before: the request waits for its boot."""
        body = {"messages": [{"role": "user", "content": QUESTION}]}
        with self._step("Chat: no cluster yet, so the request makes one and waits for its boot", "POST", CHAT, body):
            answer = self._client.ask("POST", CHAT, body)
        expect(
            isinstance(answer, dict) and answer.get("role") == "assistant", f"a message was expected, not {answer!r}"
        )
        self._say(f"{QUESTION} -> {answer['content']}")

    def classify(self) -> None:
        """Another task, the same format."""
        with self._step("Classify, in the same format", "POST", REVIEWS, REVIEW):
            labels = self._client.ask("POST", REVIEWS, REVIEW)
        expect(isinstance(labels, list) and bool(labels), f"labels were expected, not {labels!r}")
        for each in labels:
            self._say(f"{each['label']:10} {each['score']:.3f} {'#' * round(each['score'] * 30)}")

    def scale(self) -> None:
        """A second replica."""
        body = {"capacity": {"desired": 2}}
        with self._step("Scale to two replicas", "PATCH", STORIES, body):
            self._client.ask("PATCH", STORIES, body)
            cluster = self._client.wait_for(STORIES, lambda cluster: cluster["ready"] == 2)
        self._say(f"{cluster['status']}, {cluster['ready']} replicas ready, {cluster['inferences']} inferences so far")

    def delete(self) -> None:
        """Everything away again."""
        for model_id in (STORIES, CHAT, REVIEWS):
            with self._step(f"Delete {model_id}", "DELETE", model_id):
                self._client.ask("DELETE", model_id)
        left = self._client.ask("GET", "list/clusters")
        expect(left == [], f"no cluster should be left, but there is {left}")

    @contextmanager
    def _step(
        self, title: str, method: str, path: str, body: dict[str, Any] | None = None, *more: str
    ) -> Iterator[None]:
        """Shows the request before and the time after the body of a `with`."""
        self._number += 1
        self._console.print(f"\n[bold cyan]{self._number}. {title}[/]")
        line = curl(method, f"{self._client.url}/models/v2/{path}", "$KEY", body, "-s", *more)
        self._console.print(f"{INDENT}$ {line}", markup=False)
        began = time.perf_counter()
        yield
        self._console.print(f"{INDENT}[dim]{(time.perf_counter() - began) * 1000:.0f} ms[/]")

    def _say(self, text: str) -> None:
        shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " ..."
        self._console.print(f"{INDENT}{shown}".replace("\n", f"\n{INDENT}"), markup=False)


def expect(fulfilled: bool, otherwise: str) -> None:
    """Raises InferenceFailed when the demo shows something that should not be."""
    if not fulfilled:
        raise InferenceFailed(f"The demo failed: {otherwise}.")
