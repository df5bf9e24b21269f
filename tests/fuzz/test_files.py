"""Model folders and media that nobody wrote: each is read, or refused as what it is; nothing else is raised."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelyard.catalog.bounds import MAX_SHOWN
from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import InvalidRequest
from modelyard.media.images import decode_image
from modelyard.media.sounds import decode_sound
from modelyard.media.videos import decode_video
from tests.catalog.models import diffusers, model, sharded
from tests.media.files import counting_frames, gradient, image_file, media, sound_file, tone, video_file
from tests.properties import examples

KINDS = {"transformers": model(), "sharded": sharded(), "diffusers": diffusers()}
NAMES = [
    "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.json", "generation_config.json",
    "modules.json", "model_index.json", "variant.json", "model.safetensors.index.json", "README.md",
    "config_sentence_transformers.json", "sentence_bert_config.json",
]  # fmt: skip
KEYS = [
    "architectures", "model_type", "auto_map", "num_labels", "max_position_embeddings", "text_config", "chat_template",
    "weight_map", "metadata", "_class_name", "unet", "path", "type", "variant_of", "parameters", "id2label",
    "sentence_transformers", "activation_fn", "modality_config",
]  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=10,
)
objects = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)
contents = objects.map(lambda value: json.dumps(value).encode()) | values.map(lambda value: json.dumps(value).encode())
spoilt = st.dictionaries(st.sampled_from(NAMES), contents | st.binary(max_size=60), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed") / "model"


@examples(100)
@given(kind=st.sampled_from(sorted(KINDS)), files=spoilt)
def test_a_folder_of_any_files_is_inspected(folder: Path, kind: str, files: dict[str, bytes]) -> None:
    write(folder, {**KINDS[kind], **files})
    found = inspect_folder(folder)
    for text in (found.architecture, found.license, found.pipeline_tag, found.problem):
        assert text is None or len(text) <= MAX_SHOWN + len("...")


def write(folder: Path, files: dict[str, bytes]) -> None:
    """The files, and no other ones."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


PICTURE = Image.fromarray(gradient(17, 23))
FILES = {
    "png": image_file(PICTURE, "png"),
    "jpeg": image_file(PICTURE, "jpeg"),
    "gif": image_file(PICTURE, "gif"),
    "wav": sound_file(tone(0.1), "wav"),
    "flac": sound_file(tone(0.1), "flac"),
    "mp4": video_file(counting_frames(4)),
}
changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8)


@examples(120)
@given(kind=st.sampled_from(sorted(FILES)), changed=changes, cut=st.none() | st.integers(0, 2**16))
def test_a_damaged_file_is_decoded_or_refused(kind: str, changed: list[tuple[int, int]], cut: int | None) -> None:
    data = bytearray(FILES[kind])
    for place, value in changed:
        data[place % len(data)] = value
    whole = bytes(data if cut is None else data[: cut % len(data)])
    for decode in (decode_image, lambda each: decode_sound(each, 16_000), decode_video):
        check_decoded(decode, whole)


def check_decoded(decode: Any, data: bytes) -> None:
    with warnings.catch_warnings():
        try:
            decode(media(data))
        except InvalidRequest as error:
            refusal = str(error)
        else:
            return
    assert refusal.startswith("base64: ")
