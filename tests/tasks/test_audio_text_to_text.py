from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoProcessor

from modelyard.errors import InvalidRequest
from modelyard.tasks.audio_text_to_text import TASK
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import in_base64, noise, wav
from tests.builders.reference import library_model

SHORT = {"max_new_tokens": 8}
SOUND, OTHER = noise(0.7), noise(1.4, seed=1)
HEARD = {"type": "audio", "base64": in_base64(wav(SOUND))}
ASKED = {"type": "text", "text": "What is said?"}


def talk(*contents: Any, **params: Any) -> Any:
    roles = ("user", "assistant", "user")
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return {"messages": messages, "params": {**SHORT, **params}}


@pytest.fixture
def model(load: Load) -> Model:
    return load("qwen2_audio", "multimodal-lm")


def reference(model: Model, prompt: str, sounds: Any) -> Any:
    """The answer by the library alone."""
    library = library_model("Qwen2AudioForConditionalGeneration", model.path)
    processor = AutoProcessor.from_pretrained(model.path)
    inputs = processor(text=prompt, audio=sounds, sampling_rate=16_000, return_tensors="pt")
    end = processor.tokenizer.convert_tokens_to_ids("<|end|>")
    with torch.inference_mode():
        ids = library.generate(**inputs, **SHORT, do_sample=False, eos_token_id=[2, end])[0]
    return processor.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)


MARK = "<|audio_bos|><|AUDIO|><|audio_eos|>"


def test_answer_is_what_the_library_generates(model: Model, ask: Ask) -> None:
    expected = reference(model, f"<|user|>{MARK}What is said?<|end|><|assistant|>", [SOUND])
    answer = ask(TASK, model, talk([HEARD, ASKED]))
    assert answer == {"role": "assistant", "content": [{"type": "text", "text": expected}]}
    assert expected


def test_sounds_go_where_their_blocks_are(model: Model, ask: Ask) -> None:
    other = {"type": "input_audio", "input_audio": {"data": in_base64(wav(OTHER)), "format": "wav"}}
    prompt = f"<|user|>{MARK}What is said?<|end|><|assistant|>Hi.<|end|><|user|>{MARK}<|end|><|assistant|>"
    answer = ask(TASK, model, talk([HEARD, ASKED], "Hi.", [other]))
    assert answer["content"][0]["text"] == reference(model, prompt, [SOUND, OTHER])


def test_template_that_reads_strings_gets_the_mark_for_a_sound(model: Model, ask: Ask, tmp_path: Path) -> None:
    folder = shutil.copytree(model.path, tmp_path / "strings")
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}<|assistant|>"
    )
    strings = load_model("transformers", folder, ("multimodal-lm",), device="cpu")
    answer = ask(TASK, strings, talk([HEARD, ASKED]))
    prompt = "<|user|><|AUDIO|>What is said?<|end|><|assistant|>"
    assert answer["content"][0]["text"] == reference(model, prompt, [SOUND])


def test_text_beside_a_sound_is_one_user_message(model: Model, ask: Ask) -> None:
    answer = ask(TASK, model, {"text": "What is said?", "audio_url": HEARD["base64"], "params": SHORT})
    assert answer["content"] == ask(TASK, model, talk([HEARD, ASKED]))["content"][0]["text"]


def test_stream_is_the_unstreamed_text(model: Model, ask: Ask) -> None:
    pieces: list[str] = []
    answer = ask(TASK, model, talk([HEARD, ASKED]), emit=pieces.append)
    assert "".join(pieces) == answer["content"][0]["text"]
    assert len(pieces) > 1


def test_batch_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    other = {"type": "audio", "base64": in_base64(wav(OTHER))}
    bodies = [talk([HEARD, ASKED]), talk([other, ASKED]), talk("Hi"), talk([HEARD, ASKED])]
    assert ask(TASK, model, *bodies) == [ask(TASK, model, one) for one in bodies]


def test_block_of_another_kind_is_named(model: Model, ask: Ask) -> None:
    error = ask(TASK, model, talk([{"type": "video", "base64": "AAAA"}]))
    assert error.data["field"] == "messages[0].content[0].type"


def test_wrong_params_are_named() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.top_p"):
        read(TASK, talk("Hi", top_p=2))
