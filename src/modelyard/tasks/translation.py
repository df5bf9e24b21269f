"""translation: says a text in another language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.generation import Generation, Prompt, answer_plain_texts
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.languages import find_direction, source_language
from modelyard.tasks.shared.rewriting import RewrittenText, rewriting_prompts
from modelyard.tasks.shared.texts import TextInputs, text_length


class TranslationInputs(TextInputs, frozen=True, kw_only=True):
    """The text to translate, or several."""


class TranslationParams(GenerationParams, frozen=True, kw_only=True):
    """From which language into which, and how to write it."""

    src_lang: Annotated[
        str | None, Meta(description="the text's language as the model writes it: en, en_XX, eng_Latn, ...")
    ] = None
    tgt_lang: Annotated[
        str | None, Meta(description="the language to translate into, as the model writes it: de, de_DE, deu_Latn, ...")
    ] = None


TranslationOutput = RewrittenText
"""The translation."""


def prompts(model: Model, call: Call[TranslationInputs, TranslationParams]) -> list[Prompt]:
    """The texts in the language they are from. Long ones are cut at the model's limit. Raises InvalidRequest."""
    direction = find_direction(model, call.params.src_lang, call.params.tgt_lang)
    with source_language(model, direction):
        return rewriting_prompts(model, call, direction.prefix)


def options(model: Model, params: TranslationParams) -> Mapping[str, Any]:
    """The first token that makes a model write the target language; the request's own wins."""
    direction = find_direction(model, params.src_lang, params.tgt_lang)
    if direction.first_token is None or params.forced_bos_token_id is not None:
        return {}
    return {"forced_bos_token_id": direction.first_token}


GENERATION = Generation(prompts=prompts, answer=answer_plain_texts, left=False, options=options)

TASK = Task(
    id="translation",
    summary="Say a text in another language.",
    inputs=TranslationInputs,
    params=TranslationParams,
    output=TranslationOutput,
    run=GENERATION.run,
    generation=GENERATION,
    heads=("seq2seq-lm",),
    example={"text": "The house is wonderful."},
    streams=True,
    max_batch=16,
    length=text_length,
    sizes=sizes.texts_to_rewrite,
    pipeline_key="translation_text",
)
