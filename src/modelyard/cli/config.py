"""`modelyard config`: the value of each setting and where it comes from."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import typer

from modelyard.cli import output
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json
from modelyard.config import Resolved, Settings

MASK = "***"
SECRET = frozenset({"admin_key", "provider_keys"})

_PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^@]*(?=@)")
_PASSWORD_FIELD = re.compile(r"(?i)(?<=password=)[^&]*")

app = typer.Typer(no_args_is_help=True, help="Look at the settings: flag wins over environment, config file, default.")


@app.callback()
def config() -> None:
    """Keeps `show` a command of its own."""


@app.command()
@with_settings()
def show(resolved: Resolved, json: Json = False) -> None:
    """Print each setting, its value, and where it comes from: a flag, a variable, a file, or the default."""
    lines = [
        {"setting": field.name, "value": shown(resolved.settings, field.name), "source": resolved.sources[field.name]}
        for field in dataclasses.fields(Settings)
    ]
    if json:
        return output.print_json(lines)
    rows = ((line["setting"], text(line["value"]), line["source"]) for line in lines)
    output.print_table(("setting", "value", "source"), rows, empty="")
    return None


def shown(settings: Settings, name: str) -> Any:
    """A setting's value as JSON can carry it and anyone may see it."""
    value = getattr(settings, name)
    if name in SECRET and value:
        return MASK
    if name == "database_url":
        return _PASSWORD_FIELD.sub(MASK, _PASSWORD.sub(rf"\1:{MASK}", value))
    if isinstance(value, tuple):
        return [str(part) for part in value]
    return value if isinstance(value, (bool, int, float)) else str(value)


def text(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(value) if isinstance(value, list) else str(value)
