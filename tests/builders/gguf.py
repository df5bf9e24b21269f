"""GGUF files for tests, written byte by byte so that they may also be wrong. Imports no model library."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

F32, Q8_0 = 0, 8
ALIGNMENT = 32
LLAMA: Mapping[str, Any] = {
    "general.architecture": "llama",
    "llama.context_length": 2048,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "<s>"],
    "tokenizer.ggml.bos_token_id": 2,
}
"""The metadata of a tiny model that writes."""
BERT: Mapping[str, Any] = {
    "general.architecture": "bert",
    "bert.context_length": 512,
    "bert.block_count": 2,
    "bert.embedding_length": 64,
    "bert.attention.head_count": 4,
    "bert.attention.causal": False,
    "bert.pooling_type": 1,
    "tokenizer.ggml.model": "bert",
    "tokenizer.ggml.tokens": ["[CLS]", "[SEP]"],
}
"""The metadata of a tiny model that makes vectors."""


def gguf_file(
    values: Mapping[str, Any] = LLAMA, tensors: Sequence[tuple[str, Sequence[int], int]] = (("w", (32, 4), Q8_0),)
) -> bytes:
    """A file with these metadata, and tensors of (name, shape, type) full of zeros."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(text(key) + value_of(value) for key, value in values.items())
    offset = 0
    for name, shape, kind in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += -(-size_of(shape, kind) // ALIGNMENT) * ALIGNMENT
    return head + bytes(-len(head) % ALIGNMENT) + bytes(offset)


def size_of(shape: Sequence[int], kind: int) -> int:
    """Bytes of a tensor."""
    count = 1
    for size in shape:
        count *= size
    return count * 4 if kind == F32 else count // 32 * 34


def text(value: str) -> bytes:
    """A text, with its length before it."""
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def value_of(value: Any) -> bytes:
    """A value, with its kind before it."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(each) for each in value)
        case _:
            return struct.pack("<IIQ", 9, 4, len(value)) + b"".join(struct.pack("<I", each) for each in value)
