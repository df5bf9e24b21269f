"""Tokenizers and processors as a folder holds them, for every runtime that reads such folders. Imports no torch.

Images are scaled with Pillow wherever the library can, so that the same model gives the same answer with and without
torchvision, which not every machine has. Without it the library refuses to load some processors because a part of them
wants it. Where that part reads videos, which tasks here show as frames, or is for speed alone, the rest is put together
by hand.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import transformers
from transformers import AutoTokenizer, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.utils.generic import is_timm_local_checkpoint

from modelyard.errors import ModelRefused
from modelyard.tasks.base import Head
from modelyard.worker.runtimes.chat_templates import limit_template
from modelyard.worker.runtimes.failures import first_line

TEXT_HEADS: frozenset[Head] = frozenset(
    {
        "causal-lm", "seq2seq-lm", "masked-lm", "sequence-classification", "token-classification",
        "question-answering",
    }
)  # fmt: skip
"""Heads that read text alone: the folder's processor, if it has one, is of no use to them."""

IMAGE_HEADS: frozenset[Head] = frozenset(
    {
        "image-classification", "object-detection", "image-segmentation", "semantic-segmentation",
        "instance-segmentation", "universal-segmentation", "depth-estimation", "mask-generation",
        "concept-segmentation", "zero-shot-image-classification", "zero-shot-object-detection",
    }
)  # fmt: skip
"""Heads that cannot do without the folder's image processor."""

_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
_NAMING_FILES = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "merges.txt", "*.model", "tekken.json",
)  # fmt: skip
TOKENIZER = {"mistral_format": False}
"""How tokenizers are loaded: by the library's own means, also where mistral-common is installed, whose tokenizers know
nothing of templates and special tokens."""

FEWEST_WORDS = 3
"""Beside its special tokens, of any vocabulary. Tokenizers that the library makes of nothing have up to two; those of
DNA, which are the smallest, four."""

_PARTS = {
    "image_processor": "AutoImageProcessor",
    "feature_extractor": "AutoFeatureExtractor",
    "audio_processor": "AutoFeatureExtractor",
    "tokenizer": "AutoTokenizer",
}

HEARING_HEADS: frozenset[Head] = frozenset({"multimodal-lm", "seq2seq-lm", "speech-seq2seq"})
"""Heads under which a model that also sees may be loaded to be asked about sounds alone."""

STAND_INS = {
    "FunAsrNanoFeatureExtractor": "kaldi_features.FunAsrNanoFeatureExtractor",
    "GraniteSpeech5FeatureExtractor": "granite_features.GraniteSpeech5FeatureExtractor",
    "GraniteSpeechFeatureExtractor": "granite_features.GraniteSpeechFeatureExtractor",
    "VoxtralProcessor": "voxtral_processor.VoxtralProcessor",
    "VoxtralRealtimeProcessor": "voxtral_realtime_processor.VoxtralRealtimeProcessor",
}
"""Parts of the library that want one more library → ours that do the same without it, in this folder."""


def load_parts(path: Path, head: str, config: Any, *, remote_code: bool) -> tuple[Any | None, Any | None]:
    """The folder's tokenizer and processor, each as far as a model under `head` has one, with limited chat templates.

    Raises ModelRefused when the head needs one that the folder lacks, and what the library raises.
    """
    processor = find_processor(path, head, config, remote_code=remote_code) if reads_media(head, config) else None
    if processor is None and head in IMAGE_HEADS:
        raise ModelRefused(
            f"{path.name} has no preprocessor_config.json, so nothing says how it wants images scaled.", path=str(path)
        )
    tokenizer = None
    if processor is None or has_tokenizer(path):
        tokenizer = AutoTokenizer.from_pretrained(
            path, config=config, local_files_only=True, trust_remote_code=remote_code, **TOKENIZER
        )
        refuse_without_words(tokenizer, path)
    for part in (tokenizer, processor):
        if part is not None and hasattr(part, "apply_chat_template"):
            part.chat_template = part.chat_template or read_template(path)
            limit_template(part)
    return tokenizer, processor


def reads_media(head: str, config: Any) -> bool:
    """Whether a model under `head` may read more than text. The library lists some that hear as seq2seq-lm alone."""
    return head not in TEXT_HEADS or (head == "seq2seq-lm" and getattr(config, "audio_config", None) is not None)


def read_template(path: Path) -> str | None:
    """The template in `chat_template.json`, which the library reads for some processors only. Raises ModelRefused."""
    file = path / "chat_template.json"
    if not file.exists():
        return None
    try:
        template = json.loads(file.read_text(encoding="utf-8"))["chat_template"]
    except (ValueError, KeyError, TypeError):
        template = None
    if not isinstance(template, str):
        raise ModelRefused(f"{path.name}'s chat_template.json holds no template.", path=str(path))
    return template


def find_class_name(path: Path, config: Any) -> str | None:
    """The processor that the folder's files name, else the one of models of this type; None where there is none."""
    stored = (json.loads((path / name).read_text("utf-8")) for name in _NAMING_FILES if (path / name).exists())
    said = next((str(each["processor_class"]) for each in stored if each.get("processor_class")), None)
    return said if hasattr(transformers, said or "") else PROCESSOR_MAPPING_NAMES.get(config.model_type)


def assemble(path: Path, name: str, *, without: frozenset[str] = frozenset({"video_processor"})) -> Any:
    """A processor of that class from its parts in the folder, but for those of `without`.

    Local files and the library's own code only. Raises what the library raises when another part cannot be loaded.
    """
    kind = find_stand_in(name) or find_class(name)
    if not issubclass(kind, ProcessorMixin):
        raise TypeError(f"{name} is no processor")
    accepted = inspect.signature(kind.__init__).parameters
    settings = read_settings(path, frozenset(accepted))
    parts = {part: load_part(path, part) for part in _PARTS if part in accepted and part not in without}
    # The library checks that each part is one of its own, and for that imports what is not there.
    own: dict[str, Any] = {"check_argument_for_proper_class": lambda _self, _name, part: type(part)}
    parts.update(dict.fromkeys(without & accepted.keys()))
    if "video_processor" in accepted:
        own["apply_chat_template"] = ProcessorMixin.apply_chat_template  # SmolVLM's asks the part that is missing
    unchecked = type(kind.__name__, (kind,), own)
    if "chat_template" in accepted:
        settings["chat_template"] = getattr(parts.get("tokenizer"), "chat_template", None) or read_template(path)
    return unchecked(**{**settings, **parts})


def find_class(name: str) -> Any:
    """The library's class of processors `name`, also where under that name in the library is one that only raises, for
    want of what is not installed. Raises ImportError."""
    return getattr(import_processors(getattr(transformers, name).__module__), name)


def load_part(path: Path, part: str) -> Any:
    """One part of the folder's processor; ours where the library's wants torchaudio. Raises what the library raises."""
    auto = _PARTS[part]
    try:
        more = TOKENIZER if part == "tokenizer" else {}
        return getattr(transformers, auto).from_pretrained(path, local_files_only=True, **more)
    except ImportError:
        if auto != "AutoFeatureExtractor":
            raise
        stored, _ = transformers.FeatureExtractionMixin.get_feature_extractor_dict(path, local_files_only=True)
        kind = find_stand_in(str(stored.pop("feature_extractor_type", "")))
        if kind is None:
            raise
    return kind(**stored)


def find_stand_in(name: str | None) -> Any | None:
    """Our class in place of the library's class `name`; None for one that is used as it is."""
    module, _, kind = STAND_INS.get(name or "", "").partition(".")
    return getattr(importlib.import_module(f"modelyard.worker.runtimes.{module}"), kind) if module else None


def import_processors(module: str) -> ModuleType:
    """The library's module `module` of processors. Where it takes a function from what scales images with torchvision,
    as Pixtral's does, the same function of what scales them with Pillow stands for it. Raises ImportError."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
    family = module.rpartition(".processing_")
    absent = f"{family[0]}.image_processing_{family[2]}"
    sys.modules[absent] = importlib.import_module(f"{family[0]}.image_processing_pil_{family[2]}")
    try:
        return importlib.import_module(module)
    finally:
        del sys.modules[absent]  # else the library would take it for torchvision's


def read_settings(path: Path, accepted: frozenset[str]) -> dict[str, Any]:
    """The processor's own settings, without those of its parts."""
    file = path / "processor_config.json"
    stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {name: value for name, value in stored.items() if name in accepted and not isinstance(value, dict)}


def has_tokenizer(path: Path) -> bool:
    """Whether the folder holds one."""
    return any(any(path.glob(pattern)) for pattern in _TOKENIZER_FILES)


def has_processor(path: Path) -> bool:
    """Whether the folder holds one, whole or for a part of a model's inputs."""
    return any((path / name).exists() for name in _PROCESSOR_FILES)


def refuse_without_words(tokenizer: Any, path: Path) -> None:
    """Raises ModelRefused for a tokenizer that the library made without its files: of special tokens alone."""
    if tokenizer.vocab_size - len(tokenizer.all_special_tokens) < FEWEST_WORDS:
        raise ModelRefused(
            f"{path.name}'s tokenizer has no vocabulary: tokenizer.json, or the files that it is made of, are missing. "
            "Copy them from the model that this one was made from.",
            path=str(path),
        )


def ensure_tokenizer_pads(tokenizer: Any) -> None:
    """Gives it a padding token. Which one does not matter, as padding is always masked, but it has to exist."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)


class TimmProcessor:
    """What turns images into the inputs of a model of timm's, called as the library's other processors are."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __call__(self, images: Any, return_tensors: str = "np", input_data_format: str = "channels_last") -> Any:
        """Pillow's images, or arrays of them, as one batch: `pixel_values`, (n, channels, h, w)."""
        pixels = self._library(images, return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels.numpy() if return_tensors == "np" else pixels}


def prefer_pillow() -> None:
    """Has the library scale images with Pillow where it can; by itself it takes torchvision once that is installed."""
    from transformers.models.auto import image_processing_auto

    image_processing_auto._resolve_backend = lambda backend, _use_fast, _name: backend or "pil"


def find_processor(path: Path, head: str, config: Any, *, remote_code: bool) -> Any | None:
    """The processor in the folder: for all of a model's inputs, else for images, else for sound; None when it has none.

    A whole processor may want what this machine or the folder lacks while the part that a task needs does not, so a
    failure moves on, unless the model reads texts as well. Raises ModelRefused when every kind failed.
    """
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor

    prefer_pillow()
    if is_timm_local_checkpoint(path):
        return TimmProcessor(AutoImageProcessor.from_pretrained(path, local_files_only=True))
    if not has_processor(path):
        return None
    name = find_class_name(path, config)
    local = {"local_files_only": True, "trust_remote_code": remote_code}
    loaders = [] if name in STAND_INS else [partial(AutoProcessor.from_pretrained, path, config=config, **local)]
    if name is not None:
        loaders.append(partial(assemble, path, name))
    if name is not None and head in HEARING_HEADS:
        loaders.append(partial(assemble, path, name, without=frozenset({"image_processor", "video_processor"})))
    if name is None or head in IMAGE_HEADS or not has_tokenizer(path):
        loaders += [partial(part.from_pretrained, path, **local) for part in (AutoImageProcessor, AutoFeatureExtractor)]
    return load_first(loaders, path, f"{path.name}'s processor")


def load_named(path: Path, name: str) -> Any:
    """The processor of the library's class `name` in the folder `path`, which is a part of a model: whole, or without
    what reads videos. Raises ModelRefused."""
    prefer_pillow()
    whole = partial(find_class(name).from_pretrained, path, local_files_only=True)
    return load_first([whole, partial(assemble, path, name)], path, f"{path.parent.name}'s {path.name}")


def load_first(loaders: Sequence[Callable[[], Any]], path: Path, what: str) -> Any:
    """What the first of `loaders` that can load gives, unless that is a tokenizer. Raises ModelRefused for the folder
    `path`, and what the first has raised as the reason why `what` cannot be loaded."""
    failures = []
    for load in loaders:
        try:
            found = load()
        except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError, RuntimeError) as error:
            failures.append(first_line(error))
            continue
        if not isinstance(found, transformers.PreTrainedTokenizerBase):
            return found
    reason = failures[0] if failures else "only its tokenizer is there"
    if "torchvision" in reason.lower() and find_spec("torchvision") is None:
        reason = f"{reason}; `pip install 'modelyard[vision]'` brings it"
    raise ModelRefused(f"{what} cannot be loaded: {reason}", path=str(path))
