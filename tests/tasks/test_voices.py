"""text-to-speech of models that speak step by step: Bark and its presets, CSM and Dia and what was said before; and
the voices of SpeechT5's folder. tests/e2e/test_voices.py asks them over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.errors import ModelRefused
from modelyard.records import sounds
from modelyard.tasks.text_to_speech import TASK
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.text_to_sound import FAMILIES
from tests.builders.fixtures import Ask, Load
from tests.builders.made import Client
from tests.builders.voices import PRESET
from tests.tasks.spoken import (
    BEFORE,
    SEED,
    TEXT,
    as_heard,
    assert_answers,
    bark_sound,
    csm_sound,
    dia_sound,
    said_before,
    tone,
)


@pytest.mark.parametrize("voice", [None, PRESET])
def test_bark_speaks_in_its_own_voice_and_in_that_of_a_preset(load: Load, ask: Ask, voice: str | None) -> None:
    model = load("bark", "text-to-waveform")
    client = Client()
    named = {} if voice is None else {"voice": voice}
    answer = ask(TASK, model, {"text": TEXT, "params": {"seed": SEED, **named}}, **client.sinks)
    assert_answers(answer, bark_sound(model.path, voice), 800)
    assert len(client.steps) > 12


def test_bark_says_which_voices_it_has(load: Load, ask: Ask) -> None:
    error = ask(TASK, load("bark", "text-to-waveform"), {"text": TEXT, "params": {"voice": "../nobody"}})
    assert error.data["field"] == "params.voice"
    assert f"one of the model's voices: {PRESET}" in error.message


def test_settings_of_bark_are_those_of_its_parts(load: Load, ask: Ask) -> None:
    model = load("bark", "text-to-waveform")
    params = {"seed": SEED, "temperature": 0.7, "top_k": 5, "max_new_tokens": 6}
    settings: dict[str, Any] = {
        "semantic_top_k": 5,
        "coarse_top_k": 5,
        "semantic_max_new_tokens": 6,
        "temperature": 0.7,
    }
    answer = ask(TASK, model, {"text": TEXT, "params": params})
    assert_answers(answer, bark_sound(model.path, **settings), 800)


def test_csm_speaks_as_the_speaker_that_is_asked_for(load: Load, ask: Ask) -> None:
    model = load("csm", "text-to-waveform")
    for params, role, settings in (({}, "0", {}), ({"speaker_id": 1, "max_new_tokens": 4}, "1", {"max_new_tokens": 4})):
        answer = ask(TASK, model, {"text": TEXT, "params": {"seed": SEED, **params}})
        assert_answers(answer, csm_sound(model.path, role, **settings), 24000)


def test_csm_goes_on_from_what_was_said(load: Load, ask: Ask) -> None:
    model = load("csm", "text-to-waveform")
    sound = tone(24000, 0.4)
    client = Client()
    body = {"text": TEXT, "messages": said_before(sound, 24000), "params": {"seed": SEED, "speaker_id": 1}}
    answer = ask(TASK, model, body, **client.sinks)
    assert_answers(answer, csm_sound(model.path, "1", as_heard(sound, 24000)), 24000)
    assert client.steps[-1] == (6, 6)


def test_dia_reads_a_dialogue_and_what_was_said_before(load: Load, ask: Ask) -> None:
    model = load("dia", "text-to-waveform")
    dialogue = "[S1] yes [S2] no"
    for text, params, read in (
        (TEXT, {}, f"[S1] {TEXT}"),
        (TEXT, {"speaker_id": 1}, f"[S2] {TEXT}"),
        (dialogue, {}, dialogue),
    ):
        answer = ask(TASK, model, {"text": text, "params": {"seed": SEED, **params}})
        assert_answers(answer, dia_sound(model.path, read), 44100)
    sound = tone(44100, 0.002)
    answer = ask(TASK, model, {"text": TEXT, "messages": said_before(sound, 44100), "params": {"seed": SEED}})
    assert_answers(answer, dia_sound(model.path, f"[S1] {BEFORE} [S1] {TEXT}", audio=[as_heard(sound, 44100)]), 44100)


def test_dia_has_two_speakers_and_needs_its_audio_tokenizer(load: Load, ask: Ask, tmp_path: Path) -> None:
    model = load("dia", "text-to-waveform")
    assert ask(TASK, model, {"text": TEXT, "params": {"speaker_id": 2}}).data["field"] == "params.speaker_id"
    assert ask(TASK, model, {"text": TEXT, "messages": [{"role": "0", "content": "a"}]}).data["field"] == "messages"
    folder = Path(shutil.copytree(model.path, tmp_path / "dumb"))
    shutil.rmtree(folder / "audio_tokenizer")
    with pytest.raises(ModelRefused, match="has no DacModel"):
        load_model("transformers", folder, TASK.heads, device="cpu")


def test_the_catalogue_knows_the_types_that_are_served() -> None:
    assert set(sounds.SERVED) == set(FAMILIES)


def test_what_was_said_before_is_refused_where_nothing_reads_it(load: Load, ask: Ask) -> None:
    error = ask(TASK, load("vits", "text-to-waveform"), {"text": TEXT, "messages": [{"role": "0", "content": "a"}]})
    assert error.data["field"] == "messages"


def test_speecht5_has_the_voices_of_its_folder(model_folder: Callable[[str], Path], tmp_path: Path, ask: Ask) -> None:
    folder = Path(shutil.copytree(model_folder("speecht5"), tmp_path / "voices"))
    mute = load_model("transformers", folder, TASK.heads, device="cpu")
    (folder / "voices").mkdir()
    voices = {"amy": np.arange(8.0), "ben": np.arange(8.0)[::-1]}
    for name, voice in voices.items():
        np.save(folder / "voices" / f"{name}.npy", voice[None])
    model = load_model("transformers", folder, TASK.heads, device="cpu")

    def spoken(by: Any, **params: Any) -> Any:
        return ask(TASK, by, {"text": TEXT, "params": {"seed": SEED, **params}})

    for params, vector in (({}, voices["amy"]), ({"voice": "ben"}, voices["ben"])):
        assert spoken(model, **params) == spoken(mute, speaker_embedding=vector.tolist())
    assert spoken(mute) == spoken(mute, speaker_embedding=[0.0] * 8)
    assert "amy, ben" in spoken(model, voice="nobody").message
    assert "no voices with names" in spoken(mute, voice="amy").message
    assert spoken(model, voice="amy", speaker_embedding=[0.0] * 8).data["field"] == "params.voice"
    np.save(folder / "voices" / "small.npy", np.zeros(3))
    with pytest.raises(ModelRefused, match=r"small\.npy has 3 numbers"):
        load_model("transformers", folder, TASK.heads, device="cpu")
