"""A small processor of the class that the library has for a family: of images, of sounds, or of both with texts, with
the marks in its text that the class's own source writes."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES

from modelyard.worker.runtimes.processors import find_stand_in, import_processors
from tests.coverage.architectures.configs import SIZES
from tests.coverage.architectures.words import general

_MARK = re.compile(r"""["'](<[^>\s"']{2,40}>|\[[A-Z_]{2,20}\]|\|[A-Z]{2,20}\|)["']""")
_TOKEN_OF_TOKENIZER = re.compile(r"""tokenizer(?:\.|, ["'](?=\w+["'], None\)))(\w+_token)\b""")
LENGTHS = ("image_seq_length", "image_seq_len", "num_image_tokens")
"""What processors call the number of tokens that an image takes in a text."""
MOST_PIXELS = 4 * 28 * 28
"""Of an image that a processor cuts into as many patches as it has room for."""


def find_processor_class(family: str) -> Any | None:
    """The class for all of a model's inputs: as sizes.toml or the library's own table has it, the one beside the model,
    or that of the family whose name its own goes on from."""
    name = SIZES["processors"].get(family) or PROCESSOR_MAPPING_NAMES.get(family) or _processor_beside(family)
    if name is None:
        longer = [other for other in PROCESSOR_MAPPING_NAMES if family.startswith(f"{other}_")]
        name = PROCESSOR_MAPPING_NAMES[max(longer, key=len)] if longer else None
    if name is None:
        return None
    return getattr(import_processors(getattr(transformers, name).__module__), name)


def _processor_beside(family: str) -> str | None:
    package = importlib.import_module(f"transformers.models.{model_type_to_module_name(family)}")
    names = [name for name in dir(package) if name.endswith("Processor")]
    here = f"{package.__name__}.processing_"
    return next((name for name in names if getattr(package, name).__module__.startswith(here)), None)


def marks_of(kind: Any) -> tuple[list[str], dict[str, str]]:
    """Special tokens that the class's source writes, and those that it asks its tokenizer for, by attribute."""
    source = inspect.getsource(inspect.getmodule(kind))
    usual = {f"{name}_token" for name in ("bos", "eos", "pad", "unk", "cls", "sep", "mask")}
    optional = set(re.findall(r"""hasattr\(tokenizer, ["'](\w+)["']""", source))
    asked = sorted(set(_TOKEN_OF_TOKENIZER.findall(source)) - usual - optional)
    named = {name: f"<{name.removesuffix('_token')}>" for name in asked}
    return list(dict.fromkeys(_MARK.findall(source))), named


def find_image_part(family: str) -> Any | None:
    """The class that reads images for a family, or for the one whose name its own goes on from: with Pillow where the
    library can, else with torchvision where that is installed."""
    table = IMAGE_PROCESSOR_MAPPING_NAMES
    family = SIZES["image_families"].get(family, family)
    longer = sorted(filter(family.startswith, table), key=len, reverse=True)
    families = [family] if family in table else longer
    for name in families:
        named = table.get(name) or {}
        for backend in ("pil", "torchvision"):
            kind = getattr(transformers, named.get(backend) or "", None)
            if kind is not None and not getattr(kind, "is_dummy", False):
                return kind
    return None


def small_image_part(family: str, config: Any) -> Any | None:
    """It, for images of the model's own size."""
    seeing = getattr(config, "vision_config", None) or getattr(config, "encoder", None) or config
    size = side_of(seeing) or side_of(config) or SIZES["image"]
    known = IMAGE_PROCESSOR_MAPPING_NAMES.keys() | SIZES["image_families"].keys()
    named = next((name for name in (family, seeing.model_type) if name in known), family)
    kind = find_image_part(named)
    if kind is None and named in known:
        raise ImportError(f"the image processor of {family} wants torchvision")
    kind = kind or (transformers.DetrImageProcessorPil if "detr" in family else transformers.ViTImageProcessorPil)
    fields: dict[str, Any] = dict(SIZES["image_parts"].get(family, {}))
    usual = kind(**fields)
    for name in ("size", "crop_size", "max_image_size"):
        value = getattr(usual, name, None)
        if value and not isinstance(value, int):
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
    if getattr(usual, "image_grid_pinpoints", None) and hasattr(config, "image_grid_pinpoints"):
        fields["image_grid_pinpoints"] = config.image_grid_pinpoints
    fields |= SIZES["image_parts"].get(family, {})  # which has the last word
    part, patch = kind(**fields), getattr(seeing, "patch_size", None)
    if isinstance(patch, int):
        part.image_seq_length = getattr(config, "mm_tokens_per_image", (size // patch) ** 2)
    return part


def small_video_part(family: str, reads: Collection[str], config: Any) -> Any | None:
    """What reads videos for a model that reads nothing else of the kind, for videos of its own size.

    Raises ImportError without torchvision, with which alone the library scales videos.
    """
    family = max((name for name in VIDEO_PROCESSOR_MAPPING_NAMES if family.startswith(name)), key=len, default="")
    if not family or "pixel_values_videos" not in reads or "pixel_values" in reads:
        return None
    name = (VIDEO_PROCESSOR_MAPPING_NAMES[family] or {}).get("torchvision")
    if name is None:
        raise ImportError(f"the video processor of {family} wants torchvision")
    kind = getattr(transformers, name)
    seeing = getattr(config, "vision_config", None) or config
    size = side_of(seeing) or getattr(seeing, "crop_size", None) or SIZES["image"]
    return kind(size={"height": size, "width": size}, crop_size={"height": size, "width": size})


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
    parts = (getattr(config, name, None) for name in ("audio_config", "encoder_config", "encoder"))
    hearing = next(filter(None, parts), config)
    hearing = getattr(hearing, "asr_config", hearing)
    table = FEATURE_EXTRACTOR_MAPPING_NAMES
    longest = max((name for name in table if family.startswith(name)), key=len, default="")
    usual = "WhisperFeatureExtractor" if banded else "Wav2Vec2FeatureExtractor"
    named = (SIZES["sound_parts"].get(family), *map(table.get, (family, longest, getattr(hearing, "model_type", ""))))
    kind = find_sound_part(next(filter(None, named), usual))
    bands = getattr(hearing, "num_mel_bins", None) or getattr(config, "num_mel_bins", None)
    takes = inspect.signature(kind.__init__).parameters
    return kind(**{each: bands for each in ("feature_size", "num_mel_bins") if bands and banded and each in takes})


def find_sound_part(name: str) -> Any:
    """The library's class of that name; ours in its place where it wants torchaudio, which is not installed."""
    return find_stand_in(name) or getattr(transformers, name)


def small_processor(family: str, config: Any, parts: dict[str, Any], length: int | None = None) -> Any:
    """The whole of it from its parts. What its class takes besides is read from the model's config by name.

    `length`: of an image in a text, where the model itself has said so.
    """
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
        for name in LENGTHS:
            if name in takes and name not in vars(config):
                given[name] = getattr(config, "mm_tokens_per_image", (side // patch) ** 2)
        if "img_size" in takes:
            given["img_size"] = side
    if length is not None:
        given |= {name: length for name in LENGTHS if name in takes}
        parts["image_processor"].image_seq_length = length
    if "vision_feature_select_strategy" in takes:
        given.setdefault("vision_feature_select_strategy", "default")
    if "num_additional_image_tokens" in takes:
        given["num_additional_image_tokens"] = 1
    given |= SIZES["processor_fields"].get(family, {})
    given |= {name: general() for name in takes if name.endswith("_tokenizer") and name != "audio_tokenizer"}
    if "video_processor" in takes:
        given["video_processor"] = parts.get("video_processor")
    if "image_processor" in takes:
        given.setdefault("image_processor", None)  # of a model that is asked about sounds
    unchecked = type(kind.__name__, (kind,), {"check_argument_for_proper_class": lambda _self, _name, part: type(part)})
    return unchecked(**given)


def save_processor(processor: Any, parts: dict[str, Any], folder: Path) -> None:
    """Writes what `save_pretrained` would, also where a part is missing that the library insists on."""
    nested = {"image_processor", "feature_extractor"} <= parts.keys()  # which have one file between them
    for name, part in parts.items():
        if name == "tokenizer" or not nested:
            part.save_pretrained(folder)
    if processor is not None:
        for name, part in vars(processor).items():
            if name.endswith("_tokenizer") and hasattr(part, "save_pretrained"):
                part.save_pretrained(folder / name)
        takes = inspect.signature(type(processor).__mro__[1].__init__).parameters
        stated = {name: value for name, value in vars(processor).items() if isinstance(value, int | str | float)}
        settings = {name: value for name, value in stated.items() if name in takes}
        settings["processor_class"] = type(processor).__name__
        if nested:
            settings |= {name: json.loads(part.to_json_string()) for name, part in parts.items() if name != "tokenizer"}
        (folder / "processor_config.json").write_text(json.dumps(settings))
