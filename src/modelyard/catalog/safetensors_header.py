"""What a safetensors file says about itself, read from its header alone: a few kilobytes of a file of gigabytes.

Validates every offset against the file's size, so that a truncated or overwritten file is found before a worker maps
it. Reads no weights and needs no framework.

Source: the format section of https://github.com/huggingface/safetensors (8-byte little-endian length, JSON, data).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Annotated, Any

import msgspec

from modelyard.catalog.regular_file import open_regular
from modelyard.records.checkpoints import TELLING, Shape
from modelyard.validation import fault_of

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""The format's own limit; a larger number means that the first eight bytes are not a length."""

DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip

_LFS_POINTER = b"version https://git-lfs"


class CorruptWeights(Exception):
    """A weight file does not hold what its header promises. The message is a clause that follows the file's name."""


Natural = Annotated[int, msgspec.Meta(ge=0)]


class _Tensor(msgspec.Struct, frozen=True):
    """One entry of the header. `data_offsets`: first byte and the one after the last, counted from the data's start."""

    dtype: str
    shape: list[Natural]
    data_offsets: tuple[Natural, Natural]


@dataclass(frozen=True, slots=True)
class Header:
    """Sums over a file's tensors. `parameters`: element count by dtype, in the format's names ("F32", "BF16", ...).
    `modules`: how the tensors' names begin, up to the first dot; empty where they are not known. `shapes`: of
    the tensors that tell what a checkpoint in one file is."""

    parameters: Counter[str] = field(default_factory=Counter)
    data_bytes: int = 0
    modules: frozenset[str] = frozenset()
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    @property
    def dtype(self) -> str | None:
        """The dtype that most parameters have."""
        return max(self.parameters, key=self.parameters.__getitem__) if self.parameters else None


def header_of_counts(parameters: Mapping[str, int]) -> Header:
    """The header of files of which only the counts by dtype are known. Unknown dtypes count as 4 bytes."""
    return Header(Counter(parameters), sum(count * DTYPE_BITS.get(name, 32) // 8 for name, count in parameters.items()))


def add_headers(headers: Iterable[Header]) -> Header:
    """The sum of the files of one model."""
    parameters: Counter[str] = Counter()
    data_bytes = 0
    modules: frozenset[str] = frozenset()
    shapes: dict[str, Shape] = {}
    for header in headers:
        parameters.update(header.parameters)
        data_bytes += header.data_bytes
        modules |= header.modules
        shapes |= header.shapes
    return Header(parameters, data_bytes, modules, shapes)


def read_header(path: Path) -> Header:
    """The header of the file at `path`, checked against its size. Raises CorruptWeights, OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(LENGTH_BYTES)
        length = header_length(start + file.read(len(_LFS_POINTER)), size)
        file.seek(LENGTH_BYTES)
        return parse_header(file.read(length), size)


def header_length(start: bytes, file_bytes: int) -> int:
    """The header's length, from the file's first bytes (32 are enough). Raises CorruptWeights."""
    if start.startswith(_LFS_POINTER):
        raise CorruptWeights("is a Git LFS pointer, not the weights themselves (`git lfs pull` fetches them)")
    if len(start) < LENGTH_BYTES:
        raise CorruptWeights(f"is cut off: {file_bytes} bytes are too few for a safetensors file")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise CorruptWeights("is not a safetensors file: its first eight bytes are no header length")
    if LENGTH_BYTES + length > file_bytes:
        raise CorruptWeights(f"is cut off: its header needs {length:,} bytes, the file has {file_bytes:,}")
    return length


def parse_header(text: bytes, file_bytes: int) -> Header:
    """`text`: the JSON after the length; `file_bytes`: the whole file's size. Raises CorruptWeights."""
    kind: Any = dict[str, msgspec.Raw]
    try:
        entries = msgspec.json.decode(text, type=kind)
        entries.pop("__metadata__", None)
        kind = _Tensor
        tensors = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in entries.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = fault_of(error, kind)
        raise CorruptWeights(f"is damaged: its header is not what the format asks for ({fault})") from error
    parameters: Counter[str] = Counter()
    for name, tensor in tensors.items():
        parameters[tensor.dtype] += _checked_count(name, tensor)
    end = _contiguous_end([tensor.data_offsets for tensor in tensors.values()])
    expected = LENGTH_BYTES + len(text) + end
    if file_bytes < expected:
        raise CorruptWeights(f"is cut off: its header promises {expected:,} bytes, the file has {file_bytes:,}")
    if file_bytes > expected:
        raise CorruptWeights(f"is damaged: its header promises {expected:,} bytes, the file has {file_bytes:,}")
    shapes = {name: tuple(tensors[name].shape) for name in TELLING & tensors.keys()}
    return Header(parameters, end, frozenset(name.partition(".")[0] for name in tensors), shapes)


def _checked_count(name: str, tensor: _Tensor) -> int:
    """How many values the tensor has, if its span in the data is that long."""
    bits = DTYPE_BITS.get(tensor.dtype)
    if bits is None:
        raise CorruptWeights(f"has a tensor {name!r} of unknown type {tensor.dtype!r}")
    count = prod(tensor.shape)
    held = tensor.data_offsets[1] - tensor.data_offsets[0]
    if held != (count * bits + 7) // 8:
        raise CorruptWeights(f"is damaged: tensor {name!r} has {held:,} bytes for {count:,} values of {tensor.dtype}")
    return count


def _contiguous_end(spans: list[tuple[int, int]]) -> int:
    """Where the data ends. The format allows neither holes nor overlaps."""
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise CorruptWeights("is damaged: its tensors overlap or leave holes")
        end = last
    return end
