"""Models that hear, see and speak (Qwen-Omni), whole: what they write about images and sounds, and what they say."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.tasks.image_text_to_text import TASK
from modelyard.tasks.model import Model
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask
from tests.builders.made import wav_sound
from tests.coverage.architectures import references, speaking
from tests.serving import Server

pytestmark = pytest.mark.filterwarnings("ignore")
FAMILIES = tuple(speaking.FAMILIES)
QWEN, OTHER = FAMILIES
WRITTEN = {"max_new_tokens": 6, "do_sample": False, "seed": 7}
STEP = 1 / 32767
"""Between two values of a 16-bit sample."""
Whole = tuple[Path, Any, Model]
"""A model's folder, the library's class of it, and ours."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    """Family → its model, made the first time it is asked for."""
    made: dict[str, Whole] = {}

    def find(family: str) -> Whole:
        if family not in made:
            folder = tmp_path_factory.mktemp("models") / family
            folder.mkdir()
            kind = speaking.build_whole(family, folder)
            made[family] = folder, kind, load_model("transformers", folder, TASK.heads, device="cpu")
        return made[family]

    return find


def message(kind: str) -> list[dict[str, str]]:
    """What is asked about an image or a sound."""
    media = {"type": kind, "base64": base64.b64encode(references.MEDIA[kind]).decode()}
    return [media, {"type": "text", "text": references.MESSAGE}]


def given(kind: str) -> dict[str, Any]:
    """The media as the library's processor takes them."""
    return {"images": [references.picture()]} if kind == "image" else {"audio": [references.sound(16_000)]}


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (QWEN, "audio"),
        (OTHER, "image"),
        pytest.param(QWEN, "image", marks=pytest.mark.verify(part="models")),
        pytest.param(OTHER, "audio", marks=pytest.mark.verify(part="models")),
    ],
)
def test_answer_is_written_and_said_as_the_library_does(
    whole: Callable[[str], Whole], ask: Ask, family: str, kind: str
) -> None:
    folder, library, model = whole(family)
    text, sound = speaking.say(
        library, folder, given(kind), message(kind), voice=speaking.VOICES[1], seed=7, new_tokens=6
    )
    params = {**WRITTEN, "voice": "ethan"}
    answer = ask(TASK, model, {"messages": [{"role": "user", "content": message(kind)}], "params": params})
    (block,) = answer["content"]
    assert block["text"] == text
    samples, rate = wav_sound(answer["audio"])
    assert rate == 24_000
    np.testing.assert_allclose(samples, np.clip(sound, -1, 1), atol=2 * STEP)
    assert samples.std() > 10 * STEP
    assert "audio" not in ask(TASK, model, {"text": "Hello", "params": WRITTEN})


def test_files_tell_its_task(whole: Callable[[str], Whole]) -> None:
    assert [inspect_folder(whole(family)[0]).task for family in FAMILIES] == [TASK.id] * 2


@pytest.mark.verify(part="models")
@pytest.mark.parametrize("family", FAMILIES)
def test_clients_of_each_kind_hear_it(whole: Callable[[str], Whole], shared_server: Server, family: str) -> None:
    folder, library, _ = whole(family)
    text, sound = speaking.say(
        library, folder, given("audio"), message("audio"), voice=speaking.VOICES[0], seed=7, new_tokens=6
    )
    messages = [{"role": "user", "content": message("audio")}]
    (folder.parent / "tests").mkdir()
    (folder.parent / "tests" / family).symlink_to(folder)
    with shared_server.with_models(folder.parent) as server:
        model = f"tests/{family}"
        answers = [server.run(model, messages=messages, params={**WRITTEN, "voice": "default"})["audio"]]
        body = {
            "model": model, "messages": messages, "max_tokens": 6, "temperature": 0, "seed": 7,
            "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"},
        }  # fmt: skip
        told = server.client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
        assert (told["audio"]["transcript"], told["content"]) == (text, text)
        events = server.client.post("/v1/chat/completions", json={**body, "stream": True}).text.split("\n\n")
        first = json.loads(events[0].removeprefix("data: "))["choices"][0]["delta"]
        assert first["content"] == text
        answers += [{**each["audio"], "media_type": "audio/wav"} for each in (told, first)]
    for answer in answers:
        np.testing.assert_allclose(wav_sound(answer)[0], np.clip(sound, -1, 1), atol=2 * STEP)


@pytest.mark.parametrize(
    ("wrong", "field", "accepted"),
    [
        ({"voice": "alloy"}, "voice", "default, or one of the model's voices: Chelsie, Ethan"),
        ({"stop": "."}, "stop", "not set beside voice"),
        ({"num_beams": 2}, "num_beams", "not set beside voice"),
    ],
)
def test_what_cannot_be_said_is_refused(
    whole: Callable[[str], Whole], ask: Ask, wrong: dict[str, Any], field: str, accepted: str
) -> None:
    params = {**WRITTEN, "voice": "default", **wrong}
    error = ask(TASK, whole(QWEN)[2], {"text": "Hello", "params": params})
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == f"params.{field}"
    assert accepted in error.message


def test_a_stream_carries_no_sound(whole: Callable[[str], Whole], ask: Ask) -> None:
    pieces: list[str] = []
    error = ask(TASK, whole(QWEN)[2], {"text": "Hello", "params": {"voice": "default"}}, emit=pieces.append)
    assert "a stream" in error.message
    assert not pieces


def test_one_token_is_written_and_not_said(whole: Callable[[str], Whole], ask: Ask) -> None:
    params = {**WRITTEN, "max_new_tokens": 1, "voice": "default"}
    for family in FAMILIES:
        assert "audio" not in ask(TASK, whole(family)[2], {"text": "Hello", "params": params})


def test_what_ends_with_its_first_code_is_not_said(whole: Callable[[str], Whole], ask: Ask) -> None:
    """With which the library fails."""
    params = {**WRITTEN, "voice": "ethan", "seed": 9}
    body = {"messages": [{"role": "user", "content": message("image")}], "params": params}
    assert "audio" not in ask(TASK, whole(QWEN)[2], body)


def test_nobody_waits_for_what_is_said(whole: Callable[[str], Whole], ask: Ask) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 8  # six tokens are written, then it is being said

    params = {**WRITTEN, "voice": "default"}
    body = {"messages": [{"role": "user", "content": message("audio")}], "params": params}
    answer = ask(TASK, whole(QWEN)[2], body, cancelled=cancelled)
    assert "audio" not in answer
    assert len(asked) == 9


def test_without_its_voices_it_writes_alone(whole: Callable[[str], Whole], ask: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "mute"
    folder.mkdir()
    for file in whole(QWEN)[0].iterdir():
        if file.name != "spk_dict.pt":
            (folder / file.name).symlink_to(file)
    model = load_model("transformers", folder, TASK.heads, device="cpu")
    body = {"text": "Hello", "params": WRITTEN}
    assert ask(TASK, model, body) == ask(TASK, whole(QWEN)[2], body)
    error = ask(TASK, model, {**body, "params": {**WRITTEN, "voice": "default"}})
    assert "has no spk_dict.pt" in error.message
    (folder / "spk_dict.pt").write_bytes(b"no voices")
    with pytest.raises(ModelRefused, match=r"spk_dict\.pt cannot be read as voices alone"):
        load_model("transformers", folder, TASK.heads, device="cpu")
    torch.save({"Chelsie": torch.zeros(3)}, folder / "spk_dict.pt")
    with pytest.raises(ModelRefused, match=r"holds something else than voices"):
        load_model("transformers", folder, TASK.heads, device="cpu")
