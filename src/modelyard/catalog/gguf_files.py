"""Which GGUF files of a repository make a model: one of several quantisations, its parts, and what belongs to all of
them. Pure: decides from names and sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENDING = ".gguf"
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_QUANTISATION = re.compile(
    r"(?:^|[-._])((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|B?F16|FP16|F32|FP32|MXFP4(?:_MOE)?))$", re.IGNORECASE
)
"""As llama.cpp and those who publish name their files: `model-Q4_K_M.gguf`, `model.f16.gguf`."""
_PROJECTOR = "mmproj"
_BESIDE = (_PROJECTOR, "imatrix")
"""Words in the names of files that are no model: the part that sees images, and what quantising has measured."""

PREFERRED = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "Q5_K_M", "Q8_0")
"""Which quantisation a name without a label means, where there are several; where there is none of these, the largest
file. Four bits are what most people use: little is lost, and memory and time are a fourth of 16 bits'."""


@dataclass(frozen=True, slots=True)
class GgufModel:
    """One quantisation. `label`: what people call it by. `files`: all parts that are there, in order. `parts`: how many
    there should be. `size_bytes`: of those that are there."""

    label: str
    files: tuple[str, ...]
    parts: int
    size_bytes: int

    @property
    def is_whole(self) -> bool:
        """Whether no part is missing."""
        return len(self.files) == self.parts


def find_gguf_models(sizes: Mapping[str, int]) -> Sequence[GgufModel]:
    """The quantisations among a repository's files, by label. `sizes`: every file's size."""
    parts: dict[tuple[str, int], list[str]] = {}
    for name in sorted(sizes):
        stem, is_gguf = name.removesuffix(ENDING), name.endswith(ENDING)
        if is_gguf and not any(word in name.rpartition("/")[2].lower() for word in _BESIDE):
            part = _PART.search(stem)
            parts.setdefault((_PART.sub("", stem), int(part[2]) if part else 1), []).append(name)
    models: dict[str, GgufModel] = {}
    for (stem, count), names in parts.items():
        label = label_of(stem)
        if label in models:  # two files of one kind: only their whole names tell them apart
            label = stem.rpartition("/")[2]
        models[label] = GgufModel(label, tuple(names), count, sum(sizes[name] for name in names))
    return [models[label] for label in sorted(models)]


def label_of(stem: str) -> str:
    """What a file is called by: its quantisation, as published, else its name without ending."""
    name = stem.rpartition("/")[2]
    found = _QUANTISATION.search(name)
    return found[1].upper() if found else name


def choose_gguf_model(models: Sequence[GgufModel], label: str | None) -> GgufModel | None:
    """The quantisation that a label means, in upper or lower case; None when there is none of that name. Without a
    label, the preferred one."""
    if label is not None:
        return next((model for model in models if model.label.lower() == label.lower()), None)
    by_label = {model.label: model for model in models}
    preferred = next((by_label[name] for name in PREFERRED if name in by_label), None)
    return preferred or max(models, key=lambda model: model.size_bytes, default=None)


def find_projector(sizes: Mapping[str, int]) -> str | None:
    """The file of the part that sees images, which belongs to every quantisation; of several, the one in 16 bits."""
    names = [name for name in sorted(sizes) if name.endswith(ENDING) and _PROJECTOR in name.rpartition("/")[2].lower()]
    return next((name for name in names if label_of(name.removesuffix(ENDING)) == "F16"), names[0] if names else None)
