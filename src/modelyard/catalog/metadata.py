"""The small files that describe a model, and what they say when taken together. Owns which files these are and in
which order they are believed; judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard.catalog import library
from modelyard.catalog.architectures import architecture
from modelyard.catalog.files import Files, read_json, read_json_list
from modelyard.catalog.readme import FrontMatter, parse_front_matter
from modelyard.catalog.safetensors_header import Header
from modelyard.catalog.unnamed import find_class
from modelyard.catalog.vision import name_timm_class
from modelyard.records.sentence_modules import ROUTER_FILE, TABLE, is_static, join, take_routes

LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_target_positions")
"""Fields of config.json that say how long an input may be."""
_NO_LIMIT = 10**9
"""Tokenizers without a limit say 1e30."""
_PADDED_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text", "longformer", "mpnet"}
"""Their first two positions are not for tokens."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The small files that describe the others, read once. `pipeline`: diffusers; `modules`, `sentence` (of its model)
    and `sentence_transformers` (of all of it): sentence-transformers."""

    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    pipeline: Mapping[str, Any]
    modules: Sequence[Mapping[str, Any]]
    sentence: Mapping[str, Any]
    sentence_transformers: Mapping[str, Any]

    @property
    def is_empty(self) -> bool:
        """Whether nothing says which class loads the weights."""
        return not (self.config or self.pipeline or self.modules)

    @property
    def components(self) -> Mapping[str, tuple[str, str]]:
        """A diffusers pipeline's parts: folder → (library, class)."""
        return {
            name: (str(value[0]), str(value[1]))
            for name, value in self.pipeline.items()
            if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0] and value[1]
        }

    @property
    def folders(self) -> list[str]:
        """Where weights may lie: "" is the model's own folder, others end with "/"."""
        if self.pipeline:
            return [f"{name}/" for name in self.components]
        return ["", *(f"{path}/" for module in self.modules if (path := module.get("path")) not in (None, "", "."))]

    @property
    def architecture(self) -> str | None:
        """The class of the model or pipeline."""
        name = self.pipeline.get("_class_name")
        if isinstance(name, list):  # [module in the repository, class]
            name = name[-1]
        return str(name) if name else architecture(self.config)

    @property
    def library(self) -> str:
        """What it was saved by."""
        if self.pipeline:
            return "diffusers"
        if self.is_static:
            return TABLE
        return "sentence-transformers" if self.modules else "transformers"

    @property
    def is_static(self) -> bool:
        """Whether it is a table of vectors."""
        return is_static(self.modules, self.config)

    @property
    def is_native(self) -> bool:
        """Whether the library has the model's type itself."""
        return self.config.get("model_type") in library.native_model_types()


def read_front_matter(files: Files) -> FrontMatter:
    """The head of the model's card."""
    if "README.md" not in files.sizes:
        return FrontMatter()
    return parse_front_matter(files.read("README.md").decode("utf-8", "replace"))


def read_metadata(files: Files) -> Metadata:
    """Reads them. Raises CorruptText."""
    listed = read_json_list(files, "modules.json")
    routes = read_json(files, join(listed[0].get("path"), ROUTER_FILE)) if listed else {}
    modules = take_routes(listed, routes)
    at = ""
    if modules and "config.json" not in files.sizes:  # older sentence-transformers put the model in its first module
        at = f"{modules[0].get('path')}/"
    return Metadata(
        config=name_timm_class(read_json(files, f"{at}config.json")),
        tokenizer=read_json(files, f"{at}tokenizer_config.json"),
        pipeline=read_json(files, "model_index.json"),
        modules=modules,
        sentence=read_json(files, f"{at}sentence_bert_config.json"),
        sentence_transformers=read_json(files, "config_sentence_transformers.json"),
    )


def with_class(metadata: Metadata, header: Header | None) -> Metadata:
    """The same with the class that a config without one would name."""
    if not metadata.config or metadata.pipeline or architecture(metadata.config) or "auto_map" in metadata.config:
        return metadata
    name = find_class(metadata.config, header.modules if header else ())
    return replace(metadata, config={**metadata.config, "architectures": [name]}) if name else metadata


def find_max_length(metadata: Metadata) -> int | None:
    """The longest input in tokens: the least of what the files say."""
    text = metadata.config.get("text_config")
    config = {**metadata.config, **text} if isinstance(text, dict) else metadata.config
    limits = [config.get(name) for name in LENGTHS]
    if config.get("model_type") in _PADDED_POSITIONS:
        limits = [limit - 2 if isinstance(limit, int) else None for limit in limits]
    limits += [metadata.tokenizer.get("model_max_length"), metadata.sentence.get("max_seq_length")]
    return min(
        (int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT), default=None
    )


def needs_remote_code(files: Files, metadata: Metadata) -> bool:
    """Whether loading means running Python that came with the model."""
    if isinstance(metadata.pipeline.get("_class_name"), list):
        return True
    if any(f"{folder}/{module}.py" in files.sizes for folder, (module, _) in metadata.components.items()):
        return True
    if any(not str(module.get("type")).startswith("sentence_transformers.") for module in metadata.modules):
        return True
    if "auto_map" in metadata.config and not metadata.is_native:
        return True
    return "auto_map" in metadata.tokenizer and "tokenizer.json" not in files.sizes and not metadata.is_native
