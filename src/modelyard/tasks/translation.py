"""translation: says a text in another language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.languages import Direction, find_direction, source_language
from modelyard.tasks.shared.rewriting import RewrittenText, rewrite
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


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Translates each text. All calls name the same languages (their batch key). Long texts are cut at the limit."""
    params: TranslationParams = calls[0].params
    try:
        direction = find_direction(model, params.src_lang, params.tgt_lang)
    except InvalidRequest as error:
        return [error for _ in calls]
    with source_language(model, direction):
        return rewrite(model, calls, direction.prefix, **forced_start(direction, params))


def forced_start(direction: Direction, params: TranslationParams) -> dict[str, Any]:
    """The first token that makes a model write the target language; the request's own wins."""
    if direction.first_token is None or params.forced_bos_token_id is not None:
        return {}
    return {"forced_bos_token_id": direction.first_token}


TASK = Task(
    id="translation",
    summary="Say a text in another language.",
    inputs=TranslationInputs,
    params=TranslationParams,
    output=TranslationOutput,
    run=run,
    heads=("seq2seq-lm",),
    example={"text": "The house is wonderful."},
    streams=True,
    max_batch=16,
    length=text_length,
    sizes=sizes.texts_to_rewrite,
    pipeline_key="translation_text",
)
