"""What a shell completes beside commands and options, which typer knows: names of models."""

from __future__ import annotations

import typer

from modelyard.cli.problems import ServerRefused, ServerUnreachable
from modelyard.config import load_settings

MOST_NAMES = 100


def complete_models(context: typer.Context, incomplete: str) -> list[str]:
    """The models that begin so of the server that the command would ask; none where nobody answers."""
    from modelyard.cli.client import open_client

    with open_client(context.params.get("url"), load_settings({}).settings) as client:
        try:
            found = client.ask("GET", "list/models", query={"search": incomplete, "limit": MOST_NAMES})
        except (ServerUnreachable, ServerRefused):
            return []
    return [model["modelId"] for model in found if model["modelId"].startswith(incomplete)]
