"""The reference pages on commands and settings, made from the code itself.

`python -m modelyard.cli.reference` writes them; a test fails while they differ from what it would write.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelyard.cli.flags import PANEL, default_text, flag_names
from modelyard.cli.main import app
from modelyard.config import CONFIG_NAME, Settings, variable

PAGES = Path("docs/reference")


def main() -> None:
    """Writes the pages, from the root of a checkout."""
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {"cli.md": commands_page(), "settings.md": settings_page()}


def settings_page() -> str:
    """All settings: flag, variable, default, meaning."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by `python -m modelyard.cli.reference`; change `config.py` instead. -->",
        "",
        "A flag wins over an environment variable, that over the config file, that over the default.",
        f"The config file is TOML: `{CONFIG_NAME}` in the data folder, or the file that `MODELYARD_CONFIG` names;",
        "its keys are the names below. In a variable, several values are separated by commas. `modelyard config show`",
        "prints each value and where it came from.",
        "",
        "| name | flag | variable | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for field in dataclasses.fields(Settings):
        flag = flag_names(field.name).replace("/", "`, `")
        default = default_text(field)
        meaning = field.metadata["description"].replace("|", "\\|")
        cells = [
            f"`{field.name}`",
            f"`{flag}`",
            f"`{variable(field.name)}`",
            f"`{default}`" if default else "",
            meaning,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """All commands with their arguments and options."""
    from typer.main import get_command

    lines = [
        "# Commands",
        "",
        "<!-- Written by `python -m modelyard.cli.reference`; change `src/modelyard/cli` instead. -->",
        "",
        "`modelyard --debug COMMAND` (or `MODELYARD_DEBUG=1`) shows the trace of an error; `modelyard --version`",
        "prints the version. A command that fails says why in a sentence, names the fix, and ends with 1; a wrong",
        "command line ends with 2, Ctrl-C with 130. The settings a command takes are explained in",
        "[settings](settings.md).",
        "Commands that ask a server find it at `--url`, `MODELYARD_URL`, or here at the settings' `port`, and send",
        "`MODELYARD_API_KEY`, or the key that a server on this machine keeps in its data folder for them.",
    ]
    for path, command in leaves(get_command(app), "modelyard"):
        lines += ["", *command_section(path, command)]
    return "\n".join(lines) + "\n"


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below a group, in the order of the help."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}")


def command_section(path: str, command: Any) -> list[str]:
    """One command."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    own = [each for each in options if each.rich_help_panel != PANEL]
    settings = [each for each in options if each.rich_help_panel == PANEL]
    usage = " ".join([path, *map(argument_name, arguments)])
    lines = [f"## {path}", "", f"`{usage}`", "", inspect.cleandoc(command.help or "")]
    rows = [f"| `{argument_name(each)}` | {each.help} |" for each in arguments]
    rows += [f"| {option_names(each)} | {option_help(each)} |" for each in own]
    if rows:
        lines += ["", "| | |", "|---|---|", *rows]
    if len(settings) == len(dataclasses.fields(Settings)):
        lines += ["", "Takes every setting."]
    elif settings:
        lines += ["", f"Takes the settings {', '.join(option_names(each) for each in settings)}."]
    return lines


def argument_name(argument: Any) -> str:
    """As the usage line shows it."""
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def option_names(option: Any) -> str:
    """All ways to write an option."""
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def option_help(option: Any) -> str:
    """What an option does, with its default and variable."""
    notes = []
    if isinstance(option.show_default, str):
        notes.append(f"default `{option.show_default}`")
    elif option.default not in (None, False, True) and not callable(option.default):
        notes.append(f"default `{option.default}`")
    if option.envvar:
        notes.append(f"variable `{option.envvar}`")
    words = f"{option.help} ({'; '.join(notes)})" if notes else str(option.help)
    return words.replace("|", "\\|")


if __name__ == "__main__":
    main()
