"""docs/reference/providers.md, made of the table of providers and of the tasks' settings.

`python -m modelyard.providers.reference docs/reference` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from modelyard.providers.tasks import TASKS
from modelyard.records.providers import EVERY, KNOWN, Provider
from modelyard.tasks.reference import render_fields

NAME = "providers.md"
MEANING = (
    "`?source=provider`; or a `provider-key` comes along; or it is in the list of closed models; or it has more than "
    "two parts; or its first part is a server of `--provider-urls` that is no provider below"
)
INTRODUCTION = f"""# Providers of closed models

A model's id is its provider's name and the provider's own name of the model: `openai/gpt-4o`,
`openrouter/meta-llama/llama-3.1-8b`. How to use them: [howto](../howto/providers.md).

| an id means | when |
|---|---|
| a closed model | {MEANING} |
| a model of a folder or the hub | else, and with `?source=hub` |

A provider's error is passed on with its status and words: 429 stays 429 with its `Retry-After`, 401 and 403 are 401,
other 4xx 422, 5xx and broken connections 502. Where the task of a model is not known, the call says it
(`/v1/embeddings`), or `?task=`; else it is chat."""
SERVERS = (
    "A server that `--provider-urls name=URL` names beside these is asked as OpenAI's API is, for each of the tasks. "
    "The same setting has a provider above asked elsewhere."
)


def render() -> str:
    """The page in Markdown."""
    head = ["| provider | " + " | ".join(f"`{task}`" for task in EVERY) + " |", "|---|" + "---|" * len(EVERY)]
    table = "\n".join([*head, *(row_of(each) for each in KNOWN)])
    settings = [f"## Params of `{task_id}`\n\n{render_fields(task.params)}" for task_id, task in TASKS.items()]
    return "\n\n".join([INTRODUCTION, table, SERVERS, *settings]) + "\n"


def row_of(provider: Provider) -> str:
    """What one provider can be asked."""

    def cells() -> Iterator[str]:
        yield f"`{provider.name}`"
        for task in EVERY:
            yield "yes" if task in provider.tasks else ""

    return f"| {' | '.join(cells())} |"


def main() -> None:
    """Writes the page into the folder named on the command line."""
    Path(sys.argv[1], NAME).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
