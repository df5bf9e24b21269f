"""Options that several commands share, so that they are called and explained the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli.completion import complete_models

LOCAL_URL = "http://HOST:PORT"
"""As help and the reference show the default, which is by the settings."""

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="MODELYARD_URL", help="the server to ask", show_default=LOCAL_URL),
]
"""The key that goes with it is $MODELYARD_API_KEY, else the one a local server keeps in its data folder."""

SERVER_VARIABLE = "MODELYARD_SERVER"

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar=SERVER_VARIABLE,
        help="administer the server at this URL, with a key of its operator's account in MODELYARD_API_KEY, instead of "
        "the database here",
        show_default=False,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]

ModelId = Annotated[str, typer.Argument(help="org/name", show_default=False, autocompletion=complete_models)]

Follow = Annotated[bool, typer.Option("--follow", "-f", help="go on printing what is new, until Ctrl-C")]
