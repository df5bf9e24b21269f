"""A model's files as inspection sees them: names and sizes, small texts, safetensors headers. One shape for a folder
on disk and for a repository that has not been downloaded."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from modelyard.catalog.regular_file import open_regular
from modelyard.catalog.safetensors_header import CorruptWeights, Header, add_headers, read_header
from modelyard.records.gguf import CorruptGguf, GgufHeader, read_gguf_file
from modelyard.validation import fault_of

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""No config is larger; of a README only the beginning matters."""

MAX_FILES = 10_000
"""In a model's folder. The largest repositories of the hub, with their weights in hundreds of parts, hold a tenth."""

T = TypeVar("T")

_DEPTH = 2
"""How deep a model's parts can lie: `unet/` (diffusers), `1_Dense/` (sentence-transformers)."""


class CorruptText(Exception):
    """A small file that should be a JSON object is not. The message names the file."""


class Files(Protocol):
    """Names are relative, with "/" between parts, as in a repository."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Every file's size in bytes."""

    def read(self, name: str) -> bytes:
        """The content of a small file, at most MAX_TEXT_BYTES of it. Raises OSError."""

    def header(self, names: Sequence[str]) -> Header:
        """The sum of these safetensors files' headers. Raises CorruptWeights with the file's name in it, OSError."""

    def gguf_header(self, name: str) -> GgufHeader:
        """The header of a GGUF file. Raises CorruptGguf with the file's name in it, OSError."""


Fingerprint = tuple[tuple[str, int, int], ...]
"""(name, size in bytes, modification time in ns) of every file: equal fingerprints mean an unchanged folder."""


def scan_folder(path: Path) -> Fingerprint:
    """What lies in the folder now. Hidden files and folders are left out.

    Raises OSError when it cannot be read, or holds more files than a model has.
    """
    entries = list(islice(_walk(str(path), "", _DEPTH), MAX_FILES + 1))
    if len(entries) > MAX_FILES:
        raise OSError(errno.EFBIG, f"more than {MAX_FILES:,} files")
    return tuple(sorted(entries))


def _walk(folder: str, prefix: str, depth: int) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                is_folder, status = entry.is_dir(), entry.stat()
            except OSError:  # a link to nowhere or in a circle, as an interrupted copy of a hub cache leaves it
                continue
            if not is_folder:
                yield prefix + entry.name, status.st_size, status.st_mtime_ns
            elif depth > 1:
                yield from _walk(entry.path, f"{prefix}{entry.name}/", depth - 1)


class FolderFiles:
    """The files of a folder on disk, as `fingerprint` found them."""

    def __init__(self, path: Path, fingerprint: Fingerprint) -> None:
        self._path = path
        self._sizes = {name: size for name, size, _ in fingerprint}

    @property
    def sizes(self) -> Mapping[str, int]:
        return self._sizes

    def read(self, name: str) -> bytes:
        with open_regular(self._path / name) as file:
            return file.read(MAX_TEXT_BYTES)

    def header(self, names: Sequence[str]) -> Header:
        return add_headers(self._header(name) for name in names)

    def gguf_header(self, name: str) -> GgufHeader:
        return read_gguf_at(self._path / name, name)

    def _header(self, name: str) -> Header:
        try:
            return read_header(self._path / name)
        except CorruptWeights as error:
            raise CorruptWeights(f"{name} {error}") from error


def read_gguf_at(path: Path, name: str) -> GgufHeader:
    """The header of the GGUF file at `path`. Raises CorruptGguf with `name` in it, OSError."""
    try:
        with open_regular(path) as file:
            return read_gguf_file(file)
    except CorruptGguf as error:
        raise CorruptGguf(f"{name} {error}") from error


def read_json(files: Files, name: str) -> dict[str, Any]:
    """The JSON object in `name`, or {} when there is no such file. Raises CorruptText."""
    return _decoded(files, name, dict[str, Any], "object") if name in files.sizes else {}


def read_json_list(files: Files, name: str) -> list[dict[str, Any]]:
    """The JSON list of objects in `name`, or [] when there is no such file. Raises CorruptText."""
    return _decoded(files, name, list[dict[str, Any]], "list of objects") if name in files.sizes else []


def _decoded(files: Files, name: str, kind: type[T], words: str) -> T:
    try:
        return msgspec.json.decode(files.read(name), type=kind)
    except msgspec.ValidationError as error:
        raise CorruptText(f"{name} is not a JSON {words}") from error
    except RecursionError as error:
        raise CorruptText(f"{name} nests its lists and objects too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptText(f"{name} is not valid JSON ({fault_of(error)})") from error
