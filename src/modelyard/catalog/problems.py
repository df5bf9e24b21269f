"""Why a model cannot be served, as clauses that follow its name. Owns the order in which reasons are looked for: what
is missing or another library's first, then what the operator could install, then what its task lacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from modelyard.catalog import library
from modelyard.catalog.adapters import is_adapter
from modelyard.catalog.architectures import is_for_pipelines, known_task
from modelyard.catalog.files import Files
from modelyard.catalog.foreign import find_foreign, find_foreign_files
from modelyard.catalog.metadata import LENGTHS, Metadata
from modelyard.catalog.onnx_files import find_onnx_part
from modelyard.catalog.pipelines import describe_refusal, find_missing_checker
from modelyard.catalog.quantised import find_missing_extra
from modelyard.catalog.rankers import find_ranking_problem, is_cross_encoder
from modelyard.catalog.readme import FrontMatter
from modelyard.catalog.tokenizer_files import find_missing_tokenizer
from modelyard.catalog.vision import find_missing_vision
from modelyard.catalog.weights import PICKLE_STEMS, SAFETENSORS_STEMS, Format, Weights, find_weights
from modelyard.records import sounds
from modelyard.records.sentence_modules import find_unknown

_SIZES = (
    *LENGTHS, "num_labels", "vocab_size", "hidden_size", "d_model", "n_embd", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_channels", "image_size", "patch_size", "type_vocab_size",
)  # fmt: skip
"""Fields of config.json for which memory is taken before any weight is read."""
MAX_SIZE = 10**8
"""No model's figure is larger: the largest vocabularies have 3 * 10**5 words, the longest contexts 10**7 tokens."""
NO_CONFIG = "has no config.json (or model_index.json), so nothing says how to load it"
_WEIGHTLESS = ("Tokenizer", "TokenizerFast", "Scheduler", "FeatureExtractor", "Processor", "ImageProcessorPil")


def needs_no_model(task_id: str | None) -> bool:
    """Whether it is the id of a task that runs without a model, so that its folder needs no weights."""
    task = known_task(task_id) if task_id else None
    return task is not None and not task.heads


def find_problem(
    files: Files, front: FrontMatter, metadata: Metadata, weights: Weights, damage: str | None, task: str | None
) -> str | None:
    """Why the model cannot be loaded, whatever the operator allows; None when nothing speaks against it."""
    if needs_no_model(task):
        return None
    said = find_foreign(files.sizes, front, metadata.config, metadata.modules)
    if said and not metadata.pipeline:
        return said
    if unknown := _unknown_module(metadata):
        return unknown
    incomplete = _incomplete(files, metadata, weights, damage) or find_unsupported_type(metadata)
    if incomplete or not _has_library_names(weights):
        return find_foreign_files(files.sizes, front) or incomplete
    return (
        _missing_library(metadata)
        or find_missing_vision(files, metadata.config, task)
        or find_missing_extra(metadata.config)
        or find_absurd_size(metadata.config)
        or _unserved_voice(metadata, task)
        or (_ranking_problem(metadata) if task == "text-ranking" else None)
        or find_missing_tokenizer(task, files.sizes)
    )


def _missing_library(metadata: Metadata) -> str | None:
    """The library that a model sees with, or is checked with, where nothing installs it by itself."""
    if metadata.pipeline:
        return find_missing_checker(str(metadata.architecture), metadata.pipeline)
    if metadata.config.get("model_type") != "layoutlmv2" or library.is_installed("detectron2"):
        return None
    return (
        "sees with the library detectron2, which is not installed here and has no ready packages; take a model of "
        "type layoutlmv3, layoutlm or lilt"
    )


def _ranking_problem(metadata: Metadata) -> str | None:
    names = metadata.config.get("architectures")
    architectures = [str(name) for name in names] if isinstance(names, list) else []
    return find_ranking_problem(architectures, metadata.modules, metadata.sentence)


def _unknown_module(metadata: Metadata) -> str | None:
    kind = find_unknown(metadata.modules)
    if kind is None or is_cross_encoder(metadata.sentence_transformers):
        return None
    return (
        f"has the module {kind} of sentence-transformers, which Modelyard does not run; take a model whose "
        "modules.json names none but a Transformer, Pooling, Dense and the like"
    )


def _unserved_voice(metadata: Metadata, task: str | None) -> str | None:
    kind = metadata.config.get("model_type")
    if task not in sounds.TASKS or metadata.pipeline or kind in sounds.SERVED:
        return None
    known = ", ".join(sounds.SERVED)
    return f"is of type {kind!r}, which Modelyard does not run for {task}; take a model of one of the types {known}"


def _has_library_names(weights: Weights) -> bool:
    """Whether the weights are called as the libraries that run here call them."""
    return any(PurePosixPath(name).name.startswith((*SAFETENSORS_STEMS, *PICKLE_STEMS)) for name in weights.files)


def _incomplete(files: Files, metadata: Metadata, weights: Weights, damage: str | None) -> str | None:
    if metadata.is_empty:
        if is_adapter(files):
            return "is an adapter that names no base; write its model id as base_model_name_or_path into its config"
        if weights.format is Format.FOREIGN:
            return f"cannot be loaded: {weights.problem}; use the repository that has the original safetensors"
        return NO_CONFIG
    if part := find_onnx_part(files.sizes) if weights.format in (Format.NONE, Format.FOREIGN) else None:
        return f"is exported to ONNX in several graphs ({part} is one), which are not served; take the original weights"
    if weights.format is Format.NONE:
        return "has no weights: there is no model.safetensors"
    if weights.problem or damage:
        return damage or f"cannot be loaded: {weights.problem}"
    if missing := _missing_component(files, metadata):
        return f"is not complete: model_index.json names {missing}/, which has no weights"
    return None


def find_absurd_size(config: Mapping[str, Any]) -> str | None:
    """What no model has so much of, in its config.json or a part of that."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for name in _SIZES:
            if isinstance(size := part.get(name), int | float) and not size <= MAX_SIZE:
                return f"has {name} = {size:.4g} in its config.json, and no model has more than {MAX_SIZE:,}"
    return None


def _missing_component(files: Files, metadata: Metadata) -> str | None:
    """The first of a pipeline's folders that is not there, or lacks its weights. Parts that have none (tokenizers,
    schedulers, guiders) have no config.json either."""
    for folder, (_, kind) in metadata.components.items():
        if kind.endswith(_WEIGHTLESS) or "Scheduler" in kind:
            continue
        inside = [name for name in files.sizes if name.startswith(f"{folder}/")]
        has_config = f"{folder}/config.json" in files.sizes
        if not inside or (has_config and find_weights(files, [f"{folder}/"]).format is Format.NONE):
            return folder
    return None


def find_unsupported_type(metadata: Metadata) -> str | None:
    """What is wrong with the type of model that config.json names; None: the library knows it."""
    if not metadata.config or metadata.pipeline or metadata.is_static or "auto_map" in metadata.config:
        return None
    native, kind = library.native_model_types(), metadata.config.get("model_type")
    if kind is None:
        return "has a config.json without a model_type, so nothing says how to load it"
    if native and kind not in native:
        saved = metadata.config.get("transformers_version")
        newer = library.is_newer(saved)
        advice = f"it was saved by {saved}, so a newer Modelyard may" if newer else "its card may name what runs it"
        return f"is of type {kind!r}, which transformers {library.transformers_version()} does not know; {advice}"
    return None


def describe_taskless(front: FrontMatter, metadata: Metadata) -> str:
    """Why a model has no task that is served."""
    if is_for_pipelines(front.pipeline_tag) and not metadata.pipeline:
        return f"is for the task {front.pipeline_tag!r}, which only pipelines of diffusers are served for; take one"
    if front.pipeline_tag and not known_task(front.pipeline_tag):
        return f"is for the task {front.pipeline_tag!r}, which Modelyard does not serve"
    name = metadata.architecture
    if metadata.pipeline:
        return describe_refusal(str(name))
    return f"has the architecture {name}, which tells no task; write `pipeline_tag: <task>` at the top of its README.md"
