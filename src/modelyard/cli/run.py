"""`modelyard run`: one inference from a terminal, by the running server or, where there is none, right here."""

from __future__ import annotations

import json as json_format
import sys
from typing import Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.client import Client, Whole, open_client
from modelyard.cli.completion import complete_models
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Url
from modelyard.cli.progress import Progress
from modelyard.config import Resolved
from modelyard.errors import InvalidRequest


@with_settings(
    "data_dir", "models_dir", "allow_unsafe", "bf16", "pickles", "context_tokens", "sandbox", "allow_network", "hub"
)
def run(
    resolved: Resolved,
    model: Annotated[
        str,
        typer.Argument(
            help="org/name; without a server also the path of a model folder",
            show_default=False,
            autocompletion=complete_models,
        ),
    ],
    text: Annotated[
        str | None,
        typer.Argument(metavar="INPUT", help="text, or JSON; - or nothing: standard input", show_default=False),
    ] = None,
    task: Annotated[str | None, typer.Option(help="run it here as a model for this task, not for its own")] = None,
    stream: Annotated[bool, typer.Option(help="print text as it is made, where the task can")] = True,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="a parameter, its value JSON or text; repeatable"),
    ] = None,
    url: Url = None,
    json: Annotated[bool, typer.Option("--json", help="print the output as JSON, in one piece")] = False,
) -> None:
    """Run a model once and print its output.

    A running server does the work; where there is none, the model is started for this one call and ended with it.
    """
    body = {"input": read_input(text), "params": read_params(param or []), "stream": stream and not json}
    settings = resolved.settings
    printer = Printer(json=json)
    with Progress(f"asking for {model}") as progress:
        with open_client(url, settings) as client:
            if task is None and (url is not None or client.is_up()):
                return run_there(client, model, body, printer, progress)
        import asyncio

        from modelyard.cli.local_inference import run_locally

        def emit(piece: str) -> None:
            progress.finish()
            printer.piece(piece)

        result = asyncio.run(run_locally(settings, model, task, body, emit, progress))
    if not printer.end():
        printer.whole(result)
    return None


class Printer:
    """Writes an output to standard output, in pieces or whole."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._last = ""

    def piece(self, text: str) -> None:
        """Writes a piece of text at once."""
        self._last = text or self._last
        sys.stdout.write(text)
        sys.stdout.flush()

    def end(self) -> bool:
        """Ends the last line; whether there were pieces at all."""
        if self._last and not self._last.endswith("\n"):
            sys.stdout.write("\n")
        return bool(self._last)

    def whole(self, result: Any) -> None:
        """Writes an output: text as it is, a chat answer as its text, anything else as JSON."""
        if isinstance(result, dict) and isinstance(result.get("content"), str) and not self._json:
            result = result["content"]
        if isinstance(result, str) and not self._json:
            typer.echo(result)
        else:
            output.print_json(result)


def run_there(client: Client, model_id: str, body: dict[str, Any], printer: Printer, progress: Progress) -> None:
    """Has the server run the model."""
    with client.run(model_id, body) as answer:
        progress.finish()
        if isinstance(answer, Whole):
            return printer.whole(answer.output)
        for piece in answer:
            printer.piece(piece)
    printer.end()
    return None


def read_input(text: str | None) -> Any:
    """The input, JSON where it is an object or a list. Raises InvalidRequest when there is none."""
    if text is None and sys.stdin.isatty():
        raise InvalidRequest(
            "input: missing; accepted: text or JSON after the model, or on standard input", field="input"
        )
    raw = sys.stdin.read().removesuffix("\n") if text in (None, "-") else str(text)
    if raw.lstrip().startswith(("{", "[")):
        try:
            return json_format.loads(raw)
        except json_format.JSONDecodeError:
            return raw
    return raw


def read_params(pairs: list[str]) -> dict[str, Any]:
    """The params in `name=value` words. Raises InvalidRequest."""
    params: dict[str, Any] = {}
    for pair in pairs:
        name, equals, raw = pair.partition("=")
        if not (name and equals):
            raise InvalidRequest(field="--param", got=pair, accepted="name=value, e.g. max_new_tokens=50")
        try:
            params[name] = json_format.loads(raw)
        except json_format.JSONDecodeError:
            params[name] = raw
    return params
