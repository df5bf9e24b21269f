"""Settings of text generation, and one sequence's text as it grows. Shared by every task that writes text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Call, Params
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.detokenizer import Detokenizer
from modelyard.tasks.shared.encoding import Row, collate

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
TokenId = Annotated[int, Meta(ge=0)]
TokenIds = Annotated[list[TokenId], Meta(max_length=1024)]
Share = Annotated[float, Meta(gt=0, le=1)]
Cutoff = Annotated[float, Meta(ge=0, lt=1)]
Penalty = Annotated[float, Meta(gt=0, le=100)]
MOST_SEQUENCES = 16


class GenerationParams(Params, frozen=True, kw_only=True):
    """How text is generated. What is not given comes from the model's own settings."""

    max_length: Annotated[
        Positive | None,
        Meta(description="most tokens in all, the prompt included for models that continue it; see max_new_tokens"),
    ] = None
    max_new_tokens: Annotated[
        Positive | None,
        Meta(
            description="most tokens to make; wins over max_length; when neither is given here or, for "
            "encoder-decoders, by the model: 256, or what the model's context has room for"
        ),
    ] = None
    min_length: Annotated[Count | None, Meta(description="fewest tokens in all, counted like max_length")] = None
    min_new_tokens: Annotated[Count | None, Meta(description="fewest tokens to make; wins over min_length")] = None
    early_stopping: Annotated[
        bool | Literal["never"] | None,
        Meta(
            description="beam search: stop once num_beams candidates are complete; 'never' looks for better to the end"
        ),
    ] = None
    max_time: Annotated[
        Annotated[float, Meta(gt=0, le=3600)] | None,
        Meta(description="seconds after which generation ends with what there is; each batch has its own clock"),
    ] = None
    do_sample: Annotated[
        bool | None,
        Meta(description="draw tokens at random (true) or take the likeliest (false); implied true by temperature, "
             "top_p, top_k, min_p or typical_p"),
    ] = None  # fmt: skip
    num_beams: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_SEQUENCES)] | None,
        Meta(description="beams of beam search, 1 to 16; 1 is none; with beams a stream arrives in one piece"),
    ] = None
    use_cache: Annotated[bool | None, Meta(description="keep attention states between steps: faster, same answer")] = (
        None
    )
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None,
        Meta(description="how random: 0 takes the likeliest token, above 0 implies sampling, 1 is the model's own"),
    ] = None
    top_k: Annotated[
        Count | None, Meta(description="sample among the k likeliest tokens; 0 is all; implies sampling")
    ] = None
    top_p: Annotated[
        Share | None, Meta(description="sample among the likeliest tokens that make up this share; implies sampling")
    ] = None
    min_p: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="sample among tokens at least this likely, relative to the likeliest; implies sampling"),
    ] = None
    typical_p: Annotated[
        Share | None, Meta(description="sample among the most typical tokens that make up this share; implies sampling")
    ] = None
    epsilon_cutoff: Annotated[Cutoff | None, Meta(description="sampling: drop tokens less likely than this")] = None
    eta_cutoff: Annotated[
        Cutoff | None, Meta(description="sampling: drop tokens less likely than this, adapted to the entropy")
    ] = None
    repetition_penalty: Annotated[
        Penalty | None, Meta(description="above 1 makes tokens that occurred less likely, below 1 likelier")
    ] = None
    encoder_repetition_penalty: Annotated[
        Penalty | None, Meta(description="above 1 makes tokens of the input likelier, below 1 less likely")
    ] = None
    length_penalty: Annotated[
        Annotated[float, Meta(ge=-10, le=10)] | None, Meta(description="beam search: above 0 favours longer texts")
    ] = None
    no_repeat_ngram_size: Annotated[
        Count | None, Meta(description="no sequence of this many tokens occurs twice; 0 is off")
    ] = None
    encoder_no_repeat_ngram_size: Annotated[
        Count | None, Meta(description="no sequence of this many tokens is taken over from the input; 0 is off")
    ] = None
    bad_words_ids: Annotated[
        Annotated[list[Annotated[TokenIds, Meta(min_length=1)]], Meta(min_length=1, max_length=1024)] | None,
        Meta(description="token sequences that must not be made, each a list of ids"),
    ] = None
    renormalize_logits: Annotated[
        bool | None, Meta(description="make scores probabilities again after all changes to them")
    ] = None
    forced_bos_token_id: Annotated[TokenId | None, Meta(description="id of the token that comes first")] = None
    forced_eos_token_id: Annotated[
        TokenId | TokenIds | None, Meta(description="id (or ids) of the token forced when the most length is reached")
    ] = None
    remove_invalid_values: Annotated[
        bool | None, Meta(description="replace nan and infinite scores, for models that produce them")
    ] = None
    exponential_decay_length_penalty: Annotated[
        tuple[Count, Annotated[float, Meta(gt=0)]] | None,
        Meta(description="[start, factor]: after start tokens the end becomes exponentially likelier"),
    ] = None
    suppress_tokens: Annotated[TokenIds | None, Meta(description="ids of tokens that are never made")] = None
    begin_suppress_tokens: Annotated[TokenIds | None, Meta(description="ids of tokens that do not come first")] = None
    num_return_sequences: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_SEQUENCES)] | None,
        Meta(description="answers to make, 1 to 16; above 1 the output is a list, and sampling or beams are needed"),
    ] = None
    pad_token_id: Annotated[TokenId | None, Meta(description="id of the padding token")] = None
    bos_token_id: Annotated[TokenId | None, Meta(description="id of the first token")] = None
    eos_token_id: Annotated[
        TokenId | TokenIds | None, Meta(description="id (or ids) of the token that ends the text")
    ] = None
    decoder_start_token_id: Annotated[
        TokenId | None, Meta(description="encoder-decoders: id of the token that the decoder starts from")
    ] = None
    guidance_scale: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None,
        Meta(description="above 1 follows the prompt more closely, at twice the work; 1 is off"),
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2**63 - 1)] | None,
        Meta(description="makes sampling repeatable on the same machine; without it every call differs"),
    ] = None
    stop: Annotated[
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=16)]
        | None,
        Meta(description="up to 16 strings; the answer ends before the first that occurs"),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for settings that contradict each other."""
        for least, most in (("min_length", "max_length"), ("min_new_tokens", "max_new_tokens")):
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low > high:
                raise InvalidRequest(field=f"params.{least}", got=low, accepted=f"at most {most}, which is {high}")
        if self.do_sample and self.temperature == 0:
            raise InvalidRequest(
                field="params.temperature", got=0, accepted="above 0 with do_sample true; 0 takes the likeliest token"
            )
        if self.num_beams and self.num_beams > 1 and (self.num_return_sequences or 1) > self.num_beams:
            raise InvalidRequest(
                field="params.num_return_sequences",
                got=self.num_return_sequences,
                accepted=f"at most num_beams, which is {self.num_beams}",
            )


_OWN = ("seed", "stop")
_IMPLY_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
_TOKEN_IDS = tuple(name for name in GenerationParams.__struct_fields__ if "token" in name and "new_tokens" not in name)


def options_of(params: GenerationParams, model: Model) -> dict[str, Any]:
    """The settings as `Model.generate` takes them. Raises InvalidRequest for token ids that the model does not have."""
    names = GenerationParams.__struct_fields__
    options = {name: getattr(params, name) for name in names if name not in _OWN}
    options = {name: value for name, value in options.items() if value is not None}
    refuse_unknown_tokens(options, model.config.get("vocab_size"))
    if params.temperature == 0:
        options["do_sample"] = False
    elif params.do_sample is None and any(name in options for name in _IMPLY_SAMPLING):
        options["do_sample"] = True
    if options.get("do_sample") is False:
        options = {name: value for name, value in options.items() if name not in _IMPLY_SAMPLING}
    if params.seed is not None:
        options["seed"] = params.seed
    return options


def refuse_unknown_tokens(options: dict[str, Any], vocabulary: int | None) -> None:
    """Raises InvalidRequest when a setting holds an id past the model's vocabulary."""
    if vocabulary is None:
        return
    for name in (*_TOKEN_IDS, "bad_words_ids"):
        for token in flatten(options.get(name)):
            if token >= vocabulary:
                raise InvalidRequest(field=f"params.{name}", got=token, accepted=f"token ids below {vocabulary}")


def flatten(ids: Any) -> list[int]:
    """The ids in an id, a list of ids, a list of lists of ids, or None."""
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else [token for part in ids for token in flatten(part)]


class Answer:
    """One sequence's text as it grows: decoded, cut at the stop strings, sent on to whoever streams."""

    def __init__(self, call: Call[Any, GenerationParams], detokenizer: Detokenizer, *, streams: bool) -> None:
        """`streams` False keeps the call's `emit` out of it."""
        stop = call.params.stop
        self._stops = [stop] if isinstance(stop, str) else list(stop or ())
        self._detokenizer = detokenizer
        self._emit = call.emit if streams else None
        self._sent: list[str] = []
        self._held = ""
        self._stopped = False
        self.tokens = 0

    def take(self, tokens: Sequence[int]) -> bool:
        """Adds tokens; True when a stop string has ended the text."""
        for token in tokens:
            if self._stopped:
                break
            self.tokens += 1
            self._add(self._detokenizer.push((token,)))
        return self._stopped

    def finish(self) -> str:
        """The whole text, after the last token."""
        if not self._stopped:
            self._add(self._detokenizer.finish())
        if not self._stopped:
            self._send(self._held)
        self._held = ""
        return "".join(self._sent)

    def _add(self, piece: str) -> None:
        """Sends what cannot be part of a stop string any more and holds the rest."""
        if not piece:
            return
        text = self._held + piece
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        self._stopped = bool(found)
        kept = len(text) - longest_overlap(text, self._stops)
        end = min(found) if found else kept
        self._send(text[:end])
        self._held = text[end:]

    def _send(self, text: str) -> None:
        if text:
            self._sent.append(text)
            if self._emit is not None:
                self._emit(text)


def longest_overlap(text: str, stops: Sequence[str]) -> int:
    """The length of the longest end of `text` that a stop string begins with."""
    return max(
        (size for stop in stops for size in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:size])),
        default=0,
    )


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row to generate for. `shown`: text that the answer begins with (the prompt itself, where it is part of it).

    `context`: the ids that the new ones continue, when their text runs on from the prompt's. `media`: what the model
    reads besides, by its own argument names (`pixel_values`, ...); then `row` may be empty.
    """

    call: Call[Any, Any]
    row: Row
    shown: str = ""
    context: Sequence[int] = ()
    media: Mapping[str, Array] = field(default_factory=dict)


def write(
    model: Model, prompts: Sequence[Prompt | ModelyardError], *, left: bool, **extra: Any
) -> list[str | list[str] | ModelyardError]:
    """Generates for all prompts in one batch: each row's text, or texts when several were asked for.

    All prompts' calls have equal params (their batch key). `left`: pad on the left, as causal models want it. `extra`
    options win over the params'. A ModelyardError among the prompts stays in its place.
    """
    runnable = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
    texts: Sequence[str | list[str] | ModelyardError] = []
    try:
        if runnable:
            texts = write_all(model, runnable, left=left, **extra)
    except InvalidRequest as error:  # about the params, which all of them share
        texts = [error] * len(runnable)
    written = iter(texts)
    return [next(written) if isinstance(prompt, Prompt) else prompt for prompt in prompts]


def write_all(model: Model, prompts: Sequence[Prompt], *, left: bool, **extra: Any) -> list[str | list[str]]:
    """`write` for prompts of which none has failed. Prompts share a batch when their media have the same shapes."""
    texts: dict[int, str | list[str]] = {}
    for group in alike([prompt.media for prompt in prompts]):
        written = write_together(model, [prompts[index] for index in group], left=left, **extra)
        texts.update(zip(group, written, strict=True))
    return [texts[index] for index in range(len(prompts))]


def alike(rows: Sequence[Mapping[str, Array]]) -> list[list[int]]:
    """The rows' indices, grouped: those of one group have arrays of equal shapes, one entry each. A row with several
    entries in an array (patches, several images) cannot be told apart from its neighbours' and stays alone.
    """
    groups: dict[Any, list[int]] = {}
    for index, row in enumerate(rows):
        shapes = tuple((name, array.shape) for name, array in row.items())
        single = all(len(array) == 1 for array in row.values())
        groups.setdefault(shapes if single else index, []).append(index)
    return list(groups.values())


def stack(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The arrays of rows that are `alike`, as one batch."""
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def write_together(model: Model, prompts: Sequence[Prompt], *, left: bool, **extra: Any) -> list[str | list[str]]:
    """`write_all` for prompts that fit into one batch."""
    params: GenerationParams = prompts[0].call.params
    several = (params.num_return_sequences or 1) > 1
    answers = [open_answer(model, prompt, streams=not several) for prompt in prompts]

    def on_tokens(row: int, tokens: Sequence[int]) -> bool:
        return answers[row].take(tokens) or prompts[row].call.cancelled()

    tokens = collate(model, [prompt.row for prompt in prompts], left=left) if prompts[0].row else {}
    rows = model.generate(
        {**tokens, **stack([prompt.media for prompt in prompts])},
        {**options_of(params, model), **extra},
        on_tokens,
    )
    if several:
        return [[read_sequence(model, prompt, ids) for ids in row] for prompt, row in zip(prompts, rows, strict=True)]
    for answer, row in zip(answers, rows, strict=True):
        answer.take(row[0][answer.tokens :])
    return [prompt.shown + answer.finish() for prompt, answer in zip(prompts, answers, strict=True)]


def open_answer(model: Model, prompt: Prompt, *, streams: bool) -> Answer:
    """An empty answer to `prompt`; a stream gets the shown text at once."""
    if streams and prompt.call.emit is not None and prompt.shown:
        prompt.call.emit(prompt.shown)
    return Answer(prompt.call, Detokenizer(model.tokenizer, prompt.context), streams=streams)


def read_sequence(model: Model, prompt: Prompt, ids: Sequence[int]) -> str:
    """The text of one finished sequence of several."""
    answer = open_answer(model, prompt, streams=False)
    answer.take(ids)
    return prompt.shown + answer.finish()


def refuse_streamed_list(call: Call[Any, Any]) -> None:
    """Raises InvalidRequest when a stream would have to carry more than one text."""
    if call.emit is None:
        return
    if (call.params.num_return_sequences or 1) > 1:
        raise InvalidRequest(
            field="params.num_return_sequences", got=call.params.num_return_sequences, accepted="1 in a stream"
        )
    if isinstance(getattr(call.inputs, "text", None), list):
        raise InvalidRequest(field="text", got=call.inputs.text, accepted="one text in a stream, not a list")


def refuse_long_prompt(tokens: int, model: Model, params: GenerationParams, field: str) -> None:
    """Raises InvalidRequest when a causal model has no room for one token after a prompt of `tokens` tokens."""
    if model.max_length is not None and tokens >= model.max_length:
        raise InvalidRequest(
            f"{field}: got {tokens} tokens; accepted: fewer than {model.max_length}, this model's context, "
            f"which holds the prompt and the answer",
            field=field,
            tokens=tokens,
            limit=model.max_length,
        )
    if params.max_new_tokens is None and params.max_length is not None and tokens >= params.max_length:
        raise InvalidRequest(
            field="params.max_length",
            got=params.max_length,
            accepted=f"more than the {tokens} tokens of {field}, which count; or give max_new_tokens",
        )
