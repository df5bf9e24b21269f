"""Variants: a model made into another form, under the model's own name with an ending.

Owns the endings, the file `variant.json` that says how one was made, and the order to make one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from modelyard.errors import ModelRefused
from modelyard.validation import fault_of

VariantKind = Literal["onnx", "onnx.8-bit", "openvino"]
"""The forms a model can be made into; each is the ending of the variant's name."""

KINDS: tuple[VariantKind, ...] = ("onnx.8-bit", "onnx", "openvino")
"""Every kind of variant, the longer endings first: `org/name.onnx.8-bit` is not an `8-bit` of something."""
IN_OPENVINO: VariantKind = "openvino"
"""The same graph in 32 bits as `onnx` has, held by OpenVINO."""
EXACT_KINDS: tuple[VariantKind, ...] = ("onnx", IN_OPENVINO)
"""Those that compute what the model itself does, in 32 bits, and so may serve in its place."""
VARIANTS_FOLDER = "variants"
"""In the data folder: where variants lie, as `org/name.<kind>/`, like the models of any other folder."""

MANIFEST_FILE = "variant.json"
MODEL_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"
"""The weights, outside the graph: mapped, and so shared between replicas, and without the 2 GB limit of protobuf."""


def library_of(kind: str) -> str:
    """The library that holds variants of that kind in a worker."""
    return "openvino" if kind == IN_OPENVINO else "onnx"


def split_variant(model_id: str) -> tuple[str, VariantKind | None]:
    """The model a name means and, when it names a variant of it, the variant's kind."""
    for kind in KINDS:
        if model_id.endswith(f".{kind}") and not model_id.removesuffix(f".{kind}").endswith("/"):
            return model_id.removesuffix(f".{kind}"), kind
    return model_id, None


class Cache(msgspec.Struct, frozen=True):
    """The shape of a causal model's cache: per layer, keys and values of (rows, heads, tokens, width)."""

    layers: int
    heads: int
    width: int


class Figure(msgspec.Struct, frozen=True):
    """How near a variant's answers are to its original's, in one respect, and how near they have to be.

    `at_least`: the value may be no smaller than the bound; else no larger.
    """

    name: str
    value: float
    bound: float
    at_least: bool

    @property
    def holds(self) -> bool:
        """Whether the bound is kept; a value that is no number keeps none."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A variant's facts.

    `kind`: one of KINDS. `head`: the output layer it was exported with. `parameters`: of the original.
    `logit_error`: of the graph before its weights were made smaller, root mean square of the error over the standard
    deviation of the original's outputs, the worst output's, at shapes that were not used for the export; at most
    `bound`. `quality`: of the variant, on real text and pictures. `matrices`, `in_blocks`: how many it multiplies by,
    and how many of them have scales for blocks. `max_length`: the longest input in tokens. `cache`: of a model that
    generates. `versions`: of the libraries that made it. `original_mark`: of the original's files, which changes with
    them. `difference`: the largest between its outputs and the original's for real texts or pictures, over the standard
    deviation of the original's; None of kinds that are judged otherwise.
    """

    variant_of: str
    kind: str
    task: str
    head: str
    parameters: int
    logit_error: float
    bound: float
    versions: dict[str, str]
    revision: str | None = None
    max_length: int | None = None
    cache: Cache | None = None
    quality: tuple[Figure, ...] = ()
    matrices: int | None = None
    in_blocks: int | None = None
    original_mark: str | None = None
    difference: float | None = None

    def write(self, folder: Path) -> None:
        """Writes it into the variant's folder."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=2)
        (folder / MANIFEST_FILE).write_bytes(text + b"\n")


class ExportOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which variant to make.

    `path`: the original's folder, `mark` that of its files. `target`: the variant's; one that is there is replaced.
    `memory_limit_bytes`: what may be allocated beyond the program and its libraries. `sandbox`: off, or auto, or
    strict, here the same: the program confines itself to the original and `scratch`, a folder that it makes for itself.
    """

    path: str
    task: str
    kind: VariantKind
    target: str
    model_id: str
    revision: str | None = None
    mark: str | None = None
    threads: int = 1
    memory_limit_bytes: int | None = None
    sandbox: str = "off"
    scratch: str | None = None


ExportStep = Literal["exporting", "folding", "quantising", "checking"]


class ExportReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that the program which makes variants writes: the step that begins, or, in the last one, how it ended.

    `message`: the step in a sentence. `done`: the facts found out about the variant. `failed`: why there is none.
    """

    step: ExportStep | None = None
    message: str = ""
    done: dict[str, Any] | None = None
    failed: str | None = None


def read_manifest(folder: Path) -> Manifest:
    """The manifest in the folder. Raises ModelRefused when there is none, or it is not what it should be."""
    try:
        return msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        fault = error.strerror if isinstance(error, OSError) else fault_of(error, Manifest)
        raise ModelRefused(
            f"{folder.name}: {MANIFEST_FILE} cannot be read ({fault}); make the variant again.", path=str(folder)
        ) from error
