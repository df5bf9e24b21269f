"""One vector per text from a model's states per token, or one weight per word of its vocabulary. Owns pooling, scaling
and which words are told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.protocol import Outcome, Usage
from modelyard.records.sentence_modules import DOCUMENT, QUERY
from modelyard.tasks.base import Call, Inputs, Params, attempt
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model, TextModel
from modelyard.tasks.shared.encoding import Row, encode, forward_each
from modelyard.tasks.shared.sentence_folder import Head, LayerMix, Weighing, read_head, unit
from modelyard.tasks.shared.texts import MOST_TEXTS, answer_texts, refuse_empty, shortened

log = logging.getLogger(__name__)

Pooling = Literal["mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"]


class WordWeight(msgspec.Struct, frozen=True):
    """What a text weighs on one word of the model's vocabulary."""

    index: Annotated[int, Meta(description="the word's id, by the model's own tokenizer")]
    token: Annotated[str, means("label", "the word, or the part of one, as the tokenizer writes it")]
    value: Annotated[float, means("score", "its weight, above 0")]


Value = float | WordWeight
Vectors = list[Value | list[Value]]
"""One vector, or a list of vectors. Of a model that weighs words, in place of a vector the words with a weight, the
heaviest first."""


STATES = ("encoder_last_hidden_state", "last_hidden_state", "text_embeddings")
"""What models call a text's states. The first: such as come with a decoder that cannot be taken off (FSMT); the last:
FLAVA."""

PADDED = frozenset({"siglip", "siglip2"})
"""Types of models that were trained on texts padded to the limit."""
TWO_TOWERS = frozenset({"align", "altclip", "chinese_clip", "clip", "metaclip_2", "siglip", "siglip2"})
"""Types of models that put texts and images into one space. The vector of a text is that of the tower that reads."""
MOST_LOGITS = 2**26
"""Numbers of one batch, where a model says something of every word for every token: 256 MB."""
DENSE = "false, or nothing: this model makes vectors, and weighs no words"
"""What a model without weights of words takes for `sparse`."""


TokenIds = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]
EmbeddedText = str | TokenIds
"""A text, or the ids of its tokens."""


class EmbeddingInputs(Inputs, frozen=True, kw_only=True):
    """One text or several."""

    text: Annotated[
        str | Annotated[list[EmbeddedText], Meta(min_length=1, max_length=MOST_TEXTS)],
        Meta(
            description="a text, or a list of 1 to 1024 texts, which is answered by a list; in a list, a text may be "
            "the ids of its tokens, by the model's own tokenizer"
        ),
    ]


class EmbeddingParams(Params, frozen=True, kw_only=True):
    """How to make one vector of a text. What is not given is as the model's own files say."""

    pooling: Annotated[
        Pooling | None,
        Meta(description="how the tokens' vectors become one: mean, cls (the first), max, lasttoken, weightedmean or "
             "mean_sqrt_len_tokens; by default as the model says, else mean"),
    ] = None  # fmt: skip
    normalize: Annotated[
        bool | None, Meta(description="scale the vector to length 1; by default as the model says, else no")
    ] = None
    dimensions: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="how many of the vector's first values to answer with, for models that were trained for it; "
             "all by default"),
    ] = None  # fmt: skip
    truncate: Annotated[
        bool, Meta(description="cut a text longer than the model's limit at its end; false makes it an error")
    ] = True
    prompt_name: Annotated[
        str | None,
        Meta(
            description="which of the model's own prompts (query, document, ...) to put before the text; to models "
            "that weigh the words of queries by a table, query says that the text is one"
        ),
    ] = None
    sparse: Annotated[
        bool | None,
        Meta(description="answer with the words that have a weight, the heaviest first, on models that weigh the words "
             "of their vocabulary (SPLADE), and by default on all of those; false is a vector with a value for each "
             "word"),
    ] = None  # fmt: skip


Rows = Sequence[tuple[Call[Any, EmbeddingParams], EmbeddedText]]


class Embedded(NamedTuple):
    """A text's vector, and how many tokens the model read of it; None: it does not tell. `words`: what is answered in
    the vector's place."""

    vector: Array
    tokens: int | None
    words: list[WordWeight] | None = None


def answer_embedded(call: Call[Any, Any], results: Sequence[Embedded]) -> Outcome:
    """The vectors of the call's texts in the form of its text, and what was read for them."""
    shown = [each.vector.tolist() if each.words is None else each.words for each in results]
    return Outcome(answer_texts(call, shown), usage_of(results))


def usage_of(results: Sequence[Embedded]) -> Usage:
    """What was read for some vectors."""
    counts = [each.tokens for each in results if each.tokens is not None]
    return Usage(prompt_tokens=sum(counts) if len(counts) == len(results) else None)


def embed(model: Model | TextModel, rows: Rows) -> list[list[float] | ModelyardError]:
    """Each row's vector, or why it has none."""
    return [each.vector.tolist() if isinstance(each, Embedded) else each for each in embed_each(model, rows)]


def embed_each(model: Model | TextModel, rows: Rows) -> list[Embedded | ModelyardError]:
    """Each row's vector with the tokens that were read for it, or why it has none."""
    if not rows:
        return []
    if isinstance(model, TextModel):
        return embed_texts(model, rows)
    head = read_head(model.path)
    results: list[Any] = [None] * len(rows)
    encoded: list[tuple[int, Row]] = []
    for index, (call, text) in enumerate(rows):
        try:
            encoded.append((index, encode_text(model, head, call.params, text)))
        except InvalidRequest as error:
            results[index] = error
    looked_up = {index for index, _ in encoded if is_looked_up(head, rows[index][0].params)}
    read = iter(read_each(model, head, [row for index, row in encoded if index not in looked_up]))
    for index, row in encoded:
        states = look_up(model, head, row) if index in looked_up else next(read)
        results[index] = attempt(answer_row, model, head, rows[index][0].params, row, states)
    return results


def read_each(model: Model, head: Head, rows: Sequence[Row]) -> list[Array]:
    """Each row's states, (tokens, width), or the one vector that the model makes of it, (width,)."""
    if head.weighing is not None:
        words = int(model.config.get("vocab_size") or 1)
        longest = max((len(row["input_ids"]) for row in rows), default=1)
        most_rows = min(32, max(1, MOST_LOGITS // (words * longest)))
        return forward_each(model, rows, partial(read_weights, head.weighing), most_rows=most_rows)
    if head.mix is not None and model.config.get("output_hidden_states"):  # else the library passes the module over
        return forward_each(model, rows, partial(read_mixed, head.mix), output_hidden_states=True)
    if model.config.get("model_type") in TWO_TOWERS:
        return forward_each(model, rows, read_pooled, method="get_text_features")
    return forward_each(model, rows, read_states)


def is_looked_up(head: Head, params: EmbeddingParams) -> bool:
    """Whether the text is a query to a model that weighs those by a table."""
    return head.query_weights is not None and (params.prompt_name or head.default_prompt) == QUERY


def look_up(model: Model, head: Head, row: Row) -> Array:
    """What the words of a query weigh, (words,): each as its table says, however often it occurs."""
    table = head.query_weights if head.query_weights is not None else np.zeros(0, np.float32)
    weights = np.zeros(max(len(table), int(model.config.get("vocab_size") or 0)), np.float32)
    weights[row["input_ids"]] = table[row["input_ids"]]
    return weights


def answer_row(model: Model, head: Head, params: EmbeddingParams, row: Row, states: Array) -> Embedded:
    """What is made of one row's states. Raises InvalidRequest."""
    if head.weighing is None and params.sparse:
        raise InvalidRequest(field="params.sparse", got=True, accepted=DENSE)
    tells_words = head.weighing is not None and params.sparse is not False
    if tells_words and params.dimensions is not None:
        accepted = "nothing: this model answers with words; params.sparse false makes that a vector"
        raise InvalidRequest(field="params.dimensions", got=params.dimensions, accepted=accepted)
    vector = to_vector(states, head, params)
    return Embedded(vector, count_tokens(row), heaviest(model, vector) if tells_words else None)


def heaviest(model: Model, weights: Array) -> list[WordWeight]:
    """The words that have a weight, the heaviest first; of equal ones that with the lower id."""
    order = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights)]
    indices: list[int] = order.tolist()
    tokens = model.tokenizer.convert_ids_to_tokens(indices)
    values: list[float] = weights[order].tolist()
    return [WordWeight(index, token or "", value) for index, token, value in zip(indices, tokens, values, strict=True)]


def count_tokens(row: Row) -> int:
    """Tokens of one text, padding not among them."""
    return sum(row["attention_mask"]) if "attention_mask" in row else len(row["input_ids"])


def embed_texts(model: TextModel, rows: Rows) -> list[Embedded | ModelyardError]:
    """Each row's vector by a model that pools and scales itself. Rows of a batch have equal params."""
    params = rows[0][0].params
    if params.pooling is not None:
        raise InvalidRequest(field="params.pooling", got=params.pooling, accepted="nothing: this model's file says how")
    if params.prompt_name is not None:
        raise InvalidRequest(
            field="params.prompt_name", got=params.prompt_name, accepted="nothing: this model has no prompts"
        )
    if params.sparse:
        raise InvalidRequest(field="params.sparse", got=True, accepted=DENSE)
    normalize = True if params.normalize is None else params.normalize
    finish = partial(shorten_vector, dimensions=params.dimensions, normalize=normalize)
    texts = [text for _, text in rows if isinstance(text, str)]
    try:
        if len(texts) == len(rows) and all(texts):
            return [Embedded(finish(vector), None) for vector in model.embed_texts(texts, normalize=normalize)]
    except InvalidRequest as error:
        log.debug("one of %d texts is refused: %s", len(texts), error)
    return [attempt(embed_text, model, text, params.truncate, normalize, finish) for _, text in rows]


def embed_text(
    model: TextModel, text: EmbeddedText, truncate: bool, normalize: bool, finish: Callable[[Any], Array]
) -> Embedded:
    """The vector of one text, or of as much of its beginning as the model reads. Raises InvalidRequest."""
    if not isinstance(text, str):
        raise InvalidRequest(field="text", got=text, accepted="texts: this model's runtime takes no ids of tokens")
    refuse_empty(text)
    try:
        (vector,) = model.embed_texts([text], normalize=normalize)
        return Embedded(finish(vector), None)
    except InvalidRequest as error:
        shorter = shortened(text, error) if truncate else None
        if shorter is None:
            raise
    return embed_text(model, shorter, truncate, normalize, finish)


def shorten_vector(vector: Sequence[float], dimensions: int | None, *, normalize: bool) -> Array:
    """A vector's first values, scaled again to length 1 where wanted. Raises InvalidRequest."""
    whole = np.asarray(vector)
    if dimensions is None:
        return whole
    first = first_values(whole, dimensions)
    return unit(first) if normalize else first


def read_states(outputs: Mapping[str, Array], place: int, row: Row) -> Array:
    """One row's states without padding, (tokens, width); of a model that makes one vector itself (DPR): (width,)."""
    states = next((outputs[name] for name in STATES if name in outputs), None)
    if states is None:
        return read_pooled(outputs, place, row)
    own: Array = states[place, : len(row["input_ids"])]
    return own


def read_pooled(outputs: Mapping[str, Array], place: int, _row: Row) -> Array:
    """One row's vector, (width,), as the model itself makes it."""
    vector: Array = outputs["pooler_output"][place]
    return vector


def read_weights(weighing: Weighing, outputs: Mapping[str, Array], place: int, row: Row) -> Array:
    """One row's weights of the vocabulary's words, (words,)."""
    return weighing.apply(outputs["logits"][place, : len(row["input_ids"])])


def read_mixed(mix: LayerMix, outputs: Mapping[str, Any], place: int, row: Row) -> Array:
    """One row's states without padding, (tokens, width), made of those of several layers."""
    return mix.apply([states[place, : len(row["input_ids"])] for states in outputs["hidden_states"]])


def encode_text(model: Model, head: Head, params: EmbeddingParams, text: EmbeddedText) -> Row:
    """The text with its prompt as a row. Raises InvalidRequest when it is too long, empty, or the prompt unknown."""
    text = text if isinstance(text, str) else read_tokens(model, text)
    limits = [limit for limit in (head.max_length, model.max_length) if limit]
    name = params.prompt_name or head.default_prompt
    kinds = () if head.query_weights is None else (QUERY, DOCUMENT)
    if name is not None and name not in (*head.prompts, *kinds):
        known = ", ".join(dict.fromkeys((*head.prompts, *kinds))) or "nothing: this model has no prompts"
        raise InvalidRequest(field="params.prompt_name", got=name, accepted=known)
    text = head.prompts.get(name, "") + text if name else text
    text = text.lower() if head.lower_case else text
    settings: dict[str, Any] = {"truncation": params.truncate, "max_length": min(limits)} if limits else {}
    if limits and model.config.get("model_type") in PADDED:
        settings["padding"] = "max_length"  # it was trained so, and reads the last place, whatever is in it
    special_tokens = head.special_tokens and not is_looked_up(head, params)
    (row,) = encode(model, [text], **settings, add_special_tokens=special_tokens, verbose=False)
    if head.known_words:
        row = without_unknown(row, model.tokenizer.unk_token_id)
    if not row["input_ids"]:
        raise InvalidRequest(field="text", got=text, accepted="a text that is not empty")
    if limits and len(row["input_ids"]) > min(limits):
        raise InvalidRequest(
            f"text: got {len(row['input_ids'])} tokens; accepted: at most {min(limits)}, or params.truncate true",
            field="text",
        )
    return row


def without_unknown(row: Row, unknown: int | None) -> Row:
    """The row without the token that stands for what the tokenizer does not know."""
    kept = [place for place, token in enumerate(row["input_ids"]) if token != unknown]
    return {name: [values[place] for place in kept] for name, values in row.items()}


def read_tokens(model: Model, ids: Sequence[int]) -> str:
    """The text of some tokens. Raises InvalidRequest for ids that the model does not have."""
    known = len(model.tokenizer)
    if (unknown := next((each for each in ids if each >= known), None)) is not None:
        accepted = f"ids below {known}, of this model's own tokenizer; or send texts"
        raise InvalidRequest(field="text", got=unknown, accepted=accepted)
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))


def pool(states: Array, poolings: Sequence[str]) -> Array:
    """One vector from (tokens, width) states without padding; several poolings' vectors follow one another."""
    return np.concatenate([pool_one(states, pooling) for pooling in poolings])


def pool_one(states: Array, pooling: str) -> Array:
    """One vector, (width,), from (tokens, width) states."""
    tokens = len(states)
    pooled: Array
    match pooling:
        case "cls":
            pooled = states[0]
        case "lasttoken":
            pooled = states[-1]
        case "max":
            pooled = states.max(axis=0)
        case "weightedmean":
            pooled = np.average(states, axis=0, weights=np.arange(1, tokens + 1)).astype(states.dtype)
        case "mean_sqrt_len_tokens":
            pooled = states.sum(axis=0) / np.sqrt(tokens, dtype=states.dtype)
        case _:
            pooled = states.mean(axis=0)
    return pooled


def to_vector(states: Array, head: Head, params: EmbeddingParams) -> Array:
    """States pooled, put through the folder's dense layers and, where asked for, scaled to length 1. Raises
    InvalidRequest for a pooling of what is one vector already."""
    if states.ndim == 1 and params.pooling is not None:
        raise InvalidRequest(
            field="params.pooling", got=params.pooling, accepted="nothing: this model makes one vector of a text itself"
        )
    vector = states if states.ndim == 1 else pool(states, head.poolings if params.pooling is None else [params.pooling])
    for layer in head.layers:
        vector = layer.apply(vector)
    if params.dimensions is not None:
        vector = first_values(vector, params.dimensions)
    return unit(vector) if (head.normalize if params.normalize is None else params.normalize) else vector


def first_values(vector: Array, dimensions: int) -> Array:
    """So many of a vector's first values. Raises InvalidRequest where it has fewer."""
    if dimensions > len(vector):
        accepted = f"at most {len(vector)}, which this model's vectors have"
        raise InvalidRequest(field="params.dimensions", got=dimensions, accepted=accepted)
    return vector[:dimensions]
