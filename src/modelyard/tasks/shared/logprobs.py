"""How likely the tokens of a text were: the settings that ask for it, and the form in which it is told."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.token_model import TokenScore

MOST_ALTERNATIVES = 20


class LogprobParams(GenerationParams, frozen=True, kw_only=True):
    """Settings of tasks whose answers may say how likely each token was."""

    logprobs: Annotated[
        bool | None, Meta(description="say beside the output how likely each token was, before settings changed it")
    ] = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None,
        Meta(description="with logprobs: so many of the likeliest tokens at each place, 0 to 20"),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for settings that contradict each other."""
        super().__post_init__()
        if self.top_logprobs and not self.logprobs:
            raise InvalidRequest(field="params.top_logprobs", got=self.top_logprobs, accepted="0 without logprobs")


def count_alternatives(params: GenerationParams) -> int | None:
    """How many of the likeliest tokens are to be told at each place; None: nothing is to be told at all."""
    if not isinstance(params, LogprobParams) or not params.logprobs:
        return None
    return params.top_logprobs or 0


def refuse_logprobs(params: GenerationParams) -> None:
    """Raises InvalidRequest where they are asked for: for whatever writes a text that cannot tell."""
    if count_alternatives(params) is not None:
        raise InvalidRequest(
            field="params.logprobs",
            got=True,
            accepted="false for this model and these settings: only causal models tell, and not with beams or guidance",
        )


def describe_score(tokenizer: Any, token: int, score: TokenScore) -> dict[str, Any]:
    """One token of a text: `token` its text, `bytes` the same in UTF-8 (None: it is a part of a character), `logprob`
    the natural logarithm of how likely it was; and `top_logprobs`, the same of the likeliest at its place, best first.

    Source: the form is that of OpenAI's API, chat.completion, choices[].logprobs.content[].
    """
    others = [describe_token(tokenizer, other, logprob) for other, logprob in score.top]
    return {**describe_token(tokenizer, token, score.logprob), "top_logprobs": others}


def describe_token(tokenizer: Any, token: int, logprob: float) -> dict[str, Any]:
    """A token and how likely it was."""
    text = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    return {"token": text, "logprob": logprob, "bytes": None if "\ufffd" in text else list(text.encode())}
