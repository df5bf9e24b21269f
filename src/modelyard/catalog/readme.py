"""The three facts the catalog wants from a model card's front matter, the YAML between the `---` lines of README.md.

Not a YAML parser: those need seconds for the megabytes of benchmark results that some cards carry, and the facts are
top-level scalars and one flat list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCALAR = re.compile(r"^([a-z_]+):[ \t]*(.*)$")
_ITEM = re.compile(r"^[ \t]*-[ \t]+(.+)$")


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """`tags` keeps the card's order."""

    pipeline_tag: str | None = None
    license: str | None = None
    tags: tuple[str, ...] = ()


def parse_front_matter(readme: str) -> FrontMatter:
    """The facts that are there; a README without front matter has none."""
    scalars: dict[str, str] = {}
    tags: list[str] = []
    key = ""
    for line in _front_matter_lines(readme):
        if scalar := _SCALAR.match(line):
            key, value = scalar[1], _unquoted(scalar[2])
            if key == "tags" and value.startswith("["):
                tags.extend(_unquoted(tag) for tag in value.strip("[]").split(",") if tag.strip())
            elif value:
                scalars.setdefault(key, value)
        elif key == "tags" and (item := _ITEM.match(line)):
            tags.append(_unquoted(item[1]))
    return FrontMatter(scalars.get("pipeline_tag"), scalars.get("license"), tuple(tags))


def _front_matter_lines(readme: str) -> list[str]:
    lines = readme.removeprefix("\ufeff").lstrip().splitlines()
    if not lines or lines[0].strip() != "---":
        return []
    end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == "---"), 1)
    return lines[1:end]


def _unquoted(value: str) -> str:
    value = value.strip()
    if value[:1] in {"'", '"'}:
        return value[1 : value.find(value[0], 1)]
    return value.split(" #")[0].strip()
