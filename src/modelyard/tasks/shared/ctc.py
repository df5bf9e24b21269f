"""Speech to text by CTC: every few milliseconds of sound get a letter or none. Long sound runs in overlapping passes.

Source: A. Graves et al., Connectionist Temporal Classification, ICML 2006.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.arrays import forward_rows
from modelyard.tasks.shared.sounds import features_of, sampling_rate
from modelyard.tasks.shared.transcripts import Chunk, SpeechParams, Transcript
from modelyard.tasks.shared.words import EACH_TOKEN, join_words, read_pieces, spelled


@dataclass(frozen=True, slots=True)
class Pass:
    """Samples that run in one pass, of which `left` and `right` only give context."""

    samples: Array
    left: int
    right: int


def transcribe_by_ctc(model: Model, sounds: Sequence[Array], params: SpeechParams) -> list[Transcript]:
    """Each sound's transcript. `sounds`: (n,) each, at the model's rate. Raises InvalidRequest about the params."""
    unit = timestamp_unit(model, params)
    passes = [cut_passes(sound, params, sampling_rate(model), samples_per_step(model) or 1) for sound in sounds]
    rows = [features_of(model, one.samples, return_attention_mask=True) for own in passes for one in own]
    steps = iter([outputs["logits"][0].argmax(axis=-1) for outputs in forward_rows(model, rows)])
    transcripts = []
    for sound, own in zip(sounds, passes, strict=True):
        made = [next(steps) for _ in own]
        pace = samples_per_step(model) or len(own[0].samples) / max(1, len(made[0]))
        letters = np.concatenate([drop_context(ids, one, pace) for ids, one in zip(made, own, strict=True)])
        transcripts.append(
            read_transcript(model, letters, unit, pace / sampling_rate(model), len(sound) / sampling_rate(model))
        )
    return transcripts


def timestamp_unit(model: Model, params: SpeechParams) -> str | None:
    """`word`, `char`, or None for no times. Raises InvalidRequest for letters of a model that writes parts of words."""
    if params.return_timestamps is False:
        return None
    if params.return_timestamps == "char" and not spells(model):
        accepted = "true, word or false: this model writes parts of words"
        raise InvalidRequest(field="params.return_timestamps", got="char", accepted=accepted)
    return "word" if params.return_timestamps is True else params.return_timestamps


def spells(model: Model) -> bool:
    """Whether the model writes letters, whose tokenizer tells where each letter and word is."""
    return "output_word_offsets" in inspect.signature(model.tokenizer.decode).parameters


def samples_per_step(model: Model) -> int | None:
    """Samples for each of the model's outputs, by its strides; None when it reads features that hide them."""
    strides: list[int] | None = model.config.get("conv_stride")
    if not strides or "input_values" not in getattr(model.processor, "model_input_names", ("input_values",)):
        return None
    return math.prod(strides)


def cut_passes(sound: Array, params: SpeechParams, rate: int, step: int) -> list[Pass]:
    """The sound's passes; neighbours overlap by the context at their ends. Boundaries fall on the model's steps."""
    length_s, (left_s, right_s) = params.passes()
    length, left, right = (round(seconds * rate / step) * step for seconds in (length_s, left_s, right_s))
    if not length or len(sound) <= length:
        return [Pass(sound, 0, 0)]
    if left + right >= length:
        raise InvalidRequest(
            field="params.chunk_length_s", got=params.chunk_length_s, accepted="more, or a shorter stride_length_s"
        )
    passes = []
    for start in range(0, len(sound), length - left - right):
        last = start + length >= len(sound)
        samples = sound[start : start + length]
        if len(samples) > (left if start else 0):
            passes.append(Pass(samples, left if start else 0, 0 if last else right))
        if last:
            break
    return passes


def drop_context(ids: Array, one: Pass, pace: float) -> Array:
    """The ids of a pass without those that only gave context. `pace`: samples per id."""
    total = round(len(one.samples) / pace)
    return ids[round(one.left / pace) : total - round(one.right / pace)]


def read_transcript(model: Model, ids: Array, unit: str | None, step_s: float, duration_s: float) -> Transcript:
    """The text of one id per step of `step_s` seconds."""
    if unit is None:
        return Transcript(model.tokenizer.decode(ids.tolist()))
    if not spells(model):
        return Transcript(model.tokenizer.decode(ids.tolist()), find_words(model, ids, step_s, duration_s))
    decoded: Any = model.tokenizer.decode(ids.tolist(), **{f"output_{unit}_offsets": True})
    chunks = [
        Chunk((int(item["start_offset"]) * step_s, min(int(item["end_offset"]) * step_s, duration_s)), item[unit])
        for item in decoded[f"{unit}_offsets"]
    ]
    return Transcript(decoded.text, chunks)


def find_words(model: Model, ids: Array, step_s: float, duration_s: float) -> list[Chunk]:
    """The words of one id per step of `step_s` seconds: the same id several times in a row is one that takes longer."""
    tokens, times, end = [], [], 0
    for token, run in groupby(ids.tolist()):
        begin, end = end, end + len(list(run))
        if token != model.tokenizer.pad_token_id:
            tokens.append(token)
            times.append((begin * step_s, min(end * step_s, duration_s)))
    return spelled(join_words(read_pieces(model.tokenizer, tokens, times, **EACH_TOKEN)))
