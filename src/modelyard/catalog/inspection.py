"""Inspection: what a model is, from its files alone. Owns the order in which the files are asked and the clauses
that say why a model cannot be served; loads nothing and runs nothing of the model's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from modelyard.catalog import library
from modelyard.catalog.adapters import inspect_adapter, is_adapter, names_base
from modelyard.catalog.architectures import UNSERVED, architecture, detect_task, is_for_pipelines, known_task
from modelyard.catalog.bounds import MAX_SHOWN, bounded
from modelyard.catalog.files import CorruptText, Files, FolderFiles, read_json, read_json_list, scan_folder
from modelyard.catalog.foreign import find_foreign, find_foreign_files
from modelyard.catalog.gguf import inspect_gguf
from modelyard.catalog.gguf_files import GgufModel, choose_gguf_model, find_gguf_models
from modelyard.catalog.onnx import inspect_onnx
from modelyard.catalog.onnx_files import OnnxModel, choose_onnx_model, find_onnx_models, find_onnx_part
from modelyard.catalog.pipelines import describe_refusal, detect_pipeline_task, find_one_file
from modelyard.catalog.quantised import estimate_loaded_bytes, find_missing_extra, find_quantisation
from modelyard.catalog.rankers import find_ranking_problem, is_cross_encoder, looks_like_ranker
from modelyard.catalog.readme import FrontMatter, parse_front_matter
from modelyard.catalog.safetensors_header import CorruptWeights, Header
from modelyard.catalog.tokenizer_files import find_missing_tokenizer
from modelyard.catalog.unnamed import find_class
from modelyard.catalog.weights import (
    PICKLE_STEMS,
    SAFETENSORS_STEMS,
    Format,
    Weights,
    find_variant,
    find_weights,
)
from modelyard.records.models import Inspection
from modelyard.records.variants import MANIFEST_FILE, MODEL_FILE, Manifest

log = logging.getLogger(__name__)

MAX_FIGURES = 16
"""Of a variant's quality. There are two."""
_UNEXPECTED = (TypeError, AttributeError, ValueError, LookupError, ArithmeticError, RecursionError)
"""What values of other types than a model's files have raise: a stranger's files must spoil no list."""
_CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_target_positions")
_SIZES = (
    *_LENGTHS, "num_labels", "vocab_size", "hidden_size", "d_model", "n_embd", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_channels", "image_size", "patch_size", "type_vocab_size",
)  # fmt: skip
"""Fields of config.json for which memory is taken before any weight is read."""
MAX_SIZE = 10**8
"""No model's figure is larger: the largest vocabularies have 3 * 10**5 words, the longest contexts 10**7 tokens."""
_NO_LIMIT = 10**9
"""Tokenizers without a limit say 1e30."""
_PADDED_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text", "longformer", "mpnet"}
"""Their first two positions are not for tokens."""
_NO_CONFIG = "has no config.json (or model_index.json), so nothing says how to load it"
_WEIGHTLESS = ("Tokenizer", "TokenizerFast", "Scheduler", "FeatureExtractor", "Processor", "ImageProcessorPil")


@dataclass(frozen=True, slots=True)
class _Manifest:
    """The small files that describe the others, read once. `pipeline`: diffusers; `modules`, `sentence` (of its model)
    and `sentence_transformers` (of all of it): sentence-transformers."""

    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    pipeline: Mapping[str, Any]
    modules: Sequence[Mapping[str, Any]]
    sentence: Mapping[str, Any]
    sentence_transformers: Mapping[str, Any]

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
        return ["", *(f"{path}/" for module in self.modules if (path := module.get("path")))]


def inspect_folder(path: Path) -> Inspection:
    """What the model in the folder is. Raises OSError when the folder cannot be read."""
    return inspect_files(FolderFiles(path, scan_folder(path)), name=path.name)


class NoSuchFile(Exception):
    """A repository has no file of the label that was asked for."""


def inspect_files(
    files: Files, front: FrontMatter | None = None, *, name: str = "", label: str | None = None
) -> Inspection:
    """The same for files wherever they lie. `front`: the card's front matter when known, else README.md is read.
    `name`: the model's, which may say what its files do not. `label`: which of several files is meant; None: the
    repository as a whole. Raises NoSuchFile."""
    if front is None:
        front = _read_front_matter(files)
    try:
        return bounded(_inspect(files, front, name, label))
    except CorruptText as error:
        problem = f"cannot be read: {error}"
    except _UNEXPECTED:
        log.warning("the files of a model hold what no model's files hold", exc_info=True)
        problem = "cannot be read: a value in its JSON files has another type than loading it needs"
    return bounded(Inspection(license=front.license, pipeline_tag=front.pipeline_tag, problem=problem))


def _inspect(files: Files, front: FrontMatter, name: str, label: str | None) -> Inspection:
    quantisations = find_gguf_models(files.sizes)
    if label is not None and choose_gguf_model(quantisations, label) is not None:
        return _inspect_gguf(files, front, quantisations, label)
    if MANIFEST_FILE in files.sizes:
        if label is not None:
            raise NoSuchFile(label)
        return _inspect_variant(files, front)
    if is_adapter(files) and names_base(files):
        return inspect_adapter(files, front)
    manifest = _read_manifest(files)
    graphs = [] if manifest.pipeline else find_onnx_models(files.sizes)
    if label is not None:
        return _inspect_onnx(files, front, manifest, graphs, name, label)
    weights = find_weights(files, manifest.folders)
    if quantisations and weights.format in (Format.NONE, Format.FOREIGN):
        return _inspect_gguf(files, front, quantisations, None)
    if graphs and weights.format is not Format.SAFETENSORS:
        exported = _inspect_onnx(files, front, manifest, graphs, name, None)
        if exported.problem is None or weights.format in (Format.NONE, Format.FOREIGN):
            return exported
    header, damage = _read_header(files, weights)
    manifest = _with_class(manifest, header)
    stored_bytes = sum(files.sizes[name] for name in weights.files)
    task = _task(files, front, manifest, name)
    return Inspection(
        task=task,
        architecture=_architecture(manifest),
        library=_library(manifest),
        parameters=header.parameters.total() if header else None,
        weight_bytes=header.data_bytes if header else stored_bytes or None,
        dtype=header.dtype if header else None,
        max_length=_max_length(manifest),
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        remote_code=_needs_remote_code(files, manifest),
        pickle_only=weights.format is Format.PICKLE,
        problem=_one_file(manifest, header)
        or _problem(files, front, manifest, weights, damage, task)
        or (None if task else _taskless(front, manifest)),
        weight_files=weights.files,
        labels=(*(model.label for model in quantisations), *(graph.label for graph in graphs)),
        quantisation=find_quantisation(manifest.config),
        loaded_bytes=estimate_loaded_bytes(manifest.config, header.parameters) if header else None,
    )


def _inspect_onnx(
    files: Files, front: FrontMatter, manifest: _Manifest, graphs: Sequence[OnnxModel], name: str, label: str | None
) -> Inspection:
    """The one of `graphs` that `label` means. Raises NoSuchFile."""
    graph = choose_onnx_model(graphs, label)
    if graph is None:
        raise NoSuchFile(label)
    manifest = _with_class(manifest, None)
    task = _task(files, front, manifest, name)
    problem = _unsupported_type(manifest) or _absurd_size(manifest.config) or find_missing_tokenizer(task, files.sizes)
    found = Inspection(
        task=task,
        architecture=_architecture(manifest),
        max_length=_max_length(manifest),
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        remote_code=_needs_remote_code(files, manifest),
        problem=problem or (None if task else _taskless(front, manifest)) if manifest.config else _NO_CONFIG,
    )
    return inspect_onnx(found, graph, [each.label for each in graphs])


def _inspect_gguf(files: Files, front: FrontMatter, models: Sequence[GgufModel], label: str | None) -> Inspection:
    """The one of `models` that `label` means. Raises NoSuchFile."""
    model = choose_gguf_model(models, label)
    if model is None:
        raise NoSuchFile(label)
    return inspect_gguf(files, front, model, [each.label for each in models])


def _inspect_variant(files: Files, front: FrontMatter) -> Inspection:
    """A variant, by what was written down when it was made."""
    manifest, weights = _read_manifest(files), find_variant(files)
    try:
        variant = msgspec.json.decode(files.read(MANIFEST_FILE), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptText(f"{MANIFEST_FILE} is not what a variant has ({error}); make it again") from error
    problem = weights.problem and f"cannot be loaded: {weights.problem}; make the variant again"
    if weights.format is Format.NONE:
        problem = f"has no weights: there is no {MODEL_FILE}; make the variant again"
    return Inspection(
        task=variant.task,
        architecture=_architecture(manifest),
        library="onnx",
        parameters=variant.parameters,
        weight_bytes=sum(files.sizes[name] for name in weights.files) or None,
        dtype="I8" if variant.kind.endswith("8-bit") else "F32",
        max_length=variant.max_length or _max_length(manifest),
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        problem=problem,
        weight_files=weights.files,
        quality={figure.name[:MAX_SHOWN]: figure.value for figure in variant.quality[:MAX_FIGURES]},
    )


def _read_front_matter(files: Files) -> FrontMatter:
    if "README.md" not in files.sizes:
        return FrontMatter()
    return parse_front_matter(files.read("README.md").decode("utf-8", "replace"))


def _read_manifest(files: Files) -> _Manifest:
    modules = read_json_list(files, "modules.json")
    at = ""
    if modules and "config.json" not in files.sizes:  # older sentence-transformers put the model in its first module
        at = f"{modules[0].get('path')}/"
    return _Manifest(
        config=read_json(files, f"{at}config.json"),
        tokenizer=read_json(files, f"{at}tokenizer_config.json"),
        pipeline=read_json(files, "model_index.json"),
        modules=modules,
        sentence=read_json(files, f"{at}sentence_bert_config.json"),
        sentence_transformers=read_json(files, "config_sentence_transformers.json"),
    )


def _read_header(files: Files, weights: Weights) -> tuple[Header | None, str | None]:
    """The weights' header, and what is wrong with it."""
    if weights.format is not Format.SAFETENSORS:
        return None, None
    try:
        return files.header(weights.files), None
    except CorruptWeights as error:
        return None, f"cannot be loaded: {error}"


def _with_class(manifest: _Manifest, header: Header | None) -> _Manifest:
    """The same with the class that a config without one would name."""
    if not manifest.config or manifest.pipeline or architecture(manifest.config) or "auto_map" in manifest.config:
        return manifest
    name = find_class(manifest.config, header.modules if header else ())
    return replace(manifest, config={**manifest.config, "architectures": [name]}) if name else manifest


def _task(files: Files, front: FrontMatter, manifest: _Manifest, name: str) -> str | None:
    if needs_no_model(front.pipeline_tag):
        return front.pipeline_tag
    if manifest.pipeline:
        return detect_pipeline_task(tag=front.pipeline_tag, pipeline=_architecture(manifest) or "")
    tags = (*front.tags, front.pipeline_tag or "")
    template = "chat_template" in manifest.tokenizer or any(name in files.sizes for name in _CHAT_TEMPLATES)
    return detect_task(
        tag=front.pipeline_tag,
        tags=front.tags,
        config=manifest.config,
        chat_template=template,
        embeds_sentences=bool(manifest.modules) and not is_cross_encoder(manifest.sentence_transformers),
        ranks=looks_like_ranker(name, tags, manifest.config, manifest.sentence_transformers),
    )


def needs_no_model(task_id: str | None) -> bool:
    """Whether it is the id of a task that runs without a model, so that its folder needs no weights."""
    task = known_task(task_id) if task_id else None
    return task is not None and not task.heads


def _architecture(manifest: _Manifest) -> str | None:
    name = manifest.pipeline.get("_class_name")
    if isinstance(name, list):  # [module in the repository, class]
        name = name[-1]
    return str(name) if name else architecture(manifest.config)


def _library(manifest: _Manifest) -> str:
    if manifest.pipeline:
        return "diffusers"
    return "sentence-transformers" if manifest.modules else "transformers"


def _max_length(manifest: _Manifest) -> int | None:
    """The longest input in tokens: the least of what the files say."""
    text = manifest.config.get("text_config")
    config = {**manifest.config, **text} if isinstance(text, dict) else manifest.config
    limits = [config.get(name) for name in _LENGTHS]
    if config.get("model_type") in _PADDED_POSITIONS:
        limits = [limit - 2 if isinstance(limit, int) else None for limit in limits]
    limits += [manifest.tokenizer.get("model_max_length"), manifest.sentence.get("max_seq_length")]
    return min(
        (int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT), default=None
    )


def _needs_remote_code(files: Files, manifest: _Manifest) -> bool:
    """Whether loading means running Python that came with the model."""
    if isinstance(manifest.pipeline.get("_class_name"), list):
        return True
    if any(f"{folder}/{module}.py" in files.sizes for folder, (module, _) in manifest.components.items()):
        return True
    if any(not str(module.get("type")).startswith("sentence_transformers.") for module in manifest.modules):
        return True
    if "auto_map" in manifest.config and not _is_native(manifest):
        return True
    return "auto_map" in manifest.tokenizer and "tokenizer.json" not in files.sizes and not _is_native(manifest)


def _is_native(manifest: _Manifest) -> bool:
    return manifest.config.get("model_type") in library.native_model_types()


def _problem(
    files: Files, front: FrontMatter, manifest: _Manifest, weights: Weights, damage: str | None, task: str | None
) -> str | None:
    """Why the model cannot be loaded, whatever the operator allows; None when nothing speaks against it."""
    if needs_no_model(task):
        return None
    said = find_foreign(files.sizes, front, manifest.config, manifest.modules)
    if said and not manifest.pipeline:
        return said
    incomplete = _incomplete(files, manifest, weights, damage) or _unsupported_type(manifest)
    if incomplete or not _has_library_names(weights):
        return find_foreign_files(files.sizes, front) or incomplete
    return (
        UNSERVED.get(_architecture(manifest) or "")
        or _missing_library(manifest.config)
        or find_missing_extra(manifest.config)
        or _absurd_size(manifest.config)
        or (_ranking_problem(manifest) if task == "text-ranking" else None)
        or find_missing_tokenizer(task, files.sizes)
    )


def _one_file(manifest: _Manifest, header: Header | None) -> str | None:
    described = manifest.config or manifest.pipeline or manifest.modules
    return None if described or header is None else find_one_file(header.modules)


def _missing_library(config: Mapping[str, Any]) -> str | None:
    """What a model lacks that sees with the backbone of another library, as the published DETR does."""
    if config.get("model_type") == "layoutlmv2" and not library.is_installed("detectron2"):
        return (
            "sees with the library detectron2, which is not installed here and has no ready packages; take a model of "
            "type layoutlmv3, layoutlm or lilt"
        )
    backbone = config.get("backbone_config")
    is_timm = config.get("use_timm_backbone") or (
        isinstance(backbone, dict) and backbone.get("model_type") == "timm_backbone"
    )
    if not is_timm or library.is_installed("timm"):
        return None
    return (
        "has a backbone of the library timm, which is not installed here; `pip install timm torchvision` beside "
        "Modelyard, or take a model whose backbone is one of transformers'"
    )


def _ranking_problem(manifest: _Manifest) -> str | None:
    names = manifest.config.get("architectures")
    architectures = [str(name) for name in names] if isinstance(names, list) else []
    return find_ranking_problem(architectures, manifest.modules, manifest.sentence)


def _has_library_names(weights: Weights) -> bool:
    """Whether the weights are called as the libraries that run here call them."""
    return any(PurePosixPath(name).name.startswith((*SAFETENSORS_STEMS, *PICKLE_STEMS)) for name in weights.files)


def _incomplete(files: Files, manifest: _Manifest, weights: Weights, damage: str | None) -> str | None:
    if not (manifest.config or manifest.pipeline or manifest.modules):
        if is_adapter(files):
            return "is an adapter that names no base; write its model id as base_model_name_or_path into its config"
        if weights.format is Format.FOREIGN:
            return f"cannot be loaded: {weights.problem}; use the repository that has the original safetensors"
        return _NO_CONFIG
    if part := find_onnx_part(files.sizes) if weights.format in (Format.NONE, Format.FOREIGN) else None:
        return f"is exported to ONNX in several graphs ({part} is one), which are not served; take the original weights"
    if weights.format is Format.NONE:
        return "has no weights: there is no model.safetensors"
    if weights.problem or damage:
        return damage or f"cannot be loaded: {weights.problem}"
    if missing := _missing_component(files, manifest):
        return f"is not complete: model_index.json names {missing}/, which has no weights"
    return None


def _absurd_size(config: Mapping[str, Any]) -> str | None:
    """What no model has so much of, in its config.json or a part of that."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for name in _SIZES:
            if isinstance(size := part.get(name), int | float) and not size <= MAX_SIZE:
                return f"has {name} = {size:.4g} in its config.json, and no model has more than {MAX_SIZE:,}"
    return None


def _missing_component(files: Files, manifest: _Manifest) -> str | None:
    """The first of a pipeline's folders that is not there, or lacks its weights. Parts that have none (tokenizers,
    schedulers, guiders) have no config.json either."""
    for folder, (_, kind) in manifest.components.items():
        if kind.endswith(_WEIGHTLESS) or "Scheduler" in kind:
            continue
        inside = [name for name in files.sizes if name.startswith(f"{folder}/")]
        has_config = f"{folder}/config.json" in files.sizes
        if not inside or (has_config and find_weights(files, [f"{folder}/"]).format is Format.NONE):
            return folder
    return None


def _unsupported_type(manifest: _Manifest) -> str | None:
    if not manifest.config or manifest.pipeline or "auto_map" in manifest.config:
        return None
    native, kind = library.native_model_types(), manifest.config.get("model_type")
    if kind is None:
        return "has a config.json without a model_type, so nothing says how to load it"
    if native and kind not in native:
        saved = manifest.config.get("transformers_version")
        newer = library.is_newer(saved)
        advice = f"it was saved by {saved}, so a newer Modelyard may" if newer else "its card may name what runs it"
        return f"is of type {kind!r}, which transformers {library.transformers_version()} does not know; {advice}"
    return None


def _taskless(front: FrontMatter, manifest: _Manifest) -> str:
    if is_for_pipelines(front.pipeline_tag) and not manifest.pipeline:
        return f"is for the task {front.pipeline_tag!r}, which only pipelines of diffusers are served for; take one"
    if front.pipeline_tag and not known_task(front.pipeline_tag):
        return f"is for the task {front.pipeline_tag!r}, which Modelyard does not serve"
    name = _architecture(manifest)
    if manifest.pipeline:
        return describe_refusal(str(name))
    return f"has the architecture {name}, which tells no task; write `pipeline_tag: <task>` at the top of its README.md"
