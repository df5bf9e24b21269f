"""Voices over HTTP, on replicas: what Bark, CSM, Dia, SpeechT5, VITS and pipelines that sing say is what the library
called directly says. tests/tasks has the short forms, in one process."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelyard.worker.runtimes.transformers  # noqa: F401 - what it puts off, the libraries then do without
from tests.builders.voices import PRESET
from tests.coverage.pipelines.recipes import build
from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server
from tests.tasks.spoken import (
    BEFORE,
    SEED,
    TEXT,
    as_heard,
    assert_same_sound,
    bark_sound,
    csm_sound,
    dia_sound,
    said_before,
    tone,
)
from tests.tasks.sung import SONGS, library_song

openai = Later("openai")

pytestmark = [
    pytest.mark.imports_models,
    pytest.mark.verify(part="models"),
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),  # by the library, to itself
]

VOICES = ("bark", "csm", "dia", "speecht5", "vits_speakers")


@pytest.fixture(scope="module")
def server(
    shared_server: Server, model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    (models / "voices").mkdir()
    for family in VOICES:
        (models / "voices" / family).symlink_to(model_folder(family))
    for name, song in SONGS.items():
        build(name, song.recipe, models / "pipelines" / name)
    with shared_server.with_models(models) as running:
        yield running


def heard(file: bytes) -> tuple[Any, int]:
    """A WAV's samples and rate."""
    with wave.open(io.BytesIO(file)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32767
        return samples.reshape(-1, sound.getnchannels()).squeeze(-1 if sound.getnchannels() == 1 else ()), (
            sound.getframerate()
        )


def spoken(server: Server, model_id: str, **body: Any) -> tuple[Any, int]:
    """What the model says, as samples."""
    response = server.post(model_id, json=False, **body)
    assert response.status_code == 200, response.text
    return heard(response.content)


@pytest.mark.parametrize("voice", [None, PRESET])
def test_bark(server: Server, model_folder: Callable[[str], Path], voice: str | None) -> None:
    params = {"seed": SEED} if voice is None else {"seed": SEED, "voice": voice}
    samples, rate = spoken(server, "voices/bark", text=TEXT, params=params)
    assert rate == 800
    assert_same_sound(samples, bark_sound(model_folder("bark"), voice))


def test_csm(server: Server, model_folder: Callable[[str], Path]) -> None:
    sound = tone(24000, 0.4)
    said, params = said_before(sound, 24000), {"seed": SEED, "speaker_id": 1}
    samples, rate = spoken(server, "voices/csm", text=TEXT, messages=said, params=params)
    assert rate == 24000
    assert_same_sound(samples, csm_sound(model_folder("csm"), "1", as_heard(sound, 24000)))


def test_dia(server: Server, model_folder: Callable[[str], Path]) -> None:
    sound = tone(44100, 0.002)
    said = said_before(sound, 44100)
    samples, rate = spoken(server, "voices/dia", text=TEXT, messages=said, params={"seed": SEED})
    assert rate == 44100
    read = f"[S1] {BEFORE} [S1] {TEXT}"
    assert_same_sound(samples, dia_sound(model_folder("dia"), read, audio=[as_heard(sound, 44100)]))


def test_speecht5_without_a_voice(server: Server) -> None:
    default, _ = spoken(server, "voices/speecht5", text=TEXT, params={"seed": SEED})
    zeros, _ = spoken(server, "voices/speecht5", text=TEXT, params={"seed": SEED, "speaker_embedding": [0.0] * 8})
    np.testing.assert_array_equal(default, zeros)


def test_openais_client_asks_for_voices_by_name_and_number(server: Server) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:

        def speak(model: str, voice: str) -> bytes:
            extra = {"seed": SEED}
            asked = {"model": model, "voice": voice, "input": TEXT, "response_format": "wav", "extra_body": extra}
            return bytes(client.audio.speech.create(**asked).read())

        for model, voice, params in (
            ("voices/bark", PRESET, {"voice": PRESET}),
            ("voices/bark", "alloy", {}),
            ("voices/vits_speakers", "2", {"speaker_id": 2}),
        ):
            own, _ = spoken(server, model, text=TEXT, params={"seed": SEED, **params})
            np.testing.assert_array_equal(heard(speak(model, voice))[0], own)
        for model, voice, words in (
            ("voices/bark", "nobody", PRESET),
            ("voices/vits_speakers", "7", "0 to 2"),
            ("voices/csm", "nobody", "no such setting"),
        ):
            with pytest.raises(openai.BadRequestError, match=words) as raised:
                speak(model, voice)
            assert raised.value.param == "voice"


@pytest.mark.parametrize("name", SONGS)
def test_a_pipeline_sounds_as_the_library_has_it(server: Server, name: str) -> None:
    samples, _ = spoken(server, f"pipelines/{name}", **SONGS[name].body)
    assert_same_sound(samples, library_song(name, server.models_dir / "pipelines" / name))
