"""Which files of a repository are a model exported to ONNX, as optimum and transformers.js publish them: one of several
types of weights, with the files its weights lie in. Pure: decides from names and sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelyard.records.onnx_graphs import ENCODER, FIRST, LATER, MERGED, find_decoders

FOLDERS = ("onnx/", "")
"""Where the files lie, in the order in which they are looked for."""
WHOLE = ("model", MERGED)
"""What a graph is called that is all of a model."""
PARTS = (ENCODER, FIRST, LATER, "vision_model", "text_model", "embed_tokens",
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
_ENCODER = re.compile(rf"({ENCODER})(?:_([A-Za-z0-9_.-]+))?\.onnx")
_DATA = re.compile(r"(?:_data(?:_\d+)?|\.data)")


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """One graph, or, when `writes`, an encoder and what writes. `label`: what people call it by. `files`: the graph,
    of several the encoder's, then the others, and those of their weights."""

    label: str
    files: tuple[str, ...]
    size_bytes: int
    writes: bool = False

    @property
    def rounds_inputs(self) -> bool:
        """Whether what its matrices multiply is rounded to 8 bits too, as exporters do wherever weights are."""
        return self.label == "q8" or "int8" in self.label

    @property
    def dtype(self) -> str:
        """The type of most of its weights."""
        return STORED.get(self.label, self.label.upper())


def find_onnx_models(sizes: Mapping[str, int]) -> Sequence[OnnxModel]:
    """The graphs among a repository's files that are a whole model, by label. `sizes`: every file's size.

    A decoder is one together with its encoder, and alone only where no other parts lie beside it. An encoder with its
    decoder comes before a graph of all of the model, which then has no cache.
    """
    names = sorted(sizes)
    models: dict[str, OnnxModel] = {}
    for folder in FOLDERS:
        here = [name.removeprefix(folder) for name in names if name[: name.rfind("/") + 1] == folder]
        is_half = any(_is_part(name) and not name.startswith("decoder") for name in here)
        pairs = [
            (name, decoders) for name in here if _ENCODER.fullmatch(name) and (decoders := find_decoders(name, here))
        ]
        alone = [name for name in here if (found := _NAME.fullmatch(name)) and (found[1] == WHOLE[0] or not is_half)]
        for name, decoders in (*pairs, *((name, ()) for name in alone)):
            model = _join(folder, (name, *decoders), here, sizes)
            models.setdefault(model.label, model)
    return [models[label] for label in sorted(models)]


def _join(folder: str, graphs: Sequence[str], here: Sequence[str], sizes: Mapping[str, int]) -> OnnxModel:
    """The model that these graphs of a folder are, with the files of their weights."""
    found = _NAME.fullmatch(graphs[0]) or _ENCODER.fullmatch(graphs[0])
    ending = (found and found[2]) or ""
    data = [name for graph in graphs for name in here if name.startswith(graph) and _DATA.fullmatch(name[len(graph) :])]
    files = tuple(folder + name for name in (*graphs, *data))
    size_bytes = sum(sizes[name] for name in files)
    return OnnxModel(LABELS.get(ending, ending.lower()), files, size_bytes, writes=len(graphs) > 1)


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
