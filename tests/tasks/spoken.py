"""What the library called directly says, of models that speak step by step, and when two sounds are the same."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from modelyard.media.encode import encode_wav
from modelyard.media.media import Media
from modelyard.media.sounds import decode_sound
from tests.builders.made import wav_sound
from tests.builders.reference import library_model

TEXT = "once upon a time"
SEED = 5
BEFORE = "the fox"
"""What was said before."""


def tone(rate: int, seconds: float) -> Any:
    """Its recording."""
    return (0.3 * np.sin(np.arange(int(rate * seconds)) * 880 * np.pi / rate)).astype(np.float32)


def as_heard(sound: Any, rate: int) -> Any:
    """The samples as they come out of its file."""
    return decode_sound(Media(where="sound", data=encode_wav(sound, rate)), rate)


def said_before(sound: Any, rate: int) -> list[dict[str, Any]]:
    """A message of the first speaker, with its recording, as a client sends it."""
    encoded = base64.b64encode(encode_wav(sound, rate)).decode()
    blocks = [{"type": "text", "text": BEFORE}, {"type": "audio", "base64": encoded}]
    return [{"role": "0", "content": blocks}]


def made(make: Callable[[], Any]) -> Any:
    """What the library makes with the seed of these tests."""
    with torch.inference_mode():
        torch.manual_seed(SEED)
        return make()


def bark_sound(folder: Path, voice: str | None = None, **settings: Any) -> Any:
    """Of Bark, (samples,)."""
    inputs = transformers.AutoProcessor.from_pretrained(folder)(TEXT, voice_preset=voice, max_length=16)
    library = library_model("BarkModel", folder)
    return made(lambda: library.generate(**inputs, **settings))[0]


def csm_sound(folder: Path, role: str, before: Any = None, **settings: Any) -> Any:
    """Of CSM, (samples,). `before`: the recording of what was said before."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    said = [{"type": "text", "text": BEFORE}, {"type": "audio", "audio": before}]
    conversation: list[dict[str, Any]] = [] if before is None else [{"role": "0", "content": said}]
    conversation.append({"role": role, "content": [{"type": "text", "text": TEXT}]})
    inputs = processor.apply_chat_template(conversation, tokenize=True, return_dict=True)
    library = library_model("CsmForConditionalGeneration", folder)
    return made(lambda: library.generate(**inputs, output_audio=True, **settings))[0]


def dia_sound(folder: Path, text: str, **more: Any) -> Any:
    """Of Dia, (samples,). `more`: the `audio` that the text begins with."""
    library = library_model("DiaForConditionalGeneration", folder)
    processor = transformers.DiaProcessor(
        transformers.AutoFeatureExtractor.from_pretrained(folder),
        transformers.AutoTokenizer.from_pretrained(folder),
        library_model("DacModel", folder / "audio_tokenizer"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # by the library, to itself: that lengths are where they are
        inputs = processor(text=[text], padding=True, return_tensors="pt", **more)
        before = processor.get_audio_prompt_len(inputs["decoder_attention_mask"]) if more else None
        (waveform,) = processor.batch_decode(made(lambda: library.generate(**inputs)), audio_prompt_len=before)
        return waveform


def assert_same_sound(samples: Any, expected: Any) -> None:
    """`samples` as they come out of a WAV; `expected`: the library's."""
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, np.clip(expected.float().numpy(), -1, 1), atol=2 / 32767)
    assert samples.std() > 0


def assert_answers(answer: Any, expected: Any, rate: int) -> None:
    """The same of a task's answer."""
    samples, its_rate = wav_sound(answer)
    assert its_rate == rate
    assert_same_sound(samples, expected)
