from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.video_text_to_text import TASK
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import film, gif, in_base64
from tests.builders.reference import library_model

SHORT = {"max_new_tokens": 8, "num_frames": 3}
FILM = film(7)
VIDEO = in_base64(gif(FILM))


def talk(content: Any, **params: Any) -> Any:
    return {"messages": [{"role": "user", "content": content}], "params": {**SHORT, **params}}


BLOCKS = [{"type": "video", "base64": VIDEO}, {"type": "text", "text": "What happens?"}]


@pytest.fixture
def llava(load: Load) -> Model:
    return load("llava", "image-text-to-text")


def reference(model: Model, frames: Any) -> Any:
    """The answer by the library alone, to the frames as images in their order."""
    library = library_model("AutoModelForImageTextToText", model.path)
    processor = AutoProcessor.from_pretrained(model.path)
    prompt = "<|user|>" + "<image>" * len(frames) + "What happens?<|end|><|assistant|>"
    inputs = processor(text=prompt, images=[Image.fromarray(frame) for frame in frames], return_tensors="pt")
    end = processor.tokenizer.convert_tokens_to_ids("<|end|>")
    with torch.inference_mode():
        ids = library.generate(**inputs, max_new_tokens=8, do_sample=False, eos_token_id=[2, end])[0]
    return processor.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("frames", [1, 3, 7])
def test_answer_is_the_librarys_to_frames_at_equal_distances(llava: Model, ask: Ask, frames: int) -> None:
    chosen = FILM[np.linspace(0, 6, frames).round().astype(int) if frames > 1 else [3]]
    answer = ask(TASK, llava, talk(BLOCKS, num_frames=frames))
    assert answer == {"role": "assistant", "content": [{"type": "text", "text": reference(llava, chosen)}]}


def test_text_beside_a_video_is_one_user_message(llava: Model, ask: Ask) -> None:
    answer = ask(TASK, llava, {"text": "What happens?", "video_url": VIDEO, "params": SHORT})
    assert answer["content"] == ask(TASK, llava, talk(BLOCKS))["content"][0]["text"]


def test_stream_is_the_unstreamed_text(llava: Model, ask: Ask) -> None:
    pieces: list[str] = []
    answer = ask(TASK, llava, talk(BLOCKS, max_new_tokens=60), emit=pieces.append)
    assert "".join(pieces) == answer["content"][0]["text"]
    assert len(pieces) > 1


def test_batch_answers_as_one_by_one(llava: Model, ask: Ask) -> None:
    other = [{"type": "video", "base64": in_base64(gif(film(5, seed=1)))}, BLOCKS[1]]
    bodies = [talk(BLOCKS), talk(other), talk("Hi")]
    assert ask(TASK, llava, *bodies) == [ask(TASK, llava, one) for one in bodies]


def test_wrong_params_are_named() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.num_frames"):
        read(TASK, talk("Hi", num_frames=0))
