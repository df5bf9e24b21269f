"""Adapters of PEFT: what one is, from its files, and what becomes of it on its base.

Owns the clauses that say why an adapter cannot be served. Finds no base: the catalog does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelyard.catalog.architectures import is_task
from modelyard.catalog.files import Files, read_json
from modelyard.catalog.memory import CPU_GROWTH, estimate_model_bytes
from modelyard.catalog.names import is_model_id
from modelyard.catalog.pipeline_parts import find_made_pipeline, find_part_task, is_part, refuse_pipeline
from modelyard.catalog.readme import FrontMatter
from modelyard.catalog.safetensors_header import CorruptWeights, Header
from modelyard.records.adapters import (
    ALPHAS,
    CONFIG_FILE,
    LORA,
    MAX_RANK,
    MERGED_TYPES,
    PICKLE_FILE,
    RANKS,
    WEIGHTS_FILE,
    Adapter,
    are_names,
)
from modelyard.records.models import ADAPTED, Inspection, ModelCard, Source

_SHARED = frozenset({"chat", "text-generation"})
"""Tasks whose models may have adapters beside their weights."""
_WITHOUT_EFFECT = frozenset(
    {
        "auto_mapping", "base_model_name_or_path", "fan_in_fan_out", "inference_mode", "lora_alpha", "lora_dropout",
        "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "revision", "target_modules",
        "task_type", "use_rslora",
    }
)  # fmt: skip
"""Settings of LoRA that training alone reads, or that are read here."""
_PLAIN = {"bias": "none", "init_lora_weights": True}
"""Settings that may have this value, beside none."""
PICKLES_GROW = 2
"""As those of 16 bits do: what a pickle holds is not known before it is opened."""
MAIN, SHORTEST_COMMIT = "main", 7
"""The branch of the hub that is served, and the fewest digits by which a commit is named."""
MAX_TARGETS = 32
"""Layers that are listed by name. Adapters name a dozen kinds of layers."""
_TEMPLATES = ("chat_template.jinja", "chat_template.json")

_WRITES = frozenset({"chat", "text-generation", "image-text-to-text", "audio-text-to-text", "video-text-to-text"})
_TASKS: Mapping[str, tuple[frozenset[str], str]] = {
    "CAUSAL_LM": (_WRITES, "text-generation"),
    "SEQ_CLS": (
        frozenset({"text-classification", "text-ranking", "zero-shot-classification", "image-classification",
                   "audio-classification", "video-classification"}),
        "text-classification",
    ),
    "TOKEN_CLS": (frozenset({"token-classification"}), "token-classification"),
    "QUESTION_ANS": (
        frozenset({"question-answering", "document-question-answering", "visual-question-answering"}),
        "question-answering",
    ),
    "FEATURE_EXTRACTION": (
        frozenset({"feature-extraction", "sentence-similarity", "image-feature-extraction"}),
        "feature-extraction",
    ),
}  # fmt: skip
"""What PEFT calls a task → the tasks of bases that it may mean, and the one that it means on any other base."""
_REFINED = {
    "text2text-generation": frozenset({"summarization", "translation"}),
    "feature-extraction": frozenset({"sentence-similarity"}),
    "text-classification": frozenset({"text-ranking", "zero-shot-classification"}),
}
"""A task → those of which the adapter's own card may tell more exactly."""


def is_adapter(files: Files) -> bool:
    """Whether a folder holds an adapter and no model, which would have its own config.json."""
    return CONFIG_FILE in files.sizes and "config.json" not in files.sizes


def names_base(files: Files) -> bool:
    """Whether an adapter says what it changes. Raises CorruptText."""
    return bool(read_json(files, CONFIG_FILE).get("base_model_name_or_path"))


def inspect_adapter(files: Files, front: FrontMatter) -> Inspection:
    """What an adapter that names its base is. Its task is found with the base. Raises CorruptText."""
    config = read_json(files, CONFIG_FILE)
    adapter = read_adapter(files, config)
    header, damage = _read_header(files)
    problem = find_problem(adapter, files) or damage
    weights = next((name for name in (WEIGHTS_FILE, PICKLE_FILE) if name in files.sizes), None)
    return Inspection(
        library=ADAPTED,
        parameters=header.parameters.total() if header else None,
        weight_bytes=header.data_bytes if header else files.sizes.get(weights or ""),
        dtype=header.dtype if header else None,
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        pickle_only=weights == PICKLE_FILE,
        problem=problem,
        weight_files=(weights,) if weights and (header or weights == PICKLE_FILE) else (),
        adapter=adapter,
    )


def read_adapter(files: Files, config: Mapping[str, Any]) -> Adapter:
    """What its config says of it."""
    targets = config.get("target_modules")
    names = [targets] if isinstance(targets, str) else targets if isinstance(targets, list) else []
    rank = config.get("r")
    return Adapter(
        base_id=str(config["base_model_name_or_path"]),
        kind=str(config.get("peft_type") or LORA),
        rank=rank if isinstance(rank, int) and rank > 0 else None,
        target_modules=tuple(sorted(str(name) for name in names)[:MAX_TARGETS]),
        task_type=str(config["task_type"]) if config.get("task_type") else None,
        has_template=any(name in files.sizes for name in _TEMPLATES)
        or "chat_template" in read_json(files, "tokenizer_config.json"),
        is_plain=is_plain_lora(config),
        revision=str(config["revision"]) if config.get("revision") else None,
    )


def find_problem(adapter: Adapter, files: Files) -> str | None:
    """Why it cannot be served, whatever its base is; None when nothing speaks against it."""
    if adapter.kind not in MERGED_TYPES:
        return (
            f"is an adapter of the type {adapter.kind}, which Modelyard does not serve; it serves those that can be "
            f"merged into their base: {', '.join(sorted(MERGED_TYPES))}"
        )
    if not is_model_id(adapter.base_id):
        return (
            "is an adapter that names its base by a path, which says nothing here; write the base's model id, as in "
            f"org/name, as base_model_name_or_path into its {CONFIG_FILE}"
        )
    if WEIGHTS_FILE not in files.sizes and PICKLE_FILE not in files.sizes:
        return f"is an adapter for {adapter.base_id} without weights: there is no {WEIGHTS_FILE}"
    if adapter.rank is not None and adapter.rank > MAX_RANK:
        return f"is an adapter of rank {adapter.rank:,}, and no adapter has more than {MAX_RANK:,}"
    return None


def _read_header(files: Files) -> tuple[Header | None, str | None]:
    if WEIGHTS_FILE not in files.sizes:
        return None, None
    try:
        return files.header([WEIGHTS_FILE]), None
    except CorruptWeights as error:
        return None, f"cannot be loaded: {error}"


def find_task(adapter: Adapter, tag: str | None, base_task: str | None) -> str | None:
    """What it does. `tag`: the task on its own card; `base_task`: its base's, None when that is not known."""
    meant, otherwise = _TASKS.get(adapter.task_type or "", (None, None))
    task = base_task if meant is None or base_task in meant else otherwise
    if task == "text-generation" and adapter.has_template:
        return "chat"
    if tag in _REFINED.get(task or "", ()) or (task is None and is_task(tag)):
        return tag
    return task


def find_joined_task(adapter: Adapter, tag: str | None, base: ModelCard | None) -> str | None:
    """What it does with its base. `base` None: it is not known."""
    if not is_part(adapter):
        return find_task(adapter, tag, None if base is None else base.task)
    return None if base is None else find_part_task(adapter, tag, base)


def join(card: ModelCard, base: ModelCard | None) -> ModelCard:
    """An adapter's card once its base is known. Pure. `base` None: there is none, as far as was asked."""
    adapter = card.inspection.adapter
    assert adapter is not None  # noqa: S101 - asked for adapters only
    task = find_joined_task(adapter, card.inspection.pipeline_tag, base)
    if base is None:
        return replace(card, task=task or card.task)
    refusal = card.refusal or _base_refusal(card.model_id, adapter, base)
    told = base.inspection
    architecture = find_made_pipeline(adapter, base) if is_part(adapter) else told.architecture
    inspection = replace(
        card.inspection, task=task, architecture=architecture, max_length=told.max_length,
        remote_code=told.remote_code, pickle_only=card.inspection.pickle_only or told.pickle_only,
    )  # fmt: skip
    return replace(
        card,
        task=task or card.task,
        base=base,
        inspection=inspection,
        refusal=refusal,
        memory_bytes=card.memory_bytes if card.measured else plan_base_bytes(base) + loaded_bytes(card.inspection),
        device_bytes=card.device_bytes if card.measured else base.device_bytes,
    )


def plan_base_bytes(base: ModelCard) -> int:
    """What the base takes under an adapter: in 32 bits, whatever is wanted of the base by itself."""
    if base.inspection.precision is None:
        return base.memory_bytes
    return estimate_model_bytes(replace(base.inspection, precision=None, loaded_bytes=None))


def loaded_bytes(inspection: Inspection) -> int:
    """What an adapter's own weights take once they are loaded."""
    growth = CPU_GROWTH.get(inspection.dtype, 1) if inspection.dtype else PICKLES_GROW
    return (inspection.weight_bytes or 0) * growth


def runs_beside(card: ModelCard) -> bool:
    """Whether an adapter may run beside its base's weights, in a replica of the base, rather than merged into them in
    one of its own: matrices for layers of a model of the library's own that writes text, in 32 bits. Pure."""
    adapter, base = card.inspection.adapter, card.base
    return (
        adapter is not None
        and adapter.is_plain
        and base is not None
        and base.refusal is None
        and base.task == card.task
        and base.task in _SHARED
        and base.inspection.runtime == "transformers"
        and base.inspection.quantisation is None
        and base.inspection.precision is None
        and not base.inspection.remote_code
    )


def is_plain_lora(config: Mapping[str, Any]) -> bool:
    """Whether the config asks for nothing but pairs of matrices beside layers that it names. A setting that is not
    known to be without effect here speaks against it."""
    targets = config.get("target_modules")
    return (
        config.get("peft_type") == LORA
        and isinstance(targets, list)
        and all(isinstance(name, str) for name in targets)
        and isinstance(config.get("lora_alpha"), int | float)
        and all(has_no_effect(name, value) for name, value in config.items())
    )


def has_no_effect(name: str, value: Any) -> bool:
    """Whether a setting leaves an adapter pairs of matrices, or is read where they are."""
    if name in (RANKS, ALPHAS) and value:
        return are_names(value)
    return name in _WITHOUT_EFFECT or not value or _PLAIN.get(name) == value


def refuse_base(card: ModelCard, why: str) -> ModelCard:
    """An adapter's card when its base cannot be had. `why`: a clause that follows the base's name."""
    adapter = card.inspection.adapter
    assert adapter is not None  # noqa: S101 - asked for adapters only
    refusal = card.refusal or f"{card.model_id} is an adapter for {adapter.base_id}, {why}."
    return replace(join(card, None), refusal=refusal)


def has_revision(base: ModelCard, revision: str) -> bool:
    """Whether that is what the base is served at: the hub's main branch, or the commit that it stands for. A folder is
    whatever the operator has put there."""
    if base.source is Source.FOLDER or revision == MAIN:
        return True
    return base.revision is not None and len(revision) >= SHORTEST_COMMIT and base.revision.startswith(revision)


def _base_refusal(model_id: str, adapter: Adapter, base: ModelCard) -> str | None:
    start = f"{model_id} is an adapter for {base.model_id}"
    if adapter.revision is not None and not has_revision(base, adapter.revision):
        served = f"commit {base.revision}" if base.revision else "its main branch"
        return (
            f"{start} at its revision {adapter.revision!r}, of which {served} is served here; put that revision into a "
            f"folder of your own, and its name as base_model_name_or_path into its {CONFIG_FILE}."
        )
    if base.inspection.adapter is not None:
        return f"{start}, which is an adapter itself; merge one into its base and save the result."
    if base.refusal is not None:
        return f"{start}, which cannot be served: {base.refusal}"
    if is_part(adapter):
        return refuse_pipeline(model_id, adapter, base)
    if base.inspection.runtime != "transformers":
        return f"{start}, which is in the form of {base.inspection.runtime}; adapters need a base in safetensors."
    if base.inspection.quantisation is not None:
        return (
            f"{start}, whose weights are quantised ({base.inspection.quantisation}), so that it cannot be put into "
            f"them; write the id of the model that was quantised as base_model_name_or_path into its {CONFIG_FILE}."
        )
    return None
