"""The reference page of each API that other clients speak, written from its operations, so that page and code agree.

`python -m modelyard.gateway.reference docs/reference` writes all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from modelyard.gateway.operation import Operation
from modelyard.gateway.surfaces.admin.operations import ADMIN_CALLS
from modelyard.gateway.surfaces.every import INFERENCES
from modelyard.gateway.surfaces.openai.inference import ROOTS
from modelyard.tasks.reference import render_fields


@dataclass(frozen=True, slots=True)
class Page:
    """One API's page. `tag`: of its operations; `roots`: paths under which all of them are, of which the first is
    shown. A page of the same name in `docs/howto` has its best-known client in ten lines."""

    name: str
    title: str
    tag: str
    roots: Sequence[str] = ("",)


DESCRIBED = (*INFERENCES, *ADMIN_CALLS)
"""What pages are made of."""
PAGES = (
    Page("openai.md", "OpenAI's API", "openai", ROOTS),
    Page("rerank.md", "Rankings", "rerank"),
    Page("huggingface.md", "Hugging Face's APIs", "huggingface"),
    Page("anthropic.md", "Anthropic's API", "anthropic"),
    Page("admin.md", "The admin API", "admin"),
)


def render(page: Page, operations: Sequence[Operation] = DESCRIBED) -> str:
    """The page in Markdown."""
    own = [each for each in operations if each.tag == page.tag and each.path.startswith(page.roots[0])]
    others = "".join(f" and `{root}`" for root in page.roots[1:])
    where = f"Below `{page.roots[0]}`{others}. " if page.roots[0] else ""
    where += f"How to use it: [howto](../howto/{page.name})."
    parts = [f"# {page.title}", where, *(part for each in own for part in render_operation(each))]
    return "\n\n".join(parts) + "\n"


def render_operation(operation: Operation) -> Iterator[str]:
    """What one call reads and answers."""
    yield f"## `{operation.methods[0]} {operation.path}`\n\n{operation.summary}."
    if operation.tasks:
        yield f"Asks models for {', '.join(f'`{task}`' for task in operation.tasks)}."
    if operation.query is not None:
        yield f"### Query\n\n{render_fields(operation.query)}"
    if operation.body is not None:
        yield f"### Body\n\n{render_fields(operation.body)}"
    if isinstance(operation.answer, type) and issubclass(operation.answer, msgspec.Struct):
        yield f"### Answer\n\n{render_fields(operation.answer)}"
        for kind in structs_in(operation.answer):
            yield f"`{kind.__name__}`: {(kind.__doc__ or '').strip()}\n\n{render_fields(kind)}"
    else:
        for kind in parts_of(operation.answer):
            yield f"### Output\n\n{(kind.__doc__ or '').strip()}\n\n{render_fields(kind)}"


def structs_in(kind: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The Structs that its fields hold, and those that theirs hold, each once."""
    found: dict[type[msgspec.Struct], None] = {}
    waiting = [kind]
    while waiting:
        for hint in get_type_hints(waiting.pop(0)).values():
            for inner in parts_of(hint):
                if inner not in found:
                    found[inner] = None
                    waiting.append(inner)
    return list(found)


def parts_of(hint: Any) -> Iterator[type[msgspec.Struct]]:
    """The Structs in a type."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in get_args(hint):
        yield from parts_of(part)


def pages() -> Mapping[str, str]:
    """Every page by the name of its file."""
    return {page.name: render(page) for page in PAGES}


def main() -> None:
    """Writes every page into the folder named on the command line."""
    for name, text in pages().items():
        Path(sys.argv[1], name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
