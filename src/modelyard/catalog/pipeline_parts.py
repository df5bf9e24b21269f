"""Parts of diffusers pipelines that are published by themselves: what one is, from its files, and what it makes of its
base, which its card names. In the catalogue they are adapters. Loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.catalog.files import Files
from modelyard.catalog.names import is_model_id
from modelyard.catalog.pipelines import detect_pipeline_task, find_call
from modelyard.catalog.readme import FrontMatter
from modelyard.catalog.safetensors_header import Header
from modelyard.catalog.weights import Format, Weights
from modelyard.records.adapters import Adapter
from modelyard.records.models import Inspection, ModelCard
from modelyard.records.pipeline_parts import PARTS, find_pipeline

DIFFUSERS = "diffusers"


def find_part(config: Mapping[str, Any]) -> str | None:
    """The class of the part that a config.json describes; None when it describes something else."""
    name = config.get("_class_name")
    return name if isinstance(name, str) and name in PARTS else None


def is_part(adapter: Adapter) -> bool:
    """Whether an adapter is a part of a pipeline."""
    return adapter.kind in PARTS


def inspect_part(
    files: Files, front: FrontMatter, part: str, weights: Weights, header: Header | None, damage: str | None
) -> Inspection:
    """What a part of the class `part` is. `header`: of its weights, where they are safetensors; `damage`: what is wrong
    with it. Its task is found with the base."""
    base_id = front.base_model or ""
    return Inspection(
        library=DIFFUSERS,
        architecture=part,
        parameters=header.parameters.total() if header else None,
        weight_bytes=header.data_bytes if header else sum(files.sizes[name] for name in weights.files) or None,
        dtype=header.dtype if header else None,
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        pickle_only=weights.format is Format.PICKLE,
        problem=_find_problem(part, base_id, weights) or damage,
        weight_files=weights.files,
        adapter=Adapter(base_id, part) if is_model_id(base_id) else None,
    )


def _find_problem(part: str, base_id: str, weights: Weights) -> str | None:
    if not is_model_id(base_id):
        return (
            f"is a {part}, which is put into a pipeline and makes nothing by itself, and its card does not say into "
            "which; write `base_model: org/name` at the top of its README.md"
        )
    if weights.format in (Format.NONE, Format.FOREIGN) or weights.problem:
        return f"cannot be loaded: {weights.problem or 'there is no diffusion_pytorch_model.safetensors'}"
    return None


def find_made_pipeline(adapter: Adapter, base: ModelCard) -> str | None:
    """The class of the pipeline that a part makes of its base; None where the library has none."""
    whole = base.inspection
    name = find_pipeline(adapter.kind, whole.architecture or "") if whole.library == DIFFUSERS else None
    return name if name is not None and find_call(name) is not None else None


def find_part_task(adapter: Adapter, tag: str | None, base: ModelCard) -> str | None:
    """What a part does with its base. `tag`: the task on its own card."""
    pipeline = find_made_pipeline(adapter, base)
    return detect_pipeline_task(tag=tag, pipeline=pipeline) if pipeline else None


def refuse_pipeline(model_id: str, adapter: Adapter, base: ModelCard) -> str | None:
    """Why nothing is made of both, in a sentence; None when something is."""
    if find_part_task(adapter, None, base) is not None:
        return None
    what = base.inspection.architecture or f"model of {base.inspection.library}"
    return (
        f"{model_id} is a {adapter.kind} for {base.model_id}, which is a {what}, and the installed diffusers has no "
        "pipeline of the two that a task here serves; write another base_model at the top of its README.md."
    )
