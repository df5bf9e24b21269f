"""What `variant.json` says: of which model a folder is a variant, and how it was made. Reads and writes that file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from modelyard.errors import ModelRefused

MANIFEST_FILE = "variant.json"
MODEL_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"
"""The weights, outside the graph: mapped, and so shared between replicas, and without the 2 GB limit of protobuf."""


class Cache(msgspec.Struct, frozen=True):
    """The shape of a causal model's cache: per layer, keys and values of (rows, heads, tokens, width)."""

    layers: int
    heads: int
    width: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A variant's facts.

    `kind`: `onnx` or `onnx.8-bit`. `head`: the output layer it was exported with. `parameters`: of the original.
    `logit_error`: root mean square of the error over the standard deviation of the original's outputs, the worst
    output's, at shapes that were not used for the export; at most `bound`. `max_length`: the longest input in tokens.
    `cache`: of a model that generates.
    `versions`: of the libraries that made it.
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
    runtime: str = "onnx"

    def write(self, folder: Path) -> None:
        """Writes it into the variant's folder."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=2)
        (folder / MANIFEST_FILE).write_bytes(text + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest in the folder. Raises ModelRefused when there is none, or it is not what it should be."""
    try:
        return msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelRefused(
            f"{folder.name}: {MANIFEST_FILE} cannot be read ({error}); make the variant again.", path=str(folder)
        ) from error
