"""What a repository is that holds Stable Diffusion in one file, without a config: told by that file's header."""

from __future__ import annotations

from modelyard.catalog.files import Files
from modelyard.catalog.pipelines import detect_pipeline_task
from modelyard.catalog.readme import FrontMatter
from modelyard.catalog.safetensors_header import Header
from modelyard.catalog.weights import Weights
from modelyard.records.checkpoints import find_checkpoint_pipeline, find_tokenizer_folder
from modelyard.records.models import Inspection

MODULES = frozenset({"first_stage_model", "cond_stage_model", "conditioner"})
"""How the tensors of checkpoints begin that hold a whole pipeline, as they were trained."""
_CONVERT = "convert it once with diffusers (`from_single_file`, then `save_pretrained`) and serve that folder"


def is_checkpoint(header: Header) -> bool:
    """Whether weights that come without a config are a pipeline in one file."""
    return bool(header.modules & MODULES)


def inspect_checkpoint(files: Files, front: FrontMatter, weights: Weights, header: Header) -> Inspection:
    """The pipeline in the one file of `weights`."""
    pipeline = find_checkpoint_pipeline(header.shapes)
    return Inspection(
        task=detect_pipeline_task(tag=front.pipeline_tag, pipeline=pipeline) if pipeline else None,
        architecture=pipeline,
        library="diffusers",
        parameters=header.parameters.total(),
        weight_bytes=header.data_bytes,
        dtype=header.dtype,
        license=front.license,
        pipeline_tag=front.pipeline_tag,
        problem=_find_problem(files, weights, pipeline),
        weight_files=weights.files,
    )


def _find_problem(files: Files, weights: Weights, pipeline: str | None) -> str | None:
    if len(weights.files) > 1:
        names = ", ".join(weights.files)
        return f"holds {len(weights.files)} checkpoints ({names}); leave the one that is to be served in the folder"
    if pipeline is None:
        return (
            f"is a pipeline in one file, of a kind that is not read so (Stable Diffusion 1, 2 and XL are); {_CONVERT}"
        )
    if find_tokenizer_folder(files.sizes) is None:
        return (
            "is Stable Diffusion in one file, which holds no tokenizer; put vocab.json and merges.txt of "
            f"openai/clip-vit-large-patch14 beside it, or {_CONVERT}"
        )
    return None
