"""Inspection: what a model is, from its files alone. Owns the order in which the files are asked; loads nothing and
runs nothing of the model's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from modelyard.catalog.adapters import inspect_adapter, is_adapter, names_base
from modelyard.catalog.architectures import detect_task, known_task
from modelyard.catalog.bounds import MAX_SHOWN, bounded
from modelyard.catalog.checkpoints import inspect_checkpoint, is_checkpoint
from modelyard.catalog.files import CorruptText, Files, FolderFiles, scan_folder
from modelyard.catalog.gguf import inspect_gguf
from modelyard.catalog.gguf_files import GgufModel, choose_gguf_model, find_gguf_models
from modelyard.catalog.library import NO_OPENVINO, has_openvino
from modelyard.catalog.memory import plan_batch_bytes
from modelyard.catalog.metadata import (
    Metadata,
    find_max_length,
    needs_remote_code,
    read_front_matter,
    read_metadata,
    with_class,
)
from modelyard.catalog.onnx import inspect_onnx
from modelyard.catalog.onnx_files import OnnxModel, choose_onnx_model, find_onnx_models
from modelyard.catalog.pipeline_parts import find_part, inspect_part
from modelyard.catalog.pipelines import detect_pipeline_task
from modelyard.catalog.problems import (
    NO_CONFIG,
    describe_taskless,
    find_absurd_size,
    find_problem,
    find_unsupported_type,
    needs_no_model,
)
from modelyard.catalog.quantised import estimate_loaded_bytes, find_quantisation
from modelyard.catalog.rankers import is_cross_encoder, looks_like_ranker
from modelyard.catalog.readme import FrontMatter
from modelyard.catalog.safetensors_header import CorruptWeights, Header
from modelyard.catalog.tokenizer_files import find_missing_tokenizer
from modelyard.catalog.weights import Format, Weights, find_stored_type, find_variant, find_weights
from modelyard.records.models import Inspection
from modelyard.records.sentence_modules import weighs_words
from modelyard.records.variants import IN_OPENVINO, MANIFEST_FILE, MODEL_FILE, Manifest, library_of
from modelyard.validation import fault_of

log = logging.getLogger(__name__)

MAX_FIGURES = 16
"""Of a variant's quality. There are two."""
_UNEXPECTED = (TypeError, AttributeError, ValueError, LookupError, ArithmeticError, RecursionError)
"""What values of other types than a model's files have raise: a stranger's files must spoil no list."""
WEIGHS, COMPARES = "feature-extraction", "sentence-similarity"
"""The tasks of models that weigh words: cards of older ones say what their models were before."""
_CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json")


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
        front = read_front_matter(files)
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
    metadata = read_metadata(files)
    if not metadata.pipeline and (part := find_part(metadata.config)):
        weights = find_weights(files, metadata.folders)
        return inspect_part(files, front, part, weights, *_read_header(files, weights))
    graphs = [] if metadata.pipeline else find_onnx_models(files.sizes)
    if label is not None:
        return _inspect_onnx(files, front, metadata, graphs, name, label)
    weights = find_weights(files, metadata.folders)
    if quantisations and weights.format in (Format.NONE, Format.FOREIGN):
        return _inspect_gguf(files, front, quantisations, None)
    if graphs and weights.format is not Format.SAFETENSORS:
        exported = _inspect_onnx(files, front, metadata, graphs, name, None)
        if exported.problem is None or weights.format in (Format.NONE, Format.FOREIGN):
            return exported
    header, damage = _read_header(files, weights)
    if header and metadata.is_empty and is_checkpoint(header):
        return inspect_checkpoint(files, front, weights, header)
    metadata = with_class(metadata, header)
    stored_bytes = sum(files.sizes[name] for name in weights.files)
    task = _task(files, front, metadata, name)
    return Inspection(
        task=task,
        architecture=metadata.architecture,
        library=metadata.library,
        parameters=header.parameters.total() if header else None,
        weight_bytes=header.data_bytes if header else stored_bytes or None,
        dtype=header.dtype if header else find_stored_type(metadata.config, weights.files),
        max_length=find_max_length(metadata),
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        remote_code=needs_remote_code(files, metadata),
        pickle_only=weights.format is Format.PICKLE,
        problem=find_problem(files, front, metadata, weights, damage, task)
        or (None if task else describe_taskless(front, metadata)),
        weight_files=weights.files,
        labels=(*(model.label for model in quantisations), *(graph.label for graph in graphs)),
        quantisation=find_quantisation(metadata.config),
        loaded_bytes=estimate_loaded_bytes(metadata.config, header.parameters) if header else None,
        batch_bytes=_batch_bytes(metadata, task),
    )


def _inspect_onnx(
    files: Files, front: FrontMatter, metadata: Metadata, graphs: Sequence[OnnxModel], name: str, label: str | None
) -> Inspection:
    """The one of `graphs` that `label` means. Raises NoSuchFile."""
    graph = choose_onnx_model(graphs, label)
    if graph is None:
        raise NoSuchFile(label)
    metadata = with_class(metadata, None)
    task = _task(files, front, metadata, name)
    problem = (
        find_unsupported_type(metadata)
        or find_absurd_size(metadata.config)
        or find_missing_tokenizer(task, files.sizes)
    )
    found = Inspection(
        task=task,
        architecture=metadata.architecture,
        max_length=find_max_length(metadata),
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        remote_code=needs_remote_code(files, metadata),
        batch_bytes=_batch_bytes(metadata, task),
        problem=problem or (None if task else describe_taskless(front, metadata)) if metadata.config else NO_CONFIG,
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
    metadata, weights = read_metadata(files), find_variant(files)
    try:
        variant = msgspec.json.decode(files.read(MANIFEST_FILE), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = fault_of(error, Manifest)
        raise CorruptText(f"{MANIFEST_FILE} is not what a variant has ({fault}); make it again") from error
    problem = weights.problem and f"cannot be loaded: {weights.problem}; make the variant again"
    if weights.format is Format.NONE:
        problem = f"has no weights: there is no {MODEL_FILE}; make the variant again"
    if variant.kind == IN_OPENVINO and not has_openvino():
        problem = problem or f"needs {NO_OPENVINO}"
    return Inspection(
        task=variant.task,
        architecture=metadata.architecture,
        library=library_of(variant.kind),
        parameters=variant.parameters,
        weight_bytes=sum(files.sizes[name] for name in weights.files) or None,
        dtype="I8" if variant.kind.endswith("8-bit") else "F32",
        max_length=min(filter(None, (variant.max_length, find_max_length(metadata))), default=None),
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        problem=problem,
        weight_files=weights.files,
        batch_bytes=_batch_bytes(metadata, variant.task),
        quality={figure.name[:MAX_SHOWN]: figure.value for figure in variant.quality[:MAX_FIGURES]},
        original_mark=variant.original_mark,
        difference=variant.difference,
    )


def _read_header(files: Files, weights: Weights) -> tuple[Header | None, str | None]:
    """The weights' header, and what is wrong with it."""
    if weights.format is not Format.SAFETENSORS:
        return None, None
    try:
        return files.header(weights.files), None
    except CorruptWeights as error:
        return None, f"cannot be loaded: {error}"


def _batch_bytes(metadata: Metadata, task_id: str | None) -> int:
    """What computing a batch of the task's requests takes, as far as the config tells."""
    task = known_task(task_id) if task_id else None
    if task is None or metadata.pipeline or task.max_batch == 1:
        return 0
    return plan_batch_bytes(metadata.config, find_max_length(metadata), generates=task.generation is not None)


def _task(files: Files, front: FrontMatter, metadata: Metadata, name: str) -> str | None:
    if needs_no_model(front.pipeline_tag):
        return front.pipeline_tag
    if metadata.pipeline:
        return detect_pipeline_task(tag=front.pipeline_tag, pipeline=metadata.architecture or "")
    if weighs_words(metadata.modules):
        return front.pipeline_tag if front.pipeline_tag == COMPARES else WEIGHS
    tags = (*front.tags, front.pipeline_tag or "")
    template = "chat_template" in metadata.tokenizer or any(name in files.sizes for name in _CHAT_TEMPLATES)
    return detect_task(
        tag=front.pipeline_tag,
        tags=front.tags,
        config=metadata.config,
        chat_template=template,
        embeds_sentences=bool(metadata.modules) and not is_cross_encoder(metadata.sentence_transformers),
        ranks=looks_like_ranker(name, tags, metadata.config, metadata.sentence_transformers),
    )
