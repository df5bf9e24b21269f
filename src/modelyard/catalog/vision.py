"""Models that see with timm or torchvision, which `modelyard[vision]` brings: told by their config, by the files that
say how images are read, and by the library's own tables. Imports neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.catalog import library
from modelyard.catalog.architectures import known_task
from modelyard.catalog.files import Files, read_json

EXTRA = "vision"
TIMM, TORCHVISION = "timm", "torchvision"
INSTALLED = frozenset(name for name in (TIMM, TORCHVISION) if library.is_installed(name))
"""Those that were here when this process started: its workers come from processes that looked then, too."""
TIMM_TYPES = frozenset({"timm_backbone", "timm_wrapper", "gemma3n_vision"})
"""Types of models, and of parts of models, that the library builds of timm's."""
PILLOW = "pil"
"""How the library calls what reads images without torchvision."""
_IMAGES, _VIDEOS, _WHOLE = "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"
"""The files that say how a model reads images, how it reads videos, and how all of its inputs."""


def name_timm_class(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of a model of timm's with the type and the class that the library gives it; any other as it is."""
    if "pretrained_cfg" not in config or "model_type" in config:
        return config
    name = "TimmWrapperForImageClassification" if config.get("num_classes") else "TimmWrapperModel"
    return {**config, "model_type": "timm_wrapper", "architectures": [name]}


def find_missing_vision(files: Files, config: Mapping[str, Any], task_id: str | None) -> str | None:
    """What the model lacks that one command installs: a clause to follow its name. Raises CorruptText."""
    task = known_task(task_id) if task_id else None
    sees = task is not None and task.media in ("image", "video")
    if _is_of_timm(config):
        wanted = TIMM
    elif sees and TORCHVISION not in INSTALLED and _reads_with_torchvision(files, str(config.get("model_type"))):
        wanted = TORCHVISION
    else:
        return None
    if wanted in INSTALLED or not library.native_model_types():
        return None
    return f"wants the library {wanted}, which is not installed here; {library.how_to_install(EXTRA)}"


def _is_of_timm(config: Mapping[str, Any]) -> bool:
    return any(part.get("use_timm_backbone") or part.get("model_type") in TIMM_TYPES for part in _parts(config))


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A config and all configs in it."""
    yield config
    for value in config.values():
        if isinstance(value, dict):
            yield from _parts(value)


def _reads_with_torchvision(files: Files, model_type: str) -> bool:
    """Whether nothing else reads what a model of this type sees. The folder may name another type's reader, and has to
    where the library knows none for this type, unless the model sees videos alone."""
    readers = library.image_readers()
    own = readers.get(model_type)
    if own is not None and PILLOW in own:
        return False
    whole = read_json(files, _WHOLE).get("image_processor")
    said = read_json(files, _IMAGES) or (whole if isinstance(whole, dict) else {})
    name = str(said.get("image_processor_type")).removesuffix("Fast")
    named = [classes for classes in readers.values() if name in classes.values()]
    if named:
        return not any(PILLOW in classes for classes in named)
    return own is not None or (_VIDEOS in files.sizes and files.sizes.keys().isdisjoint({_IMAGES, _WHOLE}))
