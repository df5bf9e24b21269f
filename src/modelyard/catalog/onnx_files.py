"""Which files of a repository are a model exported to ONNX, as optimum and transformers.js publish them: one of several
types of weights, with the files its weights lie in. Pure: decides from names and sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FOLDERS = ("onnx/", "")
"""Where the files lie, in the order in which they are looked for."""
WHOLE = ("model", "decoder_model_merged")
"""What a graph is called that is all of a model."""
PARTS = ("encoder_model", "decoder_model", "decoder_with_past_model", "vision_model", "text_model", "embed_tokens",
         "vision_encoder", "audio_encoder", "prompt_encoder_mask_decoder", "text_encoder")  # fmt: skip
"""What graphs are called of which it takes several. Source: the exporters of optimum, and transformers.js."""
LABELS = {"": "fp32", "quantized": "q8"}
"""What follows the name of a graph → its label, where that is another word. Source: DATA_TYPES of transformers.js."""
PREFERRED = ("fp32", "q8", "int8", "uint8", "fp16", "q4", "q4f16", "bnb4")
"""Which one a name without a label means: the first there is; where there is none of these, the first by name."""
STORED = {"fp32": "F32", "fp16": "F16", "q8": "I8", "int8": "I8", "uint8": "U8"}
"""Label → the type of most weights, in safetensors' names. The others are labels of their own."""

_NAME = re.compile(rf"({'|'.join(WHOLE)})(?:_([A-Za-z0-9_.-]+))?\.onnx")
_PART = re.compile(rf"({'|'.join(PARTS)})(?:_[A-Za-z0-9_.-]+)?\.onnx")
_DATA = re.compile(r"(?:_data(?:_\d+)?|\.data)")


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """One graph. `label`: what people call it by. `files`: the graph, then those of its weights."""

    label: str
    files: tuple[str, ...]
    size_bytes: int

    @property
    def dtype(self) -> str:
        """The type of most of its weights."""
        return STORED.get(self.label, self.label.upper())


def find_onnx_models(sizes: Mapping[str, int]) -> Sequence[OnnxModel]:
    """The graphs among a repository's files that are a whole model, by label. `sizes`: every file's size.

    A decoder is none where other parts lie beside it, such as the encoder that it needs.
    """
    names = sorted(sizes)
    models: dict[str, OnnxModel] = {}
    for folder in FOLDERS:
        here = [name.removeprefix(folder) for name in names if name[: name.rfind("/") + 1] == folder]
        is_half = any(_is_part(name) and not name.startswith("decoder") for name in here)
        for name in here:
            found = _NAME.fullmatch(name)
            if found is None or (is_half and found[1] != WHOLE[0]):
                continue
            label = LABELS.get(found[2] or "", (found[2] or "").lower())
            data = [each for each in here if each.startswith(name) and _DATA.fullmatch(each[len(name) :])]
            files = tuple(folder + each for each in (name, *data))
            models.setdefault(label, OnnxModel(label, files, sum(sizes[each] for each in files)))
    return [models[label] for label in sorted(models)]


def find_onnx_part(sizes: Mapping[str, int]) -> str | None:
    """A graph that is only a part of a model, if there is one."""
    return next((name for name in sorted(sizes) if _is_part(name.removeprefix(FOLDERS[0]))), None)


def _is_part(name: str) -> bool:
    return _PART.fullmatch(name) is not None and _NAME.fullmatch(name) is None


def choose_onnx_model(models: Sequence[OnnxModel], label: str | None) -> OnnxModel | None:
    """The graph that a label means, in upper or lower case; None when there is none of that name. Without a label, the
    preferred one."""
    by_label = {model.label: model for model in models}
    if label is not None:
        return by_label.get(label.lower())
    return next((by_label[name] for name in PREFERRED if name in by_label), next(iter(models), None))
