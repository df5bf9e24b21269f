"""Pickled weights read and written again as safetensors. Reads with torch's restricted unpickler alone, which makes
tensors and plain containers and calls nothing else.

To be called in a process that is confined and whose memory is limited: the unpickler is not the only wall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from modelyard.errors import ModelRefused
from modelyard.worker.limits import says_out_of_memory
from modelyard.worker.runtimes.failures import first_line

MOST_GROWTH = 2
"""How much larger than its file what a pickle holds may be: tensors that share their values are written apart."""
SPARE_BYTES = 1024**2
ALIGNMENT = 8
"""Of the values in a safetensors file. Source: the format's own library."""
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip
"""torch's types → safetensors' names."""

Tensors = Mapping[str, torch.Tensor]


def convert(source: Path, target: Path) -> None:
    """Writes the tensors of the pickle `source` to `target`. Raises ModelRefused, which names the file; MemoryError,
    OSError."""
    if not source.is_file():
        raise ModelRefused(f"{source.name} is no regular file.")
    tensors = read_pickle(source)
    held_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if held_bytes > MOST_GROWTH * source.stat().st_size + SPARE_BYTES:
        raise ModelRefused(f"{source.name} says that it holds {held_bytes:,} bytes, and is far too small for that.")
    write_safetensors(target, tensors)


def read_pickle(file: Path) -> Tensors:
    """The tensors in a pickle, by name. Raises ModelRefused when it holds anything else than weights; MemoryError."""
    try:
        held = load_restricted(file)
    except Exception as error:
        if says_out_of_memory(error):
            raise
        raise ModelRefused(f"{file.name} cannot be read as weights alone: {first_line(error)[:200]}") from error
    tensors = {str(name): each for name, each in named(held) if isinstance(each, torch.Tensor)}
    if not tensors:
        raise ModelRefused(f"{file.name} holds no weights under their names.")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.dtype not in DTYPES or tensor.is_meta:
            raise ModelRefused(f"{file.name} holds {name[:100]} as {tensor.layout}, {tensor.dtype}, which is not read.")
    return tensors


def load_restricted(file: Path) -> Any:
    """What the file holds. Mapped where its form allows it, so that it takes no memory twice. Raises anything."""
    settings: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    with file.open("rb") as opened:
        is_zip = opened.read(4) == b"PK\x03\x04"
    return torch.load(file, mmap=is_zip, **settings)


def named(held: Any) -> Iterator[tuple[Any, Any]]:
    """What a dictionary holds."""
    return iter(held.items()) if isinstance(held, Mapping) else iter(())


def write_safetensors(target: Path, tensors: Tensors) -> None:
    """Writes the file, one tensor after the other, so that no second copy of all is made. Raises OSError.

    Source: the safetensors format's own description.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    head = msgspec.json.encode(header)
    head += b" " * (-len(head) % ALIGNMENT)
    with target.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for tensor in tensors.values():
            file.write(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
