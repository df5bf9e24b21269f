"""summarization: says what a text says, shorter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.rewriting import RewrittenText, find_prefix, rewrite
from modelyard.tasks.shared.texts import TextInputs, text_length


class SummarizationInputs(TextInputs, frozen=True, kw_only=True):
    """The text to summarise, or several."""


class SummarizationParams(GenerationParams, frozen=True, kw_only=True):
    """How to write the summary."""


SummarizationOutput = RewrittenText
"""The summary."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Summarises each text, with the model's prefix for it (T5's "summarize: "). Long texts are cut at its limit."""
    return rewrite(model, calls, find_prefix(model, "summarization") or "")


TASK = Task(
    id="summarization",
    summary="Say what a text says, shorter.",
    inputs=SummarizationInputs,
    params=SummarizationParams,
    output=SummarizationOutput,
    run=run,
    heads=("seq2seq-lm",),
    example={
        "text": "The tower is 324 metres tall, about the same height as an 81-storey building, and the tallest "
        "structure in Paris. It was the first structure in the world to reach a height of 300 metres.",
        "params": {"max_new_tokens": 40},
    },
    streams=True,
    max_batch=16,
    length=text_length,
    sizes=sizes.texts_to_rewrite,
    pipeline_key="summary_text",
)
