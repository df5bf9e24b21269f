"""What a GGUF file says of itself, read from its header alone: metadata, and the sizes of its tensors.

Reads forward through whatever gives it bytes, keeps only what somebody asks for, and believes no count before it has
been compared with what the file can hold. Reads no weights and needs no library.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; sizes of blocks: ggml/src/ggml-common.h.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO

from modelyard.units import MIB

MAGIC = b"GGUF"
VERSIONS = (2, 3)
"""Version 1 was used for a few weeks of 2023."""
MOST_HEADER_BYTES = 128 * MIB
"""The largest published vocabularies, with merges and scores, take 20 MB."""
MOST_ENTRIES = 65_536
"""Of metadata, and of tensors in one file: the largest published models have some hundred and some thousand."""
MOST_TEXTS = 4_000_000
"""In all arrays together: the largest vocabularies have 3 * 10**5 tokens and 5 * 10**5 merges. A second's work."""
MOST_KEPT_BYTES = 4 * MIB
"""Of all texts that are kept. Chat templates take some ten thousand bytes."""
MOST_KEPT_NUMBERS = 4096
"""Of one array that is kept: figures by layer."""
MOST_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32
CHUNK_BYTES = MIB

STRING, ARRAY, BOOL = 8, 9, 7
NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", BOOL: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""Kind of value → its form in the file."""
LEAST_TEXT_BYTES = 8
LEAST_ENTRY_BYTES = 13
LEAST_TENSOR_BYTES = 24

TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36),
}  # fmt: skip
"""Kind of tensor → (its name, values in a block, bytes of a block)."""

ReadAt = Callable[[int, int], bytes]
"""(first byte, number of bytes) → those bytes of the file, fewer at its end."""


class CorruptGguf(Exception):
    """A file does not hold what a GGUF file does. The message is a clause that follows the file's name."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Where an array of texts lies in the file."""

    position: int
    count: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """`values`: metadata by its key: numbers, texts, short arrays of numbers; of arrays of texts, where they lie.
    `parameters`: values of all tensors by type. `data_bytes`: of all tensors. `quantisation`: the type that most values
    of matrices have."""

    values: Mapping[str, Any]
    parameters: Counter[str] = field(default_factory=Counter)
    data_bytes: int = 0

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture; empty when the file has none."""
        name = self.values.get("general.architecture")
        return name if isinstance(name, str) else ""

    @property
    def quantisation(self) -> str | None:
        """The type that most values have."""
        return max(self.parameters, key=self.parameters.__getitem__) if self.parameters else None

    def find(self, name: str) -> Any:
        """The architecture's own value of that name, None when there is none."""
        return self.values.get(f"{self.architecture}.{name}")

    def find_count(self, name: str) -> int | None:
        """The same, where it is a number above 0."""
        value = self.find(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


class Reader:
    """A file that is read forward, a chunk at a time."""

    def __init__(self, read_at: ReadAt, file_bytes: int) -> None:
        self._read_at = read_at
        self._chunk = b""
        self._chunk_start = 0
        self._texts_left = MOST_TEXTS
        self._keeps_bytes = MOST_KEPT_BYTES
        self.file_bytes = file_bytes
        self.position = 0

    @property
    def left_bytes(self) -> int:
        """How much of the file is still to come."""
        return self.file_bytes - self.position

    def take(self, count: int) -> bytes:
        """The next bytes. Raises CorruptGguf when the file has not as many, or its header would be too long."""
        start = self.position - self._chunk_start
        if start < 0 or start + count > len(self._chunk):
            self._check(count)
            self._chunk = self._read_at(self.position, max(count, CHUNK_BYTES))
            self._chunk_start, start = self.position, 0
            if len(self._chunk) < count:
                raise CorruptGguf("is cut off: it ends within its header")
        self.position += count
        return self._chunk[start : start + count]

    def skip(self, count: int) -> None:
        """Passes over the next bytes. Raises CorruptGguf as `take` does."""
        self._check(count)
        self.position += count

    def _check(self, count: int) -> None:
        if count > self.left_bytes:
            raise CorruptGguf("is cut off: it ends within its header")
        if self.position + count > MOST_HEADER_BYTES:
            raise CorruptGguf(f"is damaged: its header has more than {MOST_HEADER_BYTES:,} bytes")

    def number(self, form: str) -> Any:
        """The next number, in one of the forms of NUMBERS."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, what: str, most: int, least_bytes: int) -> int:
        """The next number, which counts things of at least so many bytes each. Raises CorruptGguf when it cannot."""
        count = int(self.number("<Q"))
        if count > most or count * least_bytes > self.left_bytes:
            raise CorruptGguf(f"is damaged: it promises {count:,} {what}")
        return count

    def text(self) -> str:
        """The next text. Raises CorruptGguf when it is too long, with those before it."""
        length = int(self.number("<Q"))
        if length > self._keeps_bytes:
            raise CorruptGguf(f"is damaged: it promises a text of {length:,} bytes")
        self._keeps_bytes -= length
        return self.take(length).decode("utf-8", "replace")

    def skip_text(self) -> None:
        """Passes over the next text."""
        self.skip(int(self.number("<Q")))

    def count_texts(self) -> int:
        """The next number, which counts texts. Raises CorruptGguf when there are too many, with those before them."""
        count = self.count("texts", self._texts_left, LEAST_TEXT_BYTES)
        self._texts_left -= count
        return count


def read_gguf(read_at: ReadAt, file_bytes: int) -> GgufHeader:
    """The header of a file of that size. Raises CorruptGguf, and what `read_at` does."""
    reader = Reader(read_at, file_bytes)
    if file_bytes < len(MAGIC) or (start := reader.take(len(MAGIC))) != MAGIC:
        pointer = file_bytes >= len(MAGIC) and start == b"vers"  # "version https://git-lfs..."
        raise CorruptGguf("is a Git LFS pointer, not the model itself" if pointer else "is not a GGUF file")
    version = reader.number("<I")
    if version not in VERSIONS:
        raise CorruptGguf(f"is of version {version} of GGUF; versions {' and '.join(map(str, VERSIONS))} can be read")
    tensors = reader.count("tensors", MOST_ENTRIES, LEAST_TENSOR_BYTES)
    entries = reader.count("entries of metadata", MOST_ENTRIES, LEAST_ENTRY_BYTES)
    values: dict[str, Any] = {}
    for _ in range(entries):
        key = reader.text()
        values[key] = read_value(reader, reader.number("<I"))
    return read_tensors(reader, tensors, values)


def read_gguf_file(file: BinaryIO) -> GgufHeader:
    """The header of an open file. Raises CorruptGguf, OSError."""
    return read_gguf(*reading(file))


def reading(file: BinaryIO) -> tuple[ReadAt, int]:
    """How to read an open file, and its size."""
    number = file.fileno()
    return lambda first, count: os.pread(number, count, first), os.fstat(number).st_size


def read_value(reader: Reader, kind: int) -> Any:
    """The next value of that kind; None for what is not kept."""
    if kind == STRING:
        return reader.text()
    if kind == ARRAY:
        return read_array(reader)
    if (form := NUMBERS.get(kind)) is None:
        raise CorruptGguf(f"is damaged: it has a value of unknown kind {kind}")
    return reader.number(form)


def read_array(reader: Reader) -> Any:
    """The next array: its numbers where they are few, its place where it holds texts, else None."""
    kind = reader.number("<I")
    if kind == STRING:
        texts = Texts(reader.position, count := reader.count_texts())
        for _ in range(count):
            reader.skip_text()
        return texts
    if (form := NUMBERS.get(kind)) is None:  # arrays of arrays are allowed, and nobody writes them
        raise CorruptGguf(f"is damaged: it has an array of unknown kind {kind}")
    size = struct.calcsize(form)
    count = reader.count("numbers", MOST_HEADER_BYTES // size, size)
    if count > MOST_KEPT_NUMBERS:
        reader.skip(count * size)
        return None
    return list(struct.unpack(f"<{count}{form[1]}", reader.take(count * size)))


def read_tensors(reader: Reader, tensors: int, values: Mapping[str, Any]) -> GgufHeader:
    """The header, with what follows the metadata. Raises CorruptGguf when the file does not hold what it promises."""
    parameters: Counter[str] = Counter()
    data_bytes = end = 0
    for _ in range(tensors):
        reader.skip_text()
        dimensions = reader.number("<I")
        if dimensions > MOST_DIMENSIONS:
            raise CorruptGguf(f"is damaged: a tensor has {dimensions} dimensions")
        count = prod(reader.number("<Q") for _ in range(dimensions))
        kind, offset = reader.number("<I"), reader.number("<Q")
        if kind not in TYPES:
            raise CorruptGguf(f"has a tensor of unknown type {kind}")
        type_name, block, block_bytes = TYPES[kind]
        held = -(-count // block) * block_bytes
        parameters[type_name] += count
        data_bytes += held
        end = max(end, offset + held)
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise CorruptGguf(f"is damaged: its alignment is {alignment!r}")
    expected = -(-reader.position // alignment) * alignment + end
    if tensors and expected > reader.file_bytes:
        raise CorruptGguf(f"is cut off: its header promises {expected:,} bytes, the file has {reader.file_bytes:,}")
    return GgufHeader(values, parameters, data_bytes)


def read_texts(read_at: ReadAt, file_bytes: int, texts: Texts, wanted: Collection[int]) -> Mapping[int, str]:
    """Some texts of an array, by their place in it; places past its end are left out. Raises CorruptGguf."""
    reader = Reader(read_at, file_bytes)
    reader.position = texts.position + LEAST_TEXT_BYTES  # behind their count
    found: dict[int, str] = {}
    for place in range(min(texts.count, max(wanted, default=-1) + 1)):
        if place in wanted:
            found[place] = reader.text()
        else:
            reader.skip_text()
    return found
