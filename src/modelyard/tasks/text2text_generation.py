"""text2text-generation: turns a text into another, whatever the model was trained to make of it."""

from __future__ import annotations

from modelyard.tasks.base import Task
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.generation import Generation, answer_plain_texts
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.rewriting import RewrittenText, rewriting_prompts
from modelyard.tasks.shared.texts import TextInputs, text_length


class Text2TextGenerationInputs(TextInputs, frozen=True, kw_only=True):
    """The text to rewrite, or several; what to do with it is part of the text."""


class Text2TextGenerationParams(GenerationParams, frozen=True, kw_only=True):
    """How to write the new text."""


Text2TextGenerationOutput = RewrittenText
"""The new text, without the old one."""


GENERATION = Generation(prompts=rewriting_prompts, answer=answer_plain_texts, left=False)

TASK = Task(
    id="text2text-generation",
    summary="Turn a text into another.",
    inputs=Text2TextGenerationInputs,
    params=Text2TextGenerationParams,
    output=Text2TextGenerationOutput,
    run=GENERATION.run,
    generation=GENERATION,
    heads=("seq2seq-lm",),
    example={"text": "Answer the question: what is the capital of France?"},
    streams=True,
    max_batch=16,
    length=text_length,
    sizes=sizes.texts_to_rewrite,
    pipeline_key="generated_text",
)
