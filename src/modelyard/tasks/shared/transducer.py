"""Speech to text by a transducer (RNNT, TDT): going along the sound, it emits a token or goes on by some frames.

Source: A. Graves, Sequence Transduction with Recurrent Neural Networks, 2012; H. Xu et al., Efficient Sequence
Transduction by Jointly Predicting Tokens and Durations, 2023.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.protocol import FinishReason, Outcome, Usage
from modelyard.tasks.base import Call, attempt
from modelyard.tasks.model import Array, Emitted, Model
from modelyard.tasks.shared.arrays import group_by_shape, stack_rows
from modelyard.tasks.shared.sounds import feature_extractor, sampling_rate
from modelyard.tasks.shared.transcripts import SpeechParams, Transcript, refuse_unread
from modelyard.tasks.shared.words import EACH_TOKEN, Times, join_words, read_pieces, spelled


def is_transducer(model: Model) -> bool:
    """Whether the model emits tokens as it goes along: only such models limit how many they emit in one place."""
    return "max_symbols_per_step" in model.config


def transcribe_by_transducer(model: Any, calls: Sequence[Call[Any, Any]], sounds: Sequence[Array]) -> list[Any]:
    """Each sound's output, or its InvalidRequest. `sounds`: (n,) each, at the model's rate; the calls' params are
    equal. What streams arrives in one piece. Raises InvalidRequest about the params.
    """
    params: SpeechParams = calls[0].params
    choices = choices_of(model, params)
    rows: list[Any] = [attempt(read_features, model, sound, choices) for sound in sounds]
    outputs = list(rows)
    readable = [index for index, row in enumerate(rows) if not isinstance(row, InvalidRequest)]
    arrays = [{name: value for name, value in rows[index].items() if np.ndim(value)} for index in readable]
    for group in group_by_shape(arrays):
        indices = [readable[place] for place in group]
        settings = {name: value for name, value in rows[indices[0]].items() if not np.ndim(value)}
        made = model.transduce(
            stack_rows([arrays[place] for place in group]),
            settings,
            lambda row, indices=indices: calls[indices[row]].cancelled(),
        )
        for index, emitted in zip(indices, made, strict=True):
            outputs[index] = finish(model, calls[index], emitted)
    return outputs


def choices_of(model: Model, params: SpeechParams) -> dict[str, Any]:
    """What the processor is told beside the sound. Raises InvalidRequest for what the model does not read."""
    refuse_unread(params, "task", "prompt")
    if params.return_timestamps == "char":
        accepted = "true, word or false: this model writes parts of words"
        raise InvalidRequest(field="params.return_timestamps", got="char", accepted=accepted)
    if "language" not in inspect.signature(type(model.processor).__call__).parameters:
        refuse_unread(params, "language")
    return {} if params.language is None else {"language": params.language}


def read_features(model: Model, sound: Array, choices: dict[str, Any]) -> dict[str, Any]:
    """The model's arguments for one sound: arrays, a batch of one, and plain settings. Raises InvalidRequest."""
    try:
        read = model.processor(audio=[sound], sampling_rate=sampling_rate(model), **choices)
    except (ValueError, RuntimeError) as error:
        field = "params.language" if choices else "base64"
        raise InvalidRequest(f"{field}: the model's processor refuses it: {error}", field=field) from error
    return {name: value if isinstance(value, int) else np.asarray(value) for name, value in read.items()}


def finish(model: Model, call: Call[Any, Any], emitted: Emitted) -> Outcome:
    """The output of one sound, sent to whoever streams."""
    blank = int(model.config["blank_token_id"])
    places = [place for place, token in enumerate(emitted.tokens) if token not in (blank, model.tokenizer.pad_token_id)]
    tokens = [emitted.tokens[place] for place in places]
    transcript = Transcript(model.tokenizer.decode(tokens, skip_special_tokens=True, **EACH_TOKEN))
    if call.params.return_timestamps is not False:
        pieces = read_pieces(model.tokenizer, tokens, times_of(model, emitted, places), **EACH_TOKEN)
        words = spelled(join_words(pieces))
        transcript = Transcript(transcript.text, words)
    if call.emit is not None:
        call.emit(transcript.text)
    reason = FinishReason.CANCELLED if call.cancelled() else FinishReason.STOP
    return Outcome(transcript.output(), Usage(new_tokens=len(tokens), finish_reason=reason))


def times_of(model: Model, emitted: Emitted, places: Sequence[int]) -> list[Times]:
    """When the tokens at `places` are said: from the frame where each was emitted, for as long as the model says (TDT),
    or for that frame (RNNT)."""
    frame_s = frame_seconds(model)
    ends = list(accumulate(emitted.durations))
    tells_lengths = "durations" in model.config
    begins = [ends[place] - emitted.durations[place] for place in places]
    lengths = [emitted.durations[place] if tells_lengths else 1 for place in places]
    return [(begin * frame_s, (begin + length) * frame_s) for begin, length in zip(begins, lengths, strict=True)]


def frame_seconds(model: Model) -> float:
    """Seconds between two of the encoder's frames."""
    hop = feature_extractor(model).hop_length / sampling_rate(model)
    return float(hop * model.config["encoder_config"]["subsampling_factor"])
