"""fill-mask: the likeliest tokens in place of a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.encoding import Row, encode, forward_each
from modelyard.tasks.shared.scores import softmax
from modelyard.tasks.shared.texts import TextInputs, answer_each_text, text_length


class FillMaskInputs(TextInputs, frozen=True, kw_only=True):
    """The text with one mask or several, written as the model's mask token ([MASK], <mask>, ...)."""


class FillMaskParams(Params, frozen=True, kw_only=True):
    """How many tokens to answer, and which may be."""

    top_k: Annotated[Annotated[int, Meta(ge=1, le=10_000)], Meta(description="tokens to answer, best first; 5")] = 5
    targets: Annotated[
        Annotated[list[str], Meta(min_length=1, max_length=1024)] | None,
        Meta(description="score only these words, each of which must be one token of the model"),
    ] = None


class Filling(msgspec.Struct, frozen=True):
    """One token for a mask: its probability, its id, its text, and the whole text with it."""

    score: Annotated[float, means("score", "its probability, 0 to 1")]
    token: Annotated[int, Meta(description="the token's id")]
    token_str: Annotated[str, means("label", "the token's text")]
    sequence: Annotated[str, means("text", "the whole text with it")]


FillMaskOutput = list[Filling | list[Filling | list[Filling]]]
"""The tokens, best first; a list of lists for several masks, or for several texts."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Fills each text's masks."""
    return answer_each_text(calls, lambda rows: fill(model, rows))


def fill(model: Model, rows: Sequence[tuple[Call[Any, FillMaskParams], str]]) -> list[Any]:
    """Each row's fillings, or why it has none. Long texts are cut at the model's limit; a mask past it is an error."""
    encoded = encode(model, [text for _, text in rows])
    results: list[Any] = [check_masks(model, row, text) for row, (_, text) in zip(encoded, rows, strict=True)]
    good = [index for index, error in enumerate(results) if error is None]

    def logits_at_masks(outputs: Mapping[str, Array], place: int, row: Row) -> Array:
        logits: Array = outputs["logits"][place, mask_positions(model, row)]
        return logits

    logits = forward_each(model, [encoded[index] for index in good], logits_at_masks, most_rows=8)
    for index, own in zip(good, logits, strict=True):
        results[index] = read_masks(model, rows[index][0].params, encoded[index], own)
    return results


def mask_positions(model: Model, row: Row) -> list[int]:
    """Where the row's masks are."""
    mask = model.tokenizer.mask_token_id
    return [position for position, token in enumerate(row["input_ids"]) if token == mask]


def check_masks(model: Model, row: Row, text: str) -> ModelyardError | None:
    """Why the text cannot be filled; None when it can."""
    mask = model.tokenizer.mask_token
    if mask is None:
        return InvalidRequest("text: this model's tokenizer has no mask token, so it cannot fill masks", field="text")
    if mask not in text:
        return InvalidRequest(field="text", got=text, accepted=f"a text with {mask} where a word is wanted")
    if len(mask_positions(model, row)) < text.count(mask):
        return InvalidRequest(
            field="text", got=text, accepted=f"a text whose masks are within the first {model.max_length} tokens"
        )
    return None


def read_masks(model: Model, params: FillMaskParams, row: Row, logits: Array) -> Any:
    """The fillings of one mask, or a list of them per mask. `logits`: (masks, vocabulary)."""
    try:
        targets = target_ids(model, params.targets)
    except InvalidRequest as error:
        return error
    positions = mask_positions(model, row)
    filled = [
        [filling(model, row, position, token, score, alone=len(positions) == 1) for token, score in best]
        for position, best in zip(positions, best_tokens(softmax(logits), params.top_k, targets), strict=True)
    ]
    return filled[0] if len(filled) == 1 else filled


def target_ids(model: Model, targets: Sequence[str] | None) -> list[int] | None:
    """The targets' token ids, each once. Raises InvalidRequest for one that is not a token."""
    if targets is None:
        return None
    ids = []
    for index, target in enumerate(targets):
        pieces = model.tokenizer(target, add_special_tokens=False)["input_ids"]
        known = model.tokenizer.convert_tokens_to_ids(target)
        token = known if known not in (None, model.tokenizer.unk_token_id) else pieces[0] if len(pieces) == 1 else None
        if token is None or token == model.tokenizer.unk_token_id:
            raise InvalidRequest(field=f"params.targets[{index}]", got=target, accepted="a word that is one token")
        ids.append(token)
    return list(dict.fromkeys(ids))


def best_tokens(scores: Array, top_k: int, targets: list[int] | None) -> list[list[tuple[int, float]]]:
    """Per mask, the best (token, score) pairs. `scores`: (masks, vocabulary) probabilities."""
    among = np.arange(scores.shape[1]) if targets is None else np.array(targets)
    order = np.argsort(-scores[:, among], axis=1, kind="stable")[:, :top_k]
    return [[(int(token), float(own[token])) for token in among[best]] for own, best in zip(scores, order, strict=True)]


def filling(model: Model, row: Row, position: int, token: int, score: float, *, alone: bool) -> Filling:
    """One answer. With other masks in the text, special tokens stay in the sequence to show where they are."""
    ids = list(row["input_ids"])
    ids[position] = token
    return Filling(
        score, token, model.tokenizer.decode([token]), model.tokenizer.decode(ids, skip_special_tokens=alone)
    )


TASK = Task(
    id="fill-mask",
    summary="Find the likeliest words for a masked place in a text.",
    inputs=FillMaskInputs,
    params=FillMaskParams,
    output=FillMaskOutput,
    run=run,
    heads=("masked-lm",),
    example={"text": "The capital of France is [MASK]."},
    length=text_length,
    sizes=sizes.texts_with_a_mask,
    has_variants=True,
)
