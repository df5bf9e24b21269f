"""The few facts the catalog wants from a model card's front matter, the YAML between the `---` lines of README.md.

Not a YAML parser: those need seconds for the megabytes of benchmark results that some cards carry, and the facts are
top-level scalars and flat lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCALAR = re.compile(r"^([a-z_]+):[ \t]*(.*)$")
_ITEM = re.compile(r"^[ \t]*-[ \t]+(.+)$")


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """`tags` keeps the card's order. `base_model`: of several the first."""

    pipeline_tag: str | None = None
    license: str | None = None
    tags: tuple[str, ...] = ()
    library_name: str | None = None
    base_model: str | None = None


def parse_front_matter(readme: str) -> FrontMatter:
    """The facts that are there; a README without front matter has none."""
    scalars: dict[str, str] = {}
    lists: dict[str, list[str]] = {"tags": [], "base_model": []}
    key = ""
    for line in _front_matter_lines(readme):
        if scalar := _SCALAR.match(line):
            key, value = scalar[1], _unquoted(scalar[2])
            if key in lists and value.startswith("["):
                lists[key].extend(_unquoted(item) for item in value.strip("[]").split(",") if item.strip())
            elif value:
                scalars.setdefault(key, value)
        elif key in lists and (item := _ITEM.match(line)):
            lists[key].append(_unquoted(item[1]))
    return FrontMatter(
        pipeline_tag=scalars.get("pipeline_tag"),
        license=scalars.get("license"),
        tags=tuple(lists["tags"]),
        library_name=scalars.get("library_name"),
        base_model=next(iter(lists["base_model"]), scalars.get("base_model")),
    )


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
