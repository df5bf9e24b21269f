"""A repository's files as inspection sees them, without downloading its weights: small files and safetensors headers
are read over the network, or from the cache when they are there. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from modelyard.catalog.files import MAX_TEXT_BYTES, read_gguf_at
from modelyard.catalog.hub_cache import HubCache
from modelyard.catalog.hub_client import HubClient, Repository
from modelyard.catalog.regular_file import open_regular
from modelyard.catalog.safetensors_header import (
    LENGTH_BYTES,
    CorruptWeights,
    Header,
    add_headers,
    header_length,
    header_of_counts,
    parse_header,
    read_header,
)
from modelyard.catalog.weights import SAFETENSORS_STEMS
from modelyard.records.gguf import CorruptGguf, GgufHeader, read_gguf

_FIRST_READ_BYTES = 64 * 1024
"""Holds the whole header of most single-file models: one request instead of two."""


class HubFiles:
    """Belongs to one inspection. Methods raise ModelRefused and HubUnreachable besides what `Files` says."""

    def __init__(self, repository: Repository, client: HubClient, cache: HubCache) -> None:
        self._repository = repository
        self._client = client
        self._cache = cache

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        return {name: file.size for name, file in self._repository.files.items()}

    def read(self, name: str) -> bytes:
        here = self._cache.file(self._repository, name)
        if here is not None:
            with open_regular(here) as file:
                return file.read(MAX_TEXT_BYTES)
        return self._client.read(self._repository, name, 0, min(self.sizes[name], MAX_TEXT_BYTES) - 1)

    def header(self, names: Sequence[str]) -> Header:
        if self._repository.parameters and all(name.startswith(SAFETENSORS_STEMS) for name in names):
            return header_of_counts(self._repository.parameters)
        return add_headers(self._header(name) for name in names)

    def gguf_header(self, name: str) -> GgufHeader:
        here = self._cache.file(self._repository, name)
        if here is not None:
            return read_gguf_at(here, name)
        try:
            return read_gguf(lambda first, count: self._read_range(name, first, count), self.sizes[name])
        except CorruptGguf as error:
            raise CorruptGguf(f"{name} {error}") from error

    def _read_range(self, name: str, first: int, count: int) -> bytes:
        last = min(first + count, self.sizes[name]) - 1
        return self._client.read(self._repository, name, first, last) if first <= last else b""

    def _header(self, name: str) -> Header:
        try:
            here = self._cache.file(self._repository, name)
            return read_header(here) if here is not None else self._remote_header(name)
        except CorruptWeights as error:
            raise CorruptWeights(f"{name} {error}") from error

    def _remote_header(self, name: str) -> Header:
        size = self.sizes[name]
        start = self._client.read(self._repository, name, 0, min(size, _FIRST_READ_BYTES) - 1)
        end = LENGTH_BYTES + header_length(start, size)
        if end > len(start):
            start += self._client.read(self._repository, name, len(start), end - 1)
        return parse_header(start[LENGTH_BYTES:end], size)
