"""Text in, other text out, by an encoder-decoder: what summarization, translation and text2text-generation share.

Inputs longer than the model's limit are cut at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Call
from modelyard.tasks.model import Model
from modelyard.tasks.shared.encoding import encode
from modelyard.tasks.shared.generation import Prompt, refuse_streamed_list, write
from modelyard.tasks.shared.texts import answer_each

RewrittenText = str | list[str | list[str]]
"""The new text; a list for several texts or several sequences, a list of lists for both."""


def rewrite(model: Model, calls: Sequence[Call[Any, Any]], prefix: str = "", **options: Any) -> list[Any]:
    """Rewrites each text, with `prefix` in front of it. `options` win over the calls' params."""
    return answer_each(
        calls,
        lambda rows: write(model, [prompt_of(model, *row, prefix) for row in rows], left=False, **options),
    )


def prompt_of(model: Model, call: Call[Any, Any], text: str, prefix: str) -> Prompt | ModelyardError:
    """The encoded text, or why it cannot be rewritten."""
    try:
        refuse_streamed_list(call)
        (row,) = encode(model, [prefix + text])
    except InvalidRequest as error:
        return error
    if not row["input_ids"]:
        return InvalidRequest(field="text", got=text, accepted="a text that is not empty")
    return Prompt(call, {name: row[name] for name in ("input_ids", "attention_mask")})


def find_prefix(model: Model, task: str) -> str | None:
    """The words that the model expects before a text to know its task, as its config says; None when it says none."""
    specific = (model.config.get("task_specific_params") or {}).get(task) or {}
    prefix = specific.get("prefix")
    return prefix if isinstance(prefix, str) else None
