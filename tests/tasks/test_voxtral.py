"""Voxtral, which has no template and no processor that is of use without mistral-common: its requests are as that
library writes them."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.tasks import audio_text_to_text, automatic_speech_recognition
from modelyard.tasks.model import Model
from tests.builders.fixtures import Ask, Load
from tests.builders.hearing import VOXTRAL_SPECIALS, voxtral_realtime_writes, voxtral_writes
from tests.builders.recordings import in_base64, noise, wav

SOUND = noise(0.7)
BASE64 = in_base64(wav(SOUND))
SHORT = {"max_new_tokens": 8, "do_sample": False}
BEGIN, AUDIO, INST, END_INST, BEGIN_AUDIO, TRANSCRIBE = 1, 24, 3, 4, 25, 34


@pytest.fixture
def model(load: Load) -> Model:
    return load("voxtral", "multimodal-lm")


def spelled(text: str) -> list[int]:
    """A text's tokens: its bytes."""
    return [VOXTRAL_SPECIALS + byte for byte in text.encode()]


def written_by_the_library(model: Model, ids: list[int]) -> str:
    """What the library writes to these tokens."""
    return voxtral_writes(model.path, SOUND, ids, **SHORT)


@pytest.mark.parametrize(("told", "text"), [({}, ""), ({"language": "de"}, "lang:de")])
def test_transcription_is_asked_for_in_its_own_form(model: Model, ask: Ask, told: dict[str, Any], text: str) -> None:
    ids = [BEGIN, INST, BEGIN_AUDIO, *[AUDIO] * 375, END_INST, *spelled(text), TRANSCRIBE]
    body = {"base64": BASE64, "params": {**SHORT, **told}}
    pieces: list[str] = []
    answer = ask(automatic_speech_recognition.TASK, model, body, emit=pieces.append)
    assert answer == written_by_the_library(model, ids) == "".join(pieces)
    assert answer


def test_conversation_is_written_in_its_own_form(model: Model, ask: Ask) -> None:
    content = [{"type": "audio", "base64": BASE64}, {"type": "text", "text": "What?"}]
    turns = ["Hi", "No.", content]
    messages = [
        {"role": role, "content": each} for role, each in zip(("user", "assistant", "user"), turns, strict=True)
    ]
    ids = [
        BEGIN, INST, *spelled("Hi"), END_INST, *spelled("No."), 2, INST, BEGIN_AUDIO, *[AUDIO] * 375, *spelled("What?"),
        END_INST,
    ]  # fmt: skip
    answer = ask(audio_text_to_text.TASK, model, {"messages": messages, "params": SHORT})
    assert answer["content"][0]["text"] == written_by_the_library(model, ids)


def test_what_it_does_not_read_is_named(model: Model, ask: Ask) -> None:
    for name, value in (("language", "English"), ("prompt", "a"), ("return_timestamps", True), ("task", "translate")):
        body = {"base64": BASE64, "params": {name: value}}
        assert ask(automatic_speech_recognition.TASK, model, body).data["field"] == f"params.{name}"
    system = {"messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"}]}
    assert ask(audio_text_to_text.TASK, model, system).data["field"] == "messages"


@pytest.fixture
def realtime(load: Load) -> Model:
    return load("voxtral_realtime", "multimodal-lm")


def test_realtime_hears_a_piece_of_the_sound_with_each_token_and_ends_with_it(realtime: Model, ask: Ask) -> None:
    pieces: list[str] = []
    body = {"base64": BASE64, "params": {"do_sample": False}}
    whole = ask(automatic_speech_recognition.TASK, realtime, body, emit=pieces.append)
    assert whole == voxtral_realtime_writes(realtime.path, SOUND) == "".join(pieces)
    longer = noise(22.0)  # more tokens than are written by default elsewhere
    body = {"base64": in_base64(wav(longer)), "params": {"do_sample": False}}
    assert ask(automatic_speech_recognition.TASK, realtime, body) == voxtral_realtime_writes(realtime.path, longer)
    shorter = ask(automatic_speech_recognition.TASK, realtime, {**body, "params": SHORT})
    assert 0 < len(shorter) <= 8
    assert ask(automatic_speech_recognition.TASK, realtime, {**body, "params": {"language": "de"}}).data["field"] == (
        "params.language"
    )
