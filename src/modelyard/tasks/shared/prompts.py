"""What a model reads before it writes: encoding it, with its media, and refusing what leaves no room to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.sounds import sampling_rate


def encode_prompt(
    model: Model,
    prompt: str | None,
    *,
    images: Sequence[Any] = (),
    sounds: Sequence[Array] = (),
    limit: int | None = None,
    field: str = "messages",
) -> dict[str, Array]:
    """The model's arguments for a prompt and its media, a batch of one, by the model's processor.

    `images`: Pillow images. `limit`: tokens at which the prompt is cut. `field`: of the request, that it is made of.
    Raises InvalidRequest.
    """
    given: dict[str, Any] = {"text": prompt} if prompt is not None else {}
    bos = model.tokenizer.bos_token
    if prompt is not None and bos and prompt.startswith(bos):
        given["add_special_tokens"] = False  # the template has written it already
    if limit is not None:
        given.update(truncation=True, max_length=limit)
    if images:
        given["images"] = list(images)
    if sounds:
        given.update(audio=list(sounds), sampling_rate=sampling_rate(model))
    try:
        arrays = call_processor(model.processor, given)
    except (ValueError, IndexError, TypeError, KeyError, ZeroDivisionError) as error:
        raise InvalidRequest(
            f"{field}: the model's processor refuses this text with its media: {error}", field=field
        ) from error
    return {name: np.asarray(array) for name, array in arrays.items()}


def call_processor(processor: Any, given: Mapping[str, Any]) -> Any:
    """What a processor makes of its arguments: numpy's arrays, or torch's from one that makes no others."""
    try:
        return processor(**given, return_tensors="np")
    except UnboundLocalError:  # Idefics's does not say that it makes no others
        return processor(**given, return_tensors="pt")
    except ValueError as error:
        if "return_tensors" not in str(error):
            raise
        return processor(**given, return_tensors="pt")


def refuse_empty_prompt(arrays: Mapping[str, Array], field: str) -> None:
    """Raises InvalidRequest when nothing is left to read."""
    if "input_ids" not in arrays or not arrays["input_ids"].size:
        raise InvalidRequest(field=field, got="", accepted="a conversation that is not empty")


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


def refuse_long_conversation(tokens: int, model: Model, params: GenerationParams, field: str) -> None:
    """Raises InvalidRequest when the conversation leaves the model no room to answer, or is empty."""
    if not tokens:
        raise InvalidRequest(field=field, got="", accepted="a conversation that is not empty")
    refuse_long_prompt(tokens, model, params, field)
