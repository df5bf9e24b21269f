"""Families that hear, tiny and random, over HTTP: each answers as the library does that is asked directly."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import build, hearing
from tests.builders.recordings import in_base64, noise, wav
from tests.coverage import architectures
from tests.serving import Server

pytestmark = [pytest.mark.verify(part="models"), pytest.mark.filterwarnings("ignore")]

FAMILIES = {
    "audioflamingo3": "AudioFlamingo3ForConditionalGeneration",
    "musicflamingo": "MusicFlamingoForConditionalGeneration",
    "glmasr": "GlmAsrForConditionalGeneration",
    "moss_transcribe_diarize": "MossTranscribeDiarizeForConditionalGeneration",
    "phi4_multimodal": "Phi4MultimodalForCausalLM",
    "nemo_speechlm": "Nemotron3_5TranscribeForConditionalGeneration",
    "qwen3_asr": "Qwen3ASRForConditionalGeneration",
    "granite_speech": "GraniteSpeechForConditionalGeneration",
    "granite_speech5_ctc": "GraniteSpeech5ForCTC",
    "fun_asr_nano": "FunAsrNanoForConditionalGeneration",
    "canary": "CanaryForConditionalGeneration",
    "qwen2_5_omni_thinker": "Qwen2_5OmniThinkerForConditionalGeneration",
    "parakeet_ctc": "ParakeetForCTC",
    "parakeet_rnnt": "ParakeetForRNNT",
    "parakeet_tdt": "ParakeetForTDT",
    "nemotron_asr_streaming": "NemotronAsrStreamingForRNNT",
    "nemotron3_5_asr": "Nemotron3_5AsrForRNNT",
}
"""Family → its class."""
VOXTRAL, REALTIME = "tests/voxtral", "tests/voxtral_realtime"
Expected = dict[str, tuple[str, Any]]
"""Family → the task that it is asked, and the library's answer."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    """A models folder, and what the library answers with each model in it."""
    architectures.preload()
    cases = {(case.family, case.name): case for case in architectures.list_cases()}
    models = tmp_path_factory.mktemp("models")
    build("voxtral", models / VOXTRAL)
    build("voxtral_realtime", models / REALTIME)
    return models, {
        family: architectures.build_answered(cases[family, name], models / "tests" / family)
        for family, name in FAMILIES.items()
    }


@pytest.fixture(scope="module")
def server(shared_server: Server, expected: tuple[Path, Expected]) -> Iterator[Server]:
    with shared_server.with_models(expected[0]) as running:
        yield running


@pytest.mark.parametrize("family", FAMILIES)
def test_it_answers_as_the_library_does(server: Server, expected: tuple[Path, Expected], family: str) -> None:
    from tests.coverage.architectures import comparison, references

    task, answer = expected[1][family]
    body = {**references.BODIES[task], "base64": base64.b64encode(references.MEDIA["audio"]).decode()}
    if task == "image-text-to-text":
        body["base64"] = base64.b64encode(references.MEDIA["image"]).decode()

    output = comparison.comparable(task, server.run(f"tests/{family}", **body))

    assert comparison.find_difference(output, answer) == ""


def test_voxtral_answers_as_the_library_does(server: Server, expected: tuple[Path, Expected]) -> None:
    """Whose conversations the library leaves to mistral-common: these tokens are what that makes of one."""
    sound, asked = noise(0.7), [hearing.VOXTRAL_SPECIALS + byte for byte in b"What?"]
    ids = [1, 3, 25, *[24] * 375, *asked, 4]
    settings = {"max_new_tokens": 8, "do_sample": False}
    answer = hearing.voxtral_writes(expected[0] / VOXTRAL, sound, ids, **settings)

    output = server.run(VOXTRAL, text="What?", base64=in_base64(wav(sound)), params=settings)

    assert output["content"] == answer


def test_voxtral_realtime_writes_until_the_sound_ends(server: Server, expected: tuple[Path, Expected]) -> None:
    sound = noise(0.7)
    answer = hearing.voxtral_realtime_writes(expected[0] / REALTIME, sound)

    assert server.run(REALTIME, base64=in_base64(wav(sound)), params={"do_sample": False}) == answer
