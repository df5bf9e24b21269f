"""From the settings of a request to llama.cpp's own, and what it cannot do. Pure: runs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.tasks.shared.generation_params import FORMS, GenerationParams, TextForm, biases_of
from modelyard.worker.runtimes.grammar_text import write_grammar

GREEDY = {"temperature": 0, "samplers": ["penalties", "temperature"]}
DEFAULT_NEW_TOKENS = 256
"""As the other runtimes make where a request gives no length."""
DEFAULT_TOP_K = 50
"""Of sampling where nothing is said, as in transformers. Source: its GenerationConfig."""
MOST_SEED = 2**32 - 2
"""A larger one means none to llama.cpp, which keeps it in 32 bits."""

OWN_DEFAULTS = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}
"""A setting → the key of a GGUF header that has the model's own. Source: gguf-py, Keys.General."""
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Settings that imply sampling; they are read by nothing else."""
TAKEN = frozenset({
    *SAMPLING, "do_sample", "repetition_penalty", "seed", "stop", "max_new_tokens", "max_length", "max_time",
    "num_return_sequences", "suppress_tokens", "min_new_tokens", "frequency_penalty", "presence_penalty", "logit_bias",
    *FORMS,
})  # fmt: skip
WITHOUT_EFFECT = frozenset({
    "use_cache", "renormalize_logits", "remove_invalid_values", "early_stopping", "length_penalty", "pad_token_id",
})  # fmt: skip
"""Settings that change no answer here: of beam search, of batches with padding, of how the work is done."""
NEUTRAL: Mapping[str, float] = {
    "num_beams": 1, "epsilon_cutoff": 0, "eta_cutoff": 0, "encoder_repetition_penalty": 1, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "guidance_scale": 1, "min_length": 0, "logprobs": 0, "top_logprobs": 0,
}  # fmt: skip
"""Settings that llama.cpp has not, with the value that means nothing."""


@dataclass(frozen=True, slots=True)
class GgufPlan:
    """How texts are written. `request`: llama.cpp's fields. `new_tokens`, `total_tokens`: most of each, None where
    nothing was said. `seed`: None: none was given. `texts`: to each prompt. `most_s`: how long it may take. `form`:
    what each text is held to."""

    request: Mapping[str, Any] = field(default_factory=dict)
    new_tokens: int | None = None
    total_tokens: int | None = None
    seed: int | None = None
    texts: int = 1
    most_s: float | None = None
    form: TextForm | None = None

    def limit_tokens(self, prompt_tokens: int, context_tokens: int) -> int:
        """Most tokens to make after such a prompt, at least 1."""
        limit = DEFAULT_NEW_TOKENS if self.new_tokens is None else self.new_tokens
        if self.new_tokens is None and self.total_tokens is not None:
            limit = self.total_tokens - prompt_tokens
        return max(1, min(limit, context_tokens - prompt_tokens))

    def seed_of(self, text: int) -> int:
        """The seed of one of the texts to a prompt; -1: llama.cpp draws one."""
        return -1 if self.seed is None else (self.seed + text) % MOST_SEED


def plan_writing(params: GenerationParams, values: Mapping[str, Any]) -> GgufPlan:
    """What `params` ask for, over the model's own. `values`: of its header. Raises InvalidRequest for what llama.cpp
    cannot do."""
    refuse_unknown_settings(params)
    own = {name: values[key] for name, key in OWN_DEFAULTS.items() if is_number(values.get(key))}
    asked = {name: value for name in TAKEN if (value := getattr(params, name)) is not None}
    samples = find_sampling(asked, own)
    texts = params.num_return_sequences or 1
    if texts > 1 and not samples:
        raise InvalidRequest(
            field="params.num_return_sequences", got=texts, accepted="1 without sampling; set do_sample for more"
        )
    stop = params.stop
    request = {
        **(sampling_request({**own, **asked}) if samples else GREEDY),
        "repeat_penalty": asked.get("repetition_penalty", own.get("repetition_penalty", 1.0)),
        "frequency_penalty": asked.get("frequency_penalty", 0.0),
        "presence_penalty": asked.get("presence_penalty", 0.0),
        "stop": [stop] if isinstance(stop, str) else list(stop or ()),
        "ignore_eos": must_go_on(params),
    }
    biases = [[*token, bias] for token, bias in biases_of(params.logit_bias or {}, None)]
    if biases or params.suppress_tokens:
        request["logit_bias"] = biases + [[token, False] for token in params.suppress_tokens or ()]
    if (form := params.form) is not None:
        request["grammar"] = write_grammar(form)
    return GgufPlan(request, params.max_new_tokens, params.max_length, params.seed, texts, params.max_time, params.form)


def refuse_unknown_settings(params: GenerationParams) -> None:
    """Raises InvalidRequest for the first setting of how text is made that llama.cpp has not."""
    for name in GenerationParams.__struct_fields__:
        value = getattr(params, name)
        if value is None or name in TAKEN or name in WITHOUT_EFFECT:
            continue
        if name not in NEUTRAL or value != NEUTRAL[name]:
            neutral = f"{NEUTRAL[name]:g}, or nothing" if name in NEUTRAL else "nothing"
            raise InvalidRequest(
                field=f"params.{name}", got=value, accepted=f"{neutral}: GGUF models have no such setting"
            )


def find_sampling(asked: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether tokens are drawn at random."""
    if asked.get("temperature") == 0 or asked.get("do_sample") is False:
        return False
    return bool(asked.get("do_sample") or any(name in asked for name in SAMPLING) or own.get("temperature", 0) > 0)


def sampling_request(settings: Mapping[str, Any]) -> dict[str, Any]:
    """llama.cpp's fields for sampling, in the order in which transformers applies them."""
    return {
        "temperature": settings.get("temperature", 1.0),
        "top_k": settings.get("top_k", DEFAULT_TOP_K),
        "top_p": settings.get("top_p", 1.0),
        "min_p": settings.get("min_p", 0.0),
        "typical_p": settings.get("typical_p", 1.0),
        "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p", "typ_p"],
    }


def must_go_on(params: GenerationParams) -> bool:
    """Whether no end token may end the text. Raises InvalidRequest for a least length that llama.cpp cannot keep."""
    least = params.min_new_tokens or 0
    if least not in (0, params.max_new_tokens):
        raise InvalidRequest(
            field="params.min_new_tokens",
            got=least,
            accepted="nothing, or as many as max_new_tokens: GGUF models know no other least length",
        )
    return least > 0


def is_number(value: Any) -> bool:
    """Whether a header's value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
