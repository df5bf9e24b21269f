"""Text in, other text out, by an encoder-decoder: what summarization, translation and text2text-generation share.

Inputs longer than the model's limit are cut at the end.
"""

from __future__ import annotations

from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call
from modelyard.tasks.model import Model
from modelyard.tasks.shared.encoding import encode
from modelyard.tasks.shared.generation import Prompt
from modelyard.tasks.shared.prompts import refuse_streamed_list
from modelyard.tasks.shared.texts import texts_of

RewrittenText = str | list[str | list[str]]
"""The new text; a list for several texts or several sequences, a list of lists for both."""


def rewriting_prompts(model: Model, call: Call[Any, Any], prefix: str = "") -> list[Prompt]:
    """The call's encoded texts, with `prefix` in front of each. Raises InvalidRequest."""
    refuse_streamed_list(call)
    return [rewriting_prompt(model, text, prefix) for text in texts_of(call)]


def rewriting_prompt(model: Model, text: str, prefix: str) -> Prompt:
    """One encoded text. Raises InvalidRequest when nothing is left of it."""
    (row,) = encode(model, [prefix + text])
    if not row["input_ids"]:
        raise InvalidRequest(field="text", got=text, accepted="a text that is not empty")
    return Prompt({name: row[name] for name in ("input_ids", "attention_mask")})


def find_prefix(model: Model, task: str) -> str | None:
    """The words that the model expects before a text to know its task, as its config says; None when it says none."""
    specific = (model.config.get("task_specific_params") or {}).get(task) or {}
    prefix = specific.get("prefix")
    return prefix if isinstance(prefix, str) else None
