"""A small processor of the class that the library has for a family: of images, of sounds, or of both with texts, with
the marks in its text that the class's own source writes."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from tests.coverage.architectures.configs import SIZES

_MARK = re.compile(r"""["'](<[^>\s"']{2,40}>|\[[A-Z_]{2,20}\]|\|[A-Z]{2,20}\|)["']""")
_TOKEN_OF_TOKENIZER = re.compile(r"tokenizer\.(\w+_token)\b")
MOST_PIXELS = 4 * 28 * 28
"""Of an image that a processor cuts into as many patches as it has room for."""


def find_processor_class(family: str) -> Any | None:
    """The class for all of a model's inputs, as the library's own table has it."""
    name = PROCESSOR_MAPPING_NAMES.get(family)
    if name is None:
        return None
    module = getattr(transformers, name).__module__
    return getattr(__import__(module, fromlist=[name]), name)


def marks_of(kind: Any) -> tuple[list[str], dict[str, str]]:
    """Special tokens that the class's source writes, and those that it asks its tokenizer for, by attribute."""
    source = inspect.getsource(inspect.getmodule(kind))
    usual = {f"{name}_token" for name in ("bos", "eos", "pad", "unk", "cls", "sep", "mask")}
    optional = set(re.findall(r"""hasattr\(tokenizer, ["'](\w+)["']""", source))
    asked = sorted(set(_TOKEN_OF_TOKENIZER.findall(source)) - usual - optional)
    named = {name: f"<{name.removesuffix('_token')}>" for name in asked}
    return list(dict.fromkeys(_MARK.findall(source))), named


def find_image_part(family: str) -> Any | None:
    """The class that reads images for a family, or for the one whose name its own goes on from; without torchvision."""
    families = [family, *sorted((name for name in IMAGE_PROCESSOR_MAPPING_NAMES if family.startswith(name)), key=len)]
    for name in (families[0], *reversed(families[1:])):
        named = IMAGE_PROCESSOR_MAPPING_NAMES.get(name) or {}
        kind = getattr(transformers, named.get("pil") or "", None)
        if kind is not None:
            return kind
    return None


def small_image_part(family: str, config: Any) -> Any | None:
    """It, for images of the model's own size."""
    seeing = getattr(config, "vision_config", None) or getattr(config, "encoder", None) or config
    size = side_of(seeing) or side_of(config) or SIZES["image"]
    kind = find_image_part(family) or find_image_part(seeing.model_type)
    if kind is None and {family, seeing.model_type} & IMAGE_PROCESSOR_MAPPING_NAMES.keys():
        raise ImportError(f"the image processor of {family} wants torchvision")
    kind = kind or (transformers.DetrImageProcessorPil if "detr" in family else transformers.ViTImageProcessorPil)
    usual = kind()
    fields: dict[str, Any] = {}
    for name in ("size", "crop_size", "max_image_size"):
        value = getattr(usual, name, None)
        if value:
            fields[name] = _small_size(dict(value), size)
    for name in ("patch_size", "temporal_patch_size"):
        value = getattr(seeing, name, None)
        if isinstance(value, int) and isinstance(getattr(usual, name, None), int):
            fields[name] = value
    if hasattr(usual, "merge_size") and isinstance(getattr(seeing, "spatial_merge_size", None), int):
        fields["merge_size"] = seeing.spatial_merge_size
    for name, value in (("min_pixels", MOST_PIXELS // 4), ("max_pixels", MOST_PIXELS)):
        if getattr(usual, name, None):
            fields[name] = value
    part, patch = kind(**fields), getattr(seeing, "patch_size", None)
    if isinstance(patch, int):
        part.image_seq_length = getattr(config, "mm_tokens_per_image", (size // patch) ** 2)
    return part


def side_of(config: Any) -> int | None:
    """The width of the images that a model reads, where its config says so."""
    size = getattr(config, "image_size", None)
    size = max(size) if isinstance(size, list | tuple) else size
    return size if isinstance(size, int) else None


def _small_size(usual: dict[str, Any], size: int) -> dict[str, int]:
    usual = {name: value for name, value in usual.items() if value}
    if max(usual.values()) > 10_000:  # pixels in all, not on a side
        return {"shortest_edge": MOST_PIXELS // 4, "longest_edge": MOST_PIXELS}
    return dict.fromkeys(usual, size)


def small_sound_part(family: str, config: Any, *, banded: bool) -> Any:
    """What reads sounds for a family, for as many bands as its model reads. Of a family that the library's table lacks,
    Whisper's where the model reads bands, else Wav2Vec2's."""
    hearing = getattr(config, "audio_config", None) or getattr(config, "encoder", None) or config
    table = FEATURE_EXTRACTOR_MAPPING_NAMES
    longest = max((name for name in table if family.startswith(name)), key=len, default="")
    usual = "WhisperFeatureExtractor" if banded else "Wav2Vec2FeatureExtractor"
    name = table.get(family) or table.get(longest) or table.get(getattr(hearing, "model_type", "")) or usual
    kind = getattr(transformers, name)
    bands = getattr(hearing, "num_mel_bins", None) or getattr(config, "num_mel_bins", None)
    takes = inspect.signature(kind.__init__).parameters
    return kind(**{each: bands for each in ("feature_size", "num_mel_bins") if bands and banded and each in takes})


def small_processor(family: str, config: Any, parts: dict[str, Any]) -> Any:
    """The whole of it from its parts. What its class takes besides is read from the model's config by name."""
    kind = find_processor_class(family)
    takes = inspect.signature(kind.__init__).parameters
    given = {name: part for name, part in parts.items() if name in takes}
    seeing = getattr(config, "vision_config", None) or config
    for name in takes:
        found = next((getattr(each, name) for each in (config, seeing) if hasattr(each, name)), None)
        if name not in given and isinstance(found, int | str):
            given[name] = found
    side, patch = side_of(seeing), getattr(seeing, "patch_size", None)
    if isinstance(side, int) and isinstance(patch, int):
        for name in ("image_seq_length", "image_seq_len"):
            if name in takes and name not in vars(config):
                given[name] = getattr(config, "mm_tokens_per_image", (side // patch) ** 2)
    if "num_additional_image_tokens" in takes:
        given["num_additional_image_tokens"] = 1
    if "video_processor" in takes:
        given["video_processor"] = None
    unchecked = type(kind.__name__, (kind,), {"check_argument_for_proper_class": lambda _self, _name, part: type(part)})
    return unchecked(**given)


def save_processor(processor: Any, parts: dict[str, Any], folder: Path) -> None:
    """Writes what `save_pretrained` would, also where a part is missing that the library insists on."""
    for part in parts.values():
        part.save_pretrained(folder)
    if processor is not None:
        takes = inspect.signature(type(processor).__mro__[1].__init__).parameters
        stated = {name: value for name, value in vars(processor).items() if isinstance(value, int | str | float)}
        settings = {name: value for name, value in stated.items() if name in takes}
        settings["processor_class"] = type(processor).__name__
        (folder / "processor_config.json").write_text(json.dumps(settings))
