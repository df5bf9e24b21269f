"""Stable Diffusion in one file, as it was trained: which pipeline such a checkpoint is, told by the shapes of a few of
its tensors, and where its tokenizer lies. Pure; the catalogue and the worker read the same rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Shape = tuple[int, ...]

FIRST = "model.diffusion_model.input_blocks.0.0.weight"
"""The denoiser's first convolution, whose second axis is what it reads."""
DECODER = "first_stage_model.post_quant_conv.weight"
"""Of the autoencoder's other half."""
CLIP = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
"""CLIP's text encoder, of Stable Diffusion 1."""
OPEN_CLIP = "cond_stage_model.model.positional_embedding"
"""OpenCLIP's, of Stable Diffusion 2."""
XL_CLIP = "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight"
XL_OPEN_CLIP = "conditioner.embedders.1.model.positional_embedding"
"""Both of Stable Diffusion XL."""
TELLING = frozenset({FIRST, DECODER, CLIP, OPEN_CLIP, XL_CLIP, XL_OPEN_CLIP})
"""The tensors whose shapes tell. Source: diffusers' `single_file_utils.py`."""

_OF_XL = {4: "StableDiffusionXLPipeline", 9: "StableDiffusionXLInpaintPipeline"}
_OF_OTHERS = {
    4: "StableDiffusionPipeline",
    8: "StableDiffusionInstructPix2PixPipeline",
    9: "StableDiffusionInpaintPipeline",
}
"""Channels that the denoiser reads: latents; those and an image's; those and a mask → the pipeline."""

VOCABULARY = (frozenset({"tokenizer.json"}), frozenset({"vocab.json", "merges.txt"}))
"""The files of CLIP's tokenizer, which no checkpoint holds: one of these."""
TOKENIZER_FOLDERS = ("tokenizer/", "")
"""Where they may lie beside one."""


def find_checkpoint_pipeline(shapes: Mapping[str, Shape]) -> str | None:
    """The pipeline class of a checkpoint with these tensors; None when it is not a whole one of a kind known here."""
    first = shapes.get(FIRST, ())
    if len(first) != 4 or DECODER not in shapes:
        return None
    if {XL_CLIP, XL_OPEN_CLIP} <= shapes.keys():
        return _OF_XL.get(first[1])
    return _OF_OTHERS.get(first[1]) if {CLIP, OPEN_CLIP} & shapes.keys() else None


def find_tokenizer_folder(names: Collection[str]) -> str | None:
    """The first of TOKENIZER_FOLDERS that has CLIP's vocabulary, of a folder with files of these names."""
    for folder in TOKENIZER_FOLDERS:
        here = {name.removeprefix(folder) for name in names if name.startswith(folder)}
        if any(files <= here for files in VOCABULARY):
            return folder
    return None
