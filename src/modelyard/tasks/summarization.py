"""summarization: says what a text says, shorter."""

from __future__ import annotations

from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.generation import Generation, Prompt, answer_plain_texts
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.rewriting import RewrittenText, find_prefix, rewriting_prompts
from modelyard.tasks.shared.texts import TextInputs, text_length


class SummarizationInputs(TextInputs, frozen=True, kw_only=True):
    """The text to summarise, or several."""


class SummarizationParams(GenerationParams, frozen=True, kw_only=True):
    """How to write the summary."""


SummarizationOutput = RewrittenText
"""The summary."""


def prompts(model: Model, call: Call[SummarizationInputs, SummarizationParams]) -> list[Prompt]:
    """The texts, behind the model's prefix for it (T5's "summarize: "). Long texts are cut at the model's limit."""
    return rewriting_prompts(model, call, find_prefix(model, "summarization") or "")


GENERATION = Generation(prompts=prompts, answer=answer_plain_texts, left=False)

TASK = Task(
    id="summarization",
    summary="Say what a text says, shorter.",
    inputs=SummarizationInputs,
    params=SummarizationParams,
    output=SummarizationOutput,
    run=GENERATION.run,
    generation=GENERATION,
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
