"""Speech to text by Whisper: windows of 30 seconds, each encoded once, and written with timestamp tokens or without.

Long sound, and sound whose times are asked for, is written with them, and goes on where the last whole phrase ended.
For the times of words each window's tokens are aligned with the sound once they are written.

Source: A. Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, 2022, section 3.8 and its code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.protocol import FinishReason, Outcome, Usage
from modelyard.tasks.base import Call
from modelyard.tasks.model import Array, EncoderDecoder, GeneratedTokens, Model
from modelyard.tasks.shared.alignment import align_tokens
from modelyard.tasks.shared.detokenizer import Detokenizer
from modelyard.tasks.shared.generated_text import GeneratedText
from modelyard.tasks.shared.generation import join_reasons
from modelyard.tasks.shared.generation_params import options_of
from modelyard.tasks.shared.sounds import feature_extractor, features_of, sampling_rate
from modelyard.tasks.shared.transcripts import Chunk, SpeechParams, Transcript
from modelyard.tasks.shared.words import Times, join_words, read_pieces

FRAMES_PER_TIME = 2
"""Spectrogram frames between two timestamp tokens: the encoder halves the rate."""
SMOOTHED_FRAMES = 7
"""Of the encoder's, over which attention is smoothed where the model's config does not say."""


@dataclass(frozen=True, slots=True)
class WhisperTokens:
    """Ids of the tokens that steer Whisper. `times`: the timestamp token of second 0; None when the model has
    none. `before`: comes in front of what was said before; None when the model has none.

    `languages`: code → id; empty for a model of English alone, which has no `tasks` either. `heads`: (layer, head) of
    the decoder that follow the sound; empty where the model's settings name none.
    """

    start: int
    before: int | None
    no_times: int | None
    languages: dict[str, int]
    tasks: dict[str, int]
    heads: tuple[tuple[int, int], ...]

    @property
    def times(self) -> int | None:
        """The id of the timestamp token for 0 seconds; later ones follow."""
        return None if self.no_times is None else self.no_times + 1


@lru_cache(maxsize=4)
def read_whisper_tokens(path: Path, tokenizer: Any) -> WhisperTokens:
    """These tokens, by the model's generation settings, and by its tokenizer where older settings do not say."""
    file = path / "generation_config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    vocabulary = tokenizer.get_vocab()
    start = settings.get("decoder_start_token_id", vocabulary.get("<|startoftranscript|>"))
    tasks = {name: vocabulary[f"<|{name}|>"] for name in ("transcribe", "translate") if f"<|{name}|>" in vocabulary}
    named = settings.get("lang_to_id") or {
        token: index for token, index in vocabulary.items() if start < index < min(tasks.values(), default=0)
    }
    languages = {token.strip("<|>"): index for token, index in named.items()}
    if not settings.get("is_multilingual", bool(languages)):
        languages = tasks = {}
    return WhisperTokens(
        start,
        settings.get("prev_sot_token_id", vocabulary.get("<|startofprev|>")),
        settings.get("no_timestamps_token_id", vocabulary.get("<|notimestamps|>")),
        languages,
        tasks,
        tuple((int(layer), int(head)) for layer, head in settings.get("alignment_heads") or ()),
    )


@dataclass(slots=True)
class Transcription:
    """One sound on its way to text: which frame comes next, and what has been written so far.

    `frames`: (mels, frames) of the whole sound, `end` how many of them are sound. `prefix`: the ids that steer the
    decoder. `timed`: whether it writes timestamp tokens. `language`: the code of what is spoken, where it is known.
    `encoded`: what the encoder has made of the next window, (frames, width).
    """

    call: Call[Any, Any]
    frames: Array
    end: int
    prefix: list[int]
    timed: bool
    text: GeneratedText
    encoded: Array = field(init=False, repr=False)
    language: str | None = None
    chunks: list[Chunk] = field(default_factory=list)
    seek: int = 0
    ended: bool = False
    new_tokens: int = 0
    reasons: list[FinishReason] = field(default_factory=list)

    def window(self, size: int) -> Array:
        """The next (1, mels, size) frames; silence after the end."""
        piece = self.frames[:, self.seek : self.seek + size]
        return np.pad(piece, ((0, 0), (0, size - piece.shape[1])))[None]

    def note(self, made: GeneratedTokens) -> None:
        """Counts a window's tokens, and why they ended."""
        self.new_tokens += made.new_tokens
        self.reasons.append(FinishReason.STOP if self.text.stopped else made.finish_reason)

    def finish(self, *, timed: bool) -> Outcome:
        """The output, after the last window; with its parts and their times when `timed`."""
        transcript = Transcript(self.text.finish()[0], self.chunks if timed else None, self.language)
        return Outcome(transcript.output(), Usage(new_tokens=self.new_tokens, finish_reason=join_reasons(self.reasons)))


def transcribe_by_whisper(model: Any, calls: Sequence[Call[Any, Any]], sounds: Sequence[Array]) -> list[Outcome]:
    """Each sound's output by `model`, an EncoderDecoder. `sounds`: (n,) each, at the model's rate; the calls' params
    are equal.

    Streams a window's text as it is written, or phrase by phrase where it is timed. Raises InvalidRequest about
    the params.
    """
    params: SpeechParams = calls[0].params
    special, size = read_whisper_tokens(model.path, model.tokenizer), window_frames(model)
    language, task = known_language(special, params), known_task(special, params)
    refuse_unknown_times(model, special, params)
    before = read_before(model, special, params)
    transcriptions = [open_transcription(model, *pair, special, size) for pair in zip(calls, sounds, strict=True)]
    encode_windows(model, transcriptions)
    detects = special.languages and language is None
    heard = detect_languages(model, transcriptions, special) if detects else [language] * len(transcriptions)
    codes = {token: code for code, token in special.languages.items()}
    for one, spoken in zip(transcriptions, heard, strict=True):
        steering = (special.start, spoken, task, None if one.timed else special.no_times)
        one.prefix = [*before, *(token for token in steering if token is not None)]
        one.language = None if spoken is None else codes[spoken]
    unfinished = transcriptions
    while unfinished:
        for timed in (False, True):
            if group := [one for one in unfinished if one.timed is timed]:
                write_windows(model, group, special)
        unfinished = [one for one in unfinished if not one.ended]
        encode_windows(model, unfinished)
    wants_times = params.return_timestamps is not False
    return [one.finish(timed=wants_times) for one in transcriptions]


def open_transcription(
    model: Model, call: Call[Any, Any], sound: Array, special: WhisperTokens, size: int
) -> Transcription:
    """The transcription of one sound, before its first window."""
    hop = int(feature_extractor(model).hop_length)
    long = len(sound) > size * hop
    frames = features_of(model, sound, **({"truncation": False, "padding": "longest"} if long else {}))
    timed = special.times is not None and (long or call.params.return_timestamps is not False)
    features = frames["input_features"][0]
    end = features.shape[1] if long else min(size, -(-len(sound) // hop))
    text = GeneratedText(call, Detokenizer(model.tokenizer), streams=True)
    return Transcription(call, features, end, [], timed, text)


def window_frames(model: Model) -> int:
    """Spectrogram frames in a window: 3000 for 30 seconds."""
    return int(model.config["max_source_positions"]) * FRAMES_PER_TIME


def known_language(special: WhisperTokens, params: SpeechParams) -> int | None:
    """The token of the language asked for; None to detect it. Raises InvalidRequest."""
    if params.language is None:
        return None
    code = params.language.lower().strip("<|>")
    if code not in special.languages:
        known = ", ".join(sorted(special.languages))
        raise InvalidRequest(
            field="params.language",
            got=params.language,
            accepted=f"a code this model knows: {known}" if known else "none: this model knows one language",
        )
    return special.languages[code]


def known_task(special: WhisperTokens, params: SpeechParams) -> int | None:
    """The token of the task asked for; None where the model has one task only. Raises InvalidRequest."""
    if special.tasks:
        return special.tasks.get(params.task or "transcribe")
    if params.task == "translate":
        raise InvalidRequest(field="params.task", got=params.task, accepted="transcribe: this model knows one language")
    return None


def refuse_unknown_times(model: EncoderDecoder, special: WhisperTokens, params: SpeechParams) -> None:
    """Raises InvalidRequest for times of a kind that the model does not mark."""
    wanted = params.return_timestamps
    accepted = None
    if wanted and special.times is None:
        accepted = "false: this model marks no times"
    elif wanted == "char":
        accepted = "true, word or false: this model tells the times of phrases and words, CTC models those of letters"
    elif wanted == "word" and not model.shows_attention:
        accepted = "true or false: the model's ONNX form marks the times of phrases only"
    elif wanted == "word" and not special.heads:
        accepted = "true or false: times of words need alignment_heads in the model's generation_config.json"
    if accepted is not None:
        raise InvalidRequest(field="params.return_timestamps", got=wanted, accepted=accepted)


def read_before(model: Model, special: WhisperTokens, params: SpeechParams) -> list[int]:
    """The ids that every window begins with where a prompt is given: its end, of as many tokens as the model was
    trained on. Raises InvalidRequest."""
    if not params.prompt or not params.prompt.strip():
        return []
    if special.before is None:
        raise InvalidRequest(field="params.prompt", got=params.prompt, accepted="nothing: this model reads no prompt")
    tokens = model.tokenizer(f" {params.prompt.strip()}", add_special_tokens=False)["input_ids"]
    marks = [token for token in tokens if token in model.tokenizer.added_tokens_decoder]
    if marks:
        accepted = f"a text without the model's own marks, such as {model.tokenizer.convert_ids_to_tokens(marks[0])}"
        raise InvalidRequest(field="params.prompt", got=params.prompt, accepted=accepted)
    return [special.before, *tokens[-(int(model.config["max_target_positions"]) // 2 - 1) :]]


def encode_windows(model: EncoderDecoder, transcriptions: Sequence[Transcription]) -> None:
    """Reads the next window of each transcription, all in one batch."""
    if transcriptions:
        windows = np.concatenate([one.window(window_frames(model)) for one in transcriptions])
        for one, encoded in zip(transcriptions, model.encode({"input_features": windows}), strict=True):
            one.encoded = encoded


def detect_languages(model: Model, transcriptions: Sequence[Transcription], special: WhisperTokens) -> list[int]:
    """The language token that the model finds likeliest at the start of each transcription's window."""
    encoded = np.stack([one.encoded for one in transcriptions])
    starts = np.full((len(transcriptions), 1), special.start, dtype=np.int64)
    logits = model.forward({"encoder_outputs": encoded, "decoder_input_ids": starts})["logits"][:, -1]
    known = sorted(special.languages.values())
    return [known[int(best)] for best in logits[:, known].argmax(axis=1)]


def write_windows(model: EncoderDecoder, transcriptions: Sequence[Transcription], special: WhisperTokens) -> None:
    """Writes the window of each transcription, all in one batch. All are timed, or none is."""
    timed, params = transcriptions[0].timed, transcriptions[0].call.params

    def on_tokens(row: int, tokens: Sequence[int]) -> bool:
        stopped = not timed and transcriptions[row].text.take(tokens)
        return stopped or transcriptions[row].call.cancelled()

    rows = model.generate(
        {
            "encoder_outputs": np.stack([one.encoded for one in transcriptions]),
            "decoder_input_ids": np.array([one.prefix for one in transcriptions], dtype=np.int64),
        },
        {**options_of(params, model), "return_timestamps": timed},
        on_tokens,
    )
    for one, (made,) in zip(transcriptions, rows, strict=True):
        cancelled = one.call.cancelled()
        if timed:
            by_word = params.return_timestamps == "word" and not cancelled
            times = time_tokens(model, one, made, special) if by_word else None
            take_phrases(model, one, made.tokens, special, times)
        else:
            one.text.take(made.tokens[one.text.tokens :])
            one.seek = one.end
        one.note(made)
        one.ended = one.ended or one.seek >= one.end or cancelled


def time_tokens(
    model: EncoderDecoder, one: Transcription, made: GeneratedTokens, special: WhisperTokens
) -> list[Times]:
    """When each token of a window is said, in seconds from its start. Where the window ended with no end token, the
    last token's end is not known, and it takes no time."""
    known = list(made.tokens) if made.finish_reason is FinishReason.STOP else list(made.tokens)[:-1]
    if not known:
        return [(0.0, 0.0)] * len(made.tokens)
    decoded = np.array([[*one.prefix, *known]], dtype=np.int64)
    looks = model.attend({"encoder_outputs": one.encoded[None], "decoder_input_ids": decoded}, special.heads)[0]
    frames = max(1, min(window_frames(model), one.end - one.seek) // FRAMES_PER_TIME)
    width = int(model.config.get("median_filter_width") or SMOOTHED_FRAMES)
    ends_s = align_tokens(looks[:, len(one.prefix) :, :frames], width) * FRAMES_PER_TIME * hop_seconds(model)
    ends = [*ends_s.tolist(), float(ends_s[-1])][: len(made.tokens)]
    return list(pairwise([0.0, *ends]))


def hop_seconds(model: Model) -> float:
    """Seconds from one frame of the spectrogram to the next."""
    return float(feature_extractor(model).hop_length / sampling_rate(model))


def take_phrases(
    model: Model, one: Transcription, tokens: Sequence[int], special: WhisperTokens, times: Sequence[Times] | None
) -> None:
    """Adds a timed window's whole phrases, or their words where each token's `times` are given, and moves on to where
    the last of them ended."""
    hop_s = hop_seconds(model)
    start_s, left = one.seek * hop_s, min(window_frames(model), one.end - one.seek)
    phrases, read = split_phrases(tokens, special.times or 0, left)
    for begin, end, places in phrases:
        words = [tokens[place] for place in places]
        if times is None:
            bounds = [min((one.seek + frame) * hop_s, one.end * hop_s) for frame in (begin, end)]
            text = model.tokenizer.decode(words, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            one.chunks.append(Chunk((bounds[0], bounds[1]), text))
        elif words:
            said = [(start_s + times[place][0], start_s + times[place][1]) for place in places]
            one.chunks += join_words(read_pieces(model.tokenizer, words, said), one.language)
        one.ended = one.text.take(words) or one.ended
    one.seek += read or left


def split_phrases(tokens: Sequence[int], times: int, left: int) -> tuple[list[tuple[int, int, list[int]]], int]:
    """A window's phrases as (begin, end, places of its words among the tokens), and how far the window has been read;
    begin, end and the latter in frames.

    Two timestamp tokens in a row end a phrase and begin the next. Words after the last such pair are cut off
    mid-phrase, as the window ended, and are left to the next window, unless a single one ends them: then nothing comes
    after it.
    `times`: the id of the timestamp token for 0 s. `left`: frames of sound in the window.
    """
    is_time = [token >= times for token in tokens]
    cuts = [index + 1 for index in range(len(tokens) - 1) if is_time[index] and is_time[index + 1]]
    if not cuts:
        last = next((token for token in reversed(tokens) if token >= times), times)
        end = (last - times) * FRAMES_PER_TIME or left
        return [(0, end, [place for place, token in enumerate(tokens) if token < times])], left
    whole = is_time[-2:] == [False, True]
    bounds = [0, *cuts, len(tokens)] if whole else [0, *cuts]
    phrases = [
        (
            (tokens[first] - times) * FRAMES_PER_TIME,
            (tokens[last - 1] - times) * FRAMES_PER_TIME,
            [place for place in range(first, last) if tokens[place] < times],
        )
        for first, last in pairwise(bounds)
    ]
    return phrases, left if whole else (tokens[cuts[-1] - 1] - times) * FRAMES_PER_TIME
