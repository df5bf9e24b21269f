"""OpenAI's own client with sounds and images: transcriptions, speech, generations, edits, parts of conversations."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from modelyard.tasks.registry import get_task
from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server

openai = Later("openai")

SPEECH = "tasks/automatic-speech-recognition"
VOICE, PAINTER, CHANGER = "tasks/text-to-speech", "tasks/text-to-image", "tasks/image-to-image"
CONTAINERS = {"mp3": "mp3", "opus": "ogg", "aac": "aac", "flac": "flac", "wav": "wav"}
"""The form of a sound, and what it is read as: a few frames of AAC by themselves are not recognised."""
STEPS = {"num_inference_steps": 1}


@pytest.fixture
def client(dev_server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{dev_server.url}/v1", api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:
        yield client


def example(task: str) -> str:
    """The base64 of the media in the task's example."""
    return str(get_task(task).example["base64"]).rpartition(",")[2]


@pytest.fixture
def sound() -> tuple[str, bytes]:
    return "speech.wav", base64.b64decode(example("automatic-speech-recognition"))


@pytest.fixture
def expected(dev_server: Server) -> Any:
    """What v2 writes down, with the times of its parts."""
    return dev_server.run(SPEECH, base64=example("automatic-speech-recognition"), params={"return_timestamps": True})


def test_speech_is_written_down_in_every_format(
    dev_server: Server, client: openai.OpenAI, sound: tuple[str, bytes], expected: Any
) -> None:
    plain = dev_server.run(SPEECH, base64=example("automatic-speech-recognition"))
    assert client.audio.transcriptions.create(model=SPEECH, file=sound).text == plain
    text = client.audio.transcriptions.create(model=SPEECH, file=sound, response_format="text")
    assert str(text).strip() == plain.strip()

    verbose = client.audio.transcriptions.create(model=SPEECH, file=sound, response_format="verbose_json")
    assert (verbose.text, verbose.language) == (expected["text"], expected["language"])
    assert [(each.start, each.end, each.text) for each in verbose.segments or ()] == [
        (*each["timestamp"], each["text"]) for each in expected["chunks"]
    ]
    words = client.audio.transcriptions.create(
        model=SPEECH, file=sound, response_format="verbose_json", timestamp_granularities=["word"], prompt="Angela"
    )
    told = {"return_timestamps": "word", "prompt": "Angela"}
    said = dev_server.run(SPEECH, base64=example("automatic-speech-recognition"), params=told)
    assert [(each.start, each.end, each.word) for each in words.words or ()] == [
        (*each["timestamp"], each["text"].strip()) for each in said["chunks"]
    ]
    for name, begin in (("srt", "1\n00:00:"), ("vtt", "WEBVTT")):
        subtitles = str(client.audio.transcriptions.create(model=SPEECH, file=sound, response_format=name))
        assert subtitles.startswith(begin if expected["chunks"] or name == "vtt" else "")
        assert subtitles.count(" --> ") == len(expected["chunks"])


def test_speech_is_written_down_as_events(dev_server: Server, client: openai.OpenAI, sound: tuple[str, bytes]) -> None:
    events = list(client.audio.transcriptions.create(model=SPEECH, file=sound, stream=True))
    plain = dev_server.run(SPEECH, base64=example("automatic-speech-recognition"))

    assert {each.type for each in events[:-1]} <= {"transcript.text.delta"}
    assert "".join(each.delta for each in events[:-1]) == plain  # type: ignore[union-attr]
    assert (events[-1].type, events[-1].text) == ("transcript.text.done", plain)  # type: ignore[union-attr]


def test_what_a_transcription_cannot_do_is_named(client: openai.OpenAI, sound: tuple[str, bytes]) -> None:
    for wrong, param in (
        ({"prompt": "said <|en|> before"}, "prompt"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"stream": True, "response_format": "srt"}, "response_format"),
        ({"model": VOICE}, "model"),
        ({"file": ("a.wav", b"RIFFnothing")}, "file"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ):
        given: dict[str, Any] = {"model": SPEECH, "file": sound, **wrong}
        with pytest.raises(openai.BadRequestError) as raised:
            client.audio.transcriptions.create(**given)
        assert raised.value.param == param


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_text_is_read_aloud(client: openai.OpenAI, name: Any) -> None:
    made = client.audio.speech.create(model=VOICE, input="hello", voice="alloy", response_format=name).read()

    with av.open(io.BytesIO(made), format=CONTAINERS[name]) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 0


def test_speech_as_bare_samples_and_what_it_cannot_do(dev_server: Server, client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model=VOICE, input="hello", voice="alloy", response_format="pcm"
    ) as told:
        assert len(np.frombuffer(b"".join(told.iter_bytes()), "<i2")) > 0
    for wrong, param in (({"voice": "nobody"}, "voice"), ({"speed": 9}, "speed"), ({"input": ""}, "input"),
                         ({"instructions": "sadly"}, "instructions")):  # fmt: skip
        with pytest.raises(openai.BadRequestError) as raised:
            client.audio.speech.create(**{"model": VOICE, "input": "hello", "voice": "alloy", **wrong})  # type: ignore
        assert raised.value.param == param


def test_images_are_made_at_a_url_or_in_base64(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": PAINTER, "prompt": "a cat", "size": "32x32", "extra_body": {**STEPS, "seed": 1}}
    (by_url,) = client.images.generate(**asked).data or ()
    (itself,) = client.images.generate(**asked, response_format="b64_json").data or ()

    fetched = httpx.get(str(by_url.url), timeout=REQUEST_S)
    assert fetched.headers["content-type"] == "image/png"
    assert base64.b64decode(itself.b64_json or "") == fetched.content
    assert Image.open(io.BytesIO(fetched.content)).size == (32, 32)
    for wrong, param in (({"n": 2}, "n"), ({"size": "large"}, "size"), ({"size": "7x8"}, "size"),
                         ({"quality": "hd"}, "quality"), ({"model": VOICE}, "model")):  # fmt: skip
        with pytest.raises(openai.BadRequestError) as raised:
            client.images.generate(**{**asked, **wrong})
        assert raised.value.param == param


def test_an_image_is_changed(dev_server: Server, client: openai.OpenAI) -> None:
    image = ("image.png", base64.b64decode(example("image-to-image")))
    settings = {"num_inference_steps": 2, "seed": 1, "strength": 0.9}
    (made,) = (
        client.images.edit(
            model=CHANGER, image=image, prompt="a dog", response_format="b64_json", extra_body=settings
        ).data
        or ()
    )
    expected = dev_server.post(
        CHANGER, base64=example("image-to-image"), text="a dog", params=settings, json=False
    ).content

    assert base64.b64decode(made.b64_json or "") == expected
    with pytest.raises(openai.BadRequestError, match="mask"):  # this model fills nothing in
        client.images.edit(model=CHANGER, image=image, mask=image, prompt="a dog", extra_body=settings)


def test_conversations_have_images_and_sounds(dev_server: Server, client: openai.OpenAI) -> None:
    greedy = {"max_new_tokens": 6, "do_sample": False}
    parts: dict[str, list[Any]] = {
        "image-text-to-text": [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{example('image-classification')}"}},
            {"type": "text", "text": "what is it?"},
        ],
        "audio-text-to-text": [
            {"type": "input_audio", "input_audio": {"data": example("audio-classification"), "format": "wav"}},
            {"type": "text", "text": "what is it?"},
        ],
    }
    for task, content in parts.items():
        messages: list[Any] = [{"role": "user", "content": content}]
        answer = client.chat.completions.create(model=f"tasks/{task}", messages=messages, max_tokens=6, temperature=0)
        (block,) = dev_server.run(f"tasks/{task}", messages=messages, params=greedy)["content"]
        assert answer.choices[0].message.content == block["text"]
