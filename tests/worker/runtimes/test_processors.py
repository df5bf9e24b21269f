"""Tokenizers and processors in the forms that published repositories have them in."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as library
from PIL import Image

from modelyard.errors import ModelRefused
from modelyard.tasks.chat import TASK as CHAT
from modelyard.tasks.image_text_to_text import TASK as IMAGE_TEXT_TO_TEXT
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.processors import import_processors, load_parts
from tests.builders.multimodal import BLOCK_TEMPLATE, talker
from tests.builders.pictures import picture
from tests.builders.recordings import in_base64, png
from tests.builders.recordings import picture as recorded
from tests.builders.reference import library_model

HELLO = {"messages": [{"role": "user", "content": "hello"}], "params": {"max_new_tokens": 8, "do_sample": False}}


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def move_template(folder: Path) -> None:
    """Puts a tokenizer's template where processors used to have theirs."""
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))


def processor_of(folder: Path, config: Any) -> Any:
    return load_parts(folder, "image-text-to-text", config, remote_code=False)[1]


def test_a_language_model_may_have_its_template_in_a_file_of_its_own(
    model_folder: Callable[[str], Path], ask: Callable[..., Any], tmp_path: Path
) -> None:
    usual, moved = model_folder("llama_chat"), copied(model_folder("llama_chat"), tmp_path / "moved")
    move_template(moved)

    answers = [
        ask(CHAT, load_model("transformers", folder, ("causal-lm",), device="cpu"), HELLO) for folder in (usual, moved)
    ]

    assert answers[0] == answers[1]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"chat_template": 7}'])
def test_a_template_file_without_a_template_is_named(
    model_folder: Callable[[str], Path], tmp_path: Path, content: str
) -> None:
    folder = copied(model_folder("llama_chat"), tmp_path / "odd")
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(content)

    with pytest.raises(ModelRefused, match=r"odd's chat_template\.json holds no template"):
        load_model("transformers", folder, ("causal-lm",), device="cpu")


def test_a_processor_without_its_part_for_videos_has_its_template_too(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    usual, moved = model_folder("qwen2_vl"), copied(model_folder("qwen2_vl"), tmp_path / "moved")
    move_template(moved)
    config = library.AutoConfig.from_pretrained(usual)

    templates = [processor_of(folder, config).chat_template for folder in (usual, moved)]

    assert templates[0] == templates[1] is not None


def test_the_processor_that_the_files_name_is_the_one(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """As repositories have it whose model was tuned from another family's."""
    folder = copied(model_folder("qwen2_vl"), tmp_path / "named")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "processor_class": "Qwen2_5_VLProcessor"}))

    processor = processor_of(folder, library.AutoConfig.from_pretrained(folder))

    assert type(processor).__name__ == "Qwen2_5_VLProcessor"


def test_a_model_that_talks_of_images_never_gets_the_part_for_images_alone(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Where the processor that the files name cannot be had, here for want of torchaudio, the part for images can."""
    folder = copied(model_folder("llava"), tmp_path / "whole")
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "MusicgenMelodyProcessor"}))
    library.CLIPImageProcessorPil().save_pretrained(folder)

    with pytest.raises(ModelRefused, match="whole's processor cannot be loaded: MusicgenMelodyProcessor requires"):
        processor_of(folder, library.AutoConfig.from_pretrained(folder))


def test_smolvlm_counts_its_frames_in_words(tmp_path: Path) -> None:
    """Its processor wants num2words and a part for videos."""
    library.SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}).save_pretrained(
        tmp_path
    )
    talker("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>").save_pretrained(tmp_path)
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": BLOCK_TEMPLATE}))

    processor = processor_of(tmp_path, library.SmolVLMConfig())

    encoded = processor(images=[[picture()]], text=["<image> hello"], return_tensors="np")
    assert encoded["pixel_values"].ndim == 5
    assert processor.chat_template == BLOCK_TEMPLATE


@pytest.mark.parametrize(("family", "kind"), [("mistral3", "PixtralProcessor"), ("glm_ocr", "Glm46VProcessor")])
def test_what_is_seen_without_torchvision_is_described_as_by_the_library(
    load: Callable[[str, str], Any], ask: Callable[..., Any], family: str, kind: str
) -> None:
    model = load(family, "image-text-to-text")
    assert type(model.processor).__name__ == kind
    seen = [{"type": "image", "base64": in_base64(png(recorded(seed=0)))}, {"type": "text", "text": "What is it?"}]
    params = {"max_new_tokens": 8, "do_sample": False}
    bodies = [{"messages": [{"role": "user", "content": content}], "params": params} for content in (seen, "hello")]

    template = model.processor.apply_chat_template([{"role": "user", "content": seen}], add_generation_prompt=True)
    arrays = model.processor(text=[template], images=[Image.fromarray(recorded(seed=0))], return_tensors="np")
    inputs = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
    ends = [2, model.tokenizer.convert_tokens_to_ids("<|end|>")]
    ids = library_model("AutoModelForImageTextToText", model.path).generate(**inputs, **params, eos_token_id=ends)[0]
    written = model.tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    answers = [ask(IMAGE_TEXT_TO_TEXT, model, body) for body in bodies]
    assert answers[0]["content"] == [{"type": "text", "text": written}]
    assert written
    assert ask(IMAGE_TEXT_TO_TEXT, model, *bodies) == answers


def test_the_stand_in_for_torchvision_is_taken_away_again() -> None:
    import_processors("transformers.models.pixtral.processing_pixtral")
    assert "transformers.models.pixtral.image_processing_pixtral" not in sys.modules
