"""A task's reference page, written from its own types, so that page and code cannot disagree.

`python -m modelyard.tasks.reference docs/reference/tasks` writes all of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from modelyard.media.media import Kind
from modelyard.tasks.base import Task
from modelyard.tasks.fields import inputs_of, meanings_of, settings_of
from modelyard.tasks.registry import TASKS
from modelyard.validation import description_of

MADE: dict[Kind, str] = {
    "image": "a PNG image",
    "audio": "a sound (WAV, or as audio_format says)",
    "video": "an MP4 video (H.264)",
}
"""What a task that makes media makes, in words."""


def as_schemas(task: Task) -> dict[str, Any]:
    """The same for programs: JSON schemas of what a task takes and answers, and what forms and answers are drawn by."""
    output = (
        {"type": "string", "format": "uri", "description": f"URL of {MADE[task.makes]} on this server"}
        if task.makes is not None
        else msgspec.json.schema(task.output)
    )
    return {
        "task": task.id,
        "summary": task.summary,
        "input": unfold(msgspec.json.schema(task.inputs)),
        "params": unfold(msgspec.json.schema(task.params)),
        "output": output,
        "example": task.example,
        "streams": task.streams,
        "media": task.media,
        "makes": task.makes,
        "fields": inputs_of(task),
        "settings": settings_of(task),
        "meanings": meanings_of(task),
    }


def unfold(schema: dict[str, Any]) -> dict[str, Any]:
    """A struct's schema with the struct itself at the top; schemas it refers to stay under `$defs`."""
    definitions = dict(schema["$defs"])
    top = definitions.pop(schema["$ref"].rsplit("/", 1)[-1])
    return {**top, **({"$defs": definitions} if definitions else {})}


def render(task: Task) -> str:
    """The page in Markdown."""
    parts = [
        f"# {task.id}",
        task.summary,
        f"## Example\n\n```json\n{json.dumps(task.example, indent=2)}\n```",
        f"## Input\n\n{render_fields(task.inputs)}",
        f"## Settings (`params`)\n\n{render_fields(task.params)}",
        f"## Output\n\n{render_output(task)}",
    ]
    return "\n\n".join(parts) + "\n"


def render_list() -> str:
    """The page that leads to all of them."""
    rows = [f"| [{task.id}]({task.id}.md) | {task.summary} |" for task in sorted(TASKS, key=lambda task: task.id)]
    head = ["# Tasks", "", "What a model can be asked, and the page of each."]
    table = ["", "| task | what it does |", "|---|---|"]
    names = ["", "```{toctree}", ":hidden:", ":glob:", "", "*", "```"]
    return "\n".join([*head, *table, *rows, *names]) + "\n"


def render_fields(kind: type[msgspec.Struct]) -> str:
    """A table of the struct's fields."""
    if not kind.__struct_fields__:
        return "None: an empty body is valid."
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(kind):
        shape = describe(msgspec.json.schema(field.type))
        meaning = description_of(kind, field.encode_name)
        rows.append(f"| `{field.encode_name}` | {shape} | {default_of(field)} | {meaning} |")
    return "\n".join(rows)


def default_of(field: msgspec.structs.FieldInfo) -> str:
    """The field's default as JSON; `required` when there is none, a dash when it is left to the model."""
    if field.required:
        return "required"
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return "-" if default in (None, msgspec.UNSET) else f"`{json.dumps(msgspec.to_builtins(default))}`"


def render_output(task: Task) -> str:
    """The output's schema, and how it streams; of media, what clients get in its place."""
    if task.makes is not None:
        return (
            f"The URL of {MADE[task.makes]} on this server; with `json: false`, its bytes. "
            "With `stream: true`, a line such as `step 3/20` for each step, where there are steps, and then the URL."
        )
    streaming = "Streams its text as it is written." if task.streams else "Arrives in one piece."
    return f"{streaming}\n\n```json\n{json.dumps(msgspec.json.schema(task.output), indent=2)}\n```"


def describe(schema: dict[str, Any]) -> str:
    """A JSON schema as a few words."""
    if "anyOf" in schema:
        return " or ".join(describe(part) for part in schema["anyOf"] if part != {"type": "null"})
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"] if value is not None)
    if schema.get("type") == "array":
        return f"list of {describe_items(schema['items'])}" if schema.get("items") else "list"
    return str(schema.get("type", "any")) + bounds_of(schema)


def describe_items(schema: dict[str, Any]) -> str:
    """What a list holds, as a few words that read as one."""
    return f"({describe(schema)})" if len(schema.get("anyOf", ())) > 1 else describe(schema)


def bounds_of(schema: dict[str, Any]) -> str:
    """A number's limits."""
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[name]}" for name, sign in words.items() if name in schema]
    return f" {', '.join(limits)}" if limits else ""


def main() -> None:
    """Writes every task's page into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        (folder / f"{task.id}.md").write_text(render(task), encoding="utf-8")
    (folder / "README.md").write_text(render_list(), encoding="utf-8")


if __name__ == "__main__":
    main()
