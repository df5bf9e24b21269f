"""Headers of GGUF files: what is read of them, and what is refused before memory is taken for it."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelyard.records.gguf import CorruptGguf, GgufHeader, Texts, read_gguf, read_texts
from modelyard.units import MIB
from tests.builders.gguf import F32, LLAMA, Q8_0, gguf_file, text

BEGINNING = b"GGUF" + struct.pack("<I", 3)


def header_of(content: bytes) -> GgufHeader:
    return read_gguf(lambda first, count: content[first : first + count], len(content))


def one_entry(kind: int, value: bytes, key: str = "k") -> bytes:
    """A file of one entry of metadata, and some bytes behind it."""
    return BEGINNING + struct.pack("<QQ", 0, 1) + text(key) + struct.pack("<I", kind) + value + bytes(64)


def test_metadata_and_sizes_are_read() -> None:
    values: Mapping[str, Any] = {**LLAMA, "a.float": 0.5, "a.flag": True, "a.layers": [1, 2, 3]}

    header = header_of(gguf_file(values, [("a", (64, 4), Q8_0), ("b", (10,), F32)]))

    assert header.architecture == "llama"
    assert header.find_count("context_length") == 2048
    assert header.find("of_another") is None
    assert {key: header.values[key] for key in ("a.float", "a.flag", "a.layers")} == {
        "a.float": 0.5, "a.flag": True, "a.layers": [1, 2, 3]
    }  # fmt: skip
    assert header.parameters == {"Q8_0": 256, "F32": 10}
    assert header.data_bytes == 256 // 32 * 34 + 40
    assert header.quantisation == "Q8_0"


def test_of_texts_in_arrays_only_those_asked_for_are_read() -> None:
    content = gguf_file()
    tokens = header_of(content).values["tokenizer.ggml.tokens"]

    assert isinstance(tokens, Texts)
    assert tokens.count == 3
    found = read_texts(lambda first, count: content[first : first + count], len(content), tokens, {0, 2, 99})
    assert found == {0: "a", 2: "<s>"}


@pytest.mark.parametrize("kept", [0, 3, 4, 20, 100, 300])
def test_a_file_that_ends_early_is_found_wherever_it_ends(kept: int) -> None:
    with pytest.raises(CorruptGguf, match=r"cut off|not a GGUF file|promises"):
        header_of(gguf_file()[:kept])


def test_weights_that_are_not_there_are_found() -> None:
    with pytest.raises(CorruptGguf, match=r"cut off: its header promises [\d,]+ bytes, the file has [\d,]+"):
        header_of(gguf_file()[:-32])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF file"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(100), "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(100), "version 50331648"),
        (BEGINNING + struct.pack("<QQ", 2**63, 0) + bytes(100), "promises 9,223,372,036,854,775,808 tensors"),
        (BEGINNING + struct.pack("<QQ", 0, 10**9) + bytes(100), "promises 1,000,000,000 entries"),
        (one_entry(9, struct.pack("<IQ", 8, 10**9)), "promises 1,000,000,000 texts"),
        (one_entry(9, struct.pack("<IQ", 4, 10**9)), "promises 1,000,000,000 numbers"),
        (one_entry(9, struct.pack("<IQ", 9, 1)), "array of unknown kind 9"),
        (one_entry(99, b""), "unknown kind 99"),
        (one_entry(8, struct.pack("<Q", 2**62)), "promises a text of 4,611,686,018,427,387,904 bytes"),
        (BEGINNING + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**40) + bytes(64), "promises a text"),
        (gguf_file({**LLAMA, "general.alignment": 0}), "alignment is 0"),
        (BEGINNING + struct.pack("<QQ", 1, 0) + text("t") + struct.pack("<I", 9) + bytes(64), "9 dimensions"),
        (BEGINNING + struct.pack("<QQ", 1, 0) + text("t") + struct.pack("<I4QIQ", 4, *[2**60] * 4, 0, 0), "cut off"),
        (BEGINNING + struct.pack("<QQ", 1, 0) + text("t") + struct.pack("<IQIQ", 1, 1, 77, 0), "unknown type 77"),
    ],
)
def test_what_no_file_holds_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(CorruptGguf, match=words):
        header_of(content)


READING = """
import re, sys
from pathlib import Path

from modelyard.records.gguf import CorruptGguf, read_gguf_file

def peak_bytes():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

with open(sys.argv[1], "rb") as file:
    before = peak_bytes()
    try:
        read_gguf_file(file)
    except CorruptGguf:
        print(peak_bytes() - before)
"""
"""A program that reads a file it must refuse, and prints by how much its peak of resident memory grew meanwhile."""


def long_texts() -> Iterator[bytes]:
    """Every entry is another text that would be kept, each one as long as is allowed."""
    return (text(f"k{at}") + struct.pack("<I", 8) + text("x" * MIB) for at in range(40))


def many_texts() -> Iterator[bytes]:
    """One array after the other of as many empty texts as the file has room for."""
    return (text(f"k{at}") + struct.pack("<IIQ", 9, 8, 400_000) + bytes(8 * 400_000) for at in range(12))


@pytest.mark.parametrize("entries", [long_texts, many_texts])
def test_a_header_without_end_takes_little_memory(entries: Callable[[], Iterator[bytes]], tmp_path: Path) -> None:
    file = tmp_path / "endless.gguf"
    file.write_bytes(BEGINNING + struct.pack("<QQ", 0, 1000) + b"".join(entries()))
    done = subprocess.run([sys.executable, "-c", READING, str(file)], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    assert int(done.stdout) < 12 * MIB
