"""From settings to command-line flags: every field of `Settings` is a flag, without anyone having to list it again.

Owns the flags' names, types and help. Precedence is `config.load_settings`'s business.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from modelyard.config import Resolved, Settings, load_settings, written_as

Command = Callable[..., None]

TYPES = get_type_hints(Settings)
PANEL = "Settings (each also as MODELYARD_NAME in the environment)"


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Gives a command a flag for each setting named (none named: for all), and their values as `resolved`.

    The command's own parameters come first in its help. Flags win over the environment, that over the config file.
    """
    chosen = [field for field in dataclasses.fields(Settings) if not names or field.name in names]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            flags = {field.name: given.pop(field.name) for field in chosen}
            command(resolved=resolve(flags), **given)

        own = inspect.signature(command, eval_str=True)
        parameters = [parameter for parameter in own.parameters.values() if parameter.name != "resolved"]
        parameters += [flag(field) for field in chosen]
        wrapper.__signature__ = own.replace(parameters=sorted(parameters, key=is_keyword))  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del wrapper.__wrapped__  # typer would read the signature through it
        return wrapper

    return decorate


def resolve(flags: dict[str, Any]) -> Resolved:
    """The settings for flags as typer delivers them: a repeatable one that was not given is an empty list."""
    return load_settings({name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()})


def is_keyword(parameter: inspect.Parameter) -> bool:
    """Sorts keyword parameters behind the others, as a signature must have them."""
    return parameter.kind is inspect.Parameter.KEYWORD_ONLY


def flag(field: dataclasses.Field[Any]) -> inspect.Parameter:
    """A setting as the parameter that typer turns into its flag."""
    kind = TYPES[field.name]
    option = typer.Option(
        flag_names(field.name),
        help=field.metadata["description"],
        metavar=None if kind is bool else metavar(kind),
        show_default=default_text(field),
        rich_help_panel=PANEL,
    )
    annotation = Annotated[flag_type(kind), option]  # type: ignore[valid-type]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def flag_names(name: str) -> str:
    """How the setting is written on a command line."""
    dashed = written_as(name, "flag")
    return f"{dashed}/--no-{dashed.removeprefix('--')}" if TYPES[name] is bool else dashed


def flag_type(kind: Any) -> Any:
    """The type typer should read: optional, a list where the setting is a tuple, a text where it is a number: what is
    wrong with one is said by the settings."""
    if get_origin(kind) is tuple:
        kind = GenericAlias(list, get_args(kind)[:1])
    elif kind in (int, float):
        kind = str
    optional: Any = kind | None
    return optional


def metavar(kind: Any) -> str:
    """What stands for the value in help."""
    kind = get_args(kind)[0] if get_origin(kind) is tuple else kind
    return {Path: "DIR", int: "N", float: "X"}.get(kind, "TEXT")


def default_text(field: dataclasses.Field[Any]) -> str | bool:
    """The default as help shows it; False where there is none worth showing."""
    if field.name == "data_dir":
        return "~/.local/share/modelyard"  # the same on every page, whatever $XDG_DATA_HOME says where it is made
    value = field.default
    if value in ("", (), None):
        return False
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
