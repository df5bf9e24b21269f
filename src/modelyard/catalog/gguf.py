"""Inspection of GGUF models, from the header of their file alone: how task and need of memory follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from modelyard.catalog import library
from modelyard.catalog.files import Files
from modelyard.catalog.gguf_files import GgufModel, find_projector
from modelyard.catalog.readme import FrontMatter
from modelyard.records.gguf import CorruptGguf, GgufHeader
from modelyard.records.models import GGUF, Inspection

EMBEDS = frozenset({"feature-extraction", "sentence-similarity"})
"""Tasks of models that make vectors."""
POOLED = "pooling_type"
"""Of the header of a model that makes vectors. Source: llama.cpp's enum llama_pooling_type; 0 is none, 4 ranks."""
RANKS = 4
CACHE_VALUE_BYTES = 2
"""Keys and values are kept in 16 bits."""
MODEL = "model"
NO_MODELS = ("clip",)
"""Architectures that are a part of a model."""
LLAMA_CPP = "xllamacpp"
"""What holds such models in a worker."""


def inspect_gguf(files: Files, front: FrontMatter, model: GgufModel, labels: Sequence[str]) -> Inspection:
    """What one quantisation is. `labels`: of all there are in its repository."""
    found = Inspection(
        library=GGUF,
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        weight_bytes=model.size_bytes,
        dtype=model.label,
        labels=tuple(labels),
        weight_files=model.files,
    )
    if not model.is_whole:
        return found.refused(f"is not complete: of {model.label} there are {len(model.files)} files, not {model.parts}")
    try:
        headers = [files.gguf_header(name) for name in model.files]
    except CorruptGguf as error:
        return found.refused(f"cannot be loaded: {error}")
    header = headers[0]
    parameters: Counter[str] = sum((each.parameters for each in headers), Counter())
    task = find_task(header, front)
    projector = find_projector(files.sizes)
    return found.refused(
        find_problem(header),
        task=task,
        architecture=header.architecture or None,
        parameters=parameters.total(),
        max_length=header.find_count("context_length"),
        token_bytes=token_bytes(header),
        license=front.license or license_of(header),
        weight_files=model.files if projector is None else (*model.files, projector),
    )


def license_of(header: GgufHeader) -> str | None:
    """The license that a header names."""
    name = header.values.get("general.license")
    return name if isinstance(name, str) else None


def find_task(header: GgufHeader, front: FrontMatter) -> str:
    """The task, from the header; a card says which of two that make vectors."""
    tag = front.pipeline_tag
    if header.find(POOLED) == RANKS:
        return "text-ranking"
    if header.find(POOLED) or header.find("attention.causal") is False:
        return tag if tag in EMBEDS else "feature-extraction"
    return "chat" if isinstance(header.values.get("tokenizer.chat_template"), str) else "text-generation"


def find_problem(header: GgufHeader) -> str | None:
    """Why the model cannot be served; None when nothing speaks against it."""
    if not header.architecture:
        return "has no general.architecture in its GGUF header, so nothing says how to load it"
    kind = header.values.get("general.type", MODEL)
    if kind != MODEL or header.architecture in NO_MODELS:
        return f"is a part of a model (of type {kind}, architecture {header.architecture}), not a whole one"
    if "tokenizer.ggml.tokens" not in header.values:
        return "has no vocabulary in its GGUF header, so that it can read no text"
    # Without transformers no model runs here: workers elsewhere have what they need.
    if library.native_model_types() and not library.is_installed(LLAMA_CPP):
        return f"is in a GGUF file, for which llama.cpp is not installed here; {library.how_to_install('gguf')}"
    return None


def token_bytes(header: GgufHeader) -> int:
    """What keeping one token in the context takes: keys and values of every layer.

    Too much for models of which some layers keep a window or a state only; a measurement replaces it.
    """
    layers, heads = header.find_count("block_count") or 0, header.find_count("attention.head_count") or 1
    width = (header.find_count("embedding_length") or 0) // heads
    widths = sum(header.find_count(f"attention.{name}_length") or width for name in ("key", "value"))
    kept = header.find("attention.head_count_kv")
    if isinstance(kept, list):
        all_heads = sum(each for each in kept if isinstance(each, int) and each > 0)
    else:
        all_heads = layers * (kept if isinstance(kept, int) and kept >= 0 else heads)
    return all_heads * widths * CACHE_VALUE_BYTES
