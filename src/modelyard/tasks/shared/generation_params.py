"""Settings of text generation, as clients write them and as a model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Params
from modelyard.tasks.hints import not_in_a_stream
from modelyard.tasks.model import Model
from modelyard.tasks.shared.thinking import ThinkingFormat

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
TokenId = Annotated[int, Meta(ge=0)]
TokenIds = Annotated[list[TokenId], Meta(max_length=1024)]
Share = Annotated[float, Meta(gt=0, le=1)]
Cutoff = Annotated[float, Meta(ge=0, lt=1)]
Penalty = Annotated[float, Meta(gt=0, le=100)]
Deduction = Annotated[float, Meta(ge=-2, le=2)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
MOST_SEQUENCES = 16
MOST_FORM = 100_000
"""Characters of a schema, a regular expression or a grammar."""
LONGEST_ID = 12
"""Digits: longer numbers are nobody's ids, and very long ones the language does not read."""
FORMS = ("json_schema", "regex", "grammar")
"""Params that hold a text to a form."""


class TextForm(NamedTuple):
    """What a text is held to: one of these. `thinking`: how the model marks what may come before it."""

    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    grammar: str | None = None
    thinking: ThinkingFormat | None = None

    @property
    def field(self) -> str:
        """Of the request."""
        return next(f"params.{name}" for name in FORMS if getattr(self, name) is not None)


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
    frequency_penalty: Annotated[
        Deduction | None,
        Meta(description="above 0: a token becomes less likely each time it is made, below 0 likelier; the prompt's "
             "tokens do not count, but with GGUF models they do"),
    ] = None  # fmt: skip
    presence_penalty: Annotated[
        Deduction | None,
        Meta(description="above 0: a token becomes less likely once it was made, below 0 likelier"),
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
    logit_bias: Annotated[
        Annotated[dict[str, Bias], Meta(min_length=1, max_length=1024)] | None,
        Meta(description="by token id, what is added to its score before a token is chosen, -100 to 100"),
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
        not_in_a_stream(
            "answers to make, 1 to 16; above 1 the output is a list, not a stream, and sampling or beams are needed"
        ),
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

    json_schema: Annotated[
        dict[str, Any] | None,
        Meta(description='the text is JSON by this schema and nothing else; {"type": "object"}: any object; 100,000 '
             "characters at most"),
    ] = None  # fmt: skip
    regex: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MOST_FORM)] | None,
        Meta(description="the text matches this regular expression as a whole"),
    ] = None
    grammar: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MOST_FORM)] | None,
        Meta(description='the text follows this grammar, in llama.cpp\'s notation (GBNF): root ::= "yes" | "no"'),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for settings that contradict each other."""
        self._check_form()
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

    @property
    def form(self) -> TextForm | None:
        """What the text is held to, if anything."""
        given = {name: value for name in FORMS if (value := getattr(self, name)) is not None}
        return TextForm(**given) if given else None

    def _check_form(self) -> None:
        """Raises InvalidRequest for a form beside another, or beside what leaves no token that it allows."""
        given = [name for name in FORMS if getattr(self, name) is not None]
        if len(given) > 1:
            accepted = f"one of {', '.join(FORMS)}: {given[0]} is given too"
            raise InvalidRequest(field=f"params.{given[1]}", got=getattr(self, given[1]), accepted=accepted)
        for name in ("min_length", "min_new_tokens", "forced_bos_token_id", "forced_eos_token_id"):
            if given and getattr(self, name):
                accepted = f"nothing beside {given[0]}, which says when the text ends"
                raise InvalidRequest(field=f"params.{name}", got=getattr(self, name), accepted=accepted)


_OWN = ("seed", "stop", "logit_bias", *FORMS)
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
    if params.logit_bias is not None:
        options["sequence_bias"] = biases_of(params.logit_bias, model.config.get("vocab_size"))
    if params.seed is not None:
        options["seed"] = params.seed
    if (form := params.form) is not None:
        options["form"] = form
    return options


def biases_of(logit_bias: Mapping[str, float], vocabulary: int | None) -> list[tuple[list[int], float]]:
    """The same as the library takes it. Raises InvalidRequest for token ids that the model does not have."""
    for token in logit_bias:
        if not is_token_id(token) or (vocabulary is not None and int(token) >= vocabulary):
            accepted = "token ids" if vocabulary is None else f"token ids below {vocabulary}"
            raise InvalidRequest(field="params.logit_bias", got=token, accepted=accepted)
    return [([int(token)], float(bias)) for token, bias in logit_bias.items()]


def is_token_id(text: str) -> bool:
    """Whether it is a whole number that some model might have as an id."""
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_ID


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
