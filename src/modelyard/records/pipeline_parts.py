"""Parts of diffusers pipelines that are published by themselves: ControlNets and their like, and motion adapters.

Owns which classes those are, and the name of the pipeline that one makes of a base.
"""

from __future__ import annotations

from collections.abc import Mapping

CONFIG_FILE = "config.json"
_CONTROL_NETS = (
    "ControlNetModel", "SD3ControlNetModel", "FluxControlNetModel", "HunyuanDiT2DControlNetModel",
    "QwenImageControlNetModel", "SanaControlNetModel", "ZImageControlNetModel",
)  # fmt: skip
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(_CONTROL_NETS, "ControlNet"),
    "ControlNetUnionModel": "ControlNetUnion",
    "ControlNetXSAdapter": "ControlNetXS",
    "T2IAdapter": "Adapter",
}
"""A part's class → what stands before `Pipeline` in the class of a pipeline that has it."""
_MOTION = "MotionAdapter"
_ANIMATED: Mapping[str, str] = {
    "StableDiffusionPipeline": "AnimateDiffPipeline",
    "StableDiffusionXLPipeline": "AnimateDiffSDXLPipeline",
}
"""The class of a base → that of the pipeline which makes videos with it and a motion adapter."""

PARTS = frozenset({*_WORDS, _MOTION})
"""Their classes."""


def find_pipeline(part: str, base: str) -> str | None:
    """The class of the pipeline that a part of the class `part` makes of a base of the class `base`; None: of none."""
    if part == _MOTION:
        return _ANIMATED.get(base)
    word = _WORDS.get(part)
    return f"{base.removesuffix('Pipeline')}{word}Pipeline" if word and base.endswith("Pipeline") else None


def argument_of(part: str) -> str:
    """What a pipeline calls its part of the class `part`."""
    return {_MOTION: "motion_adapter", "T2IAdapter": "adapter"}.get(part, "controlnet")
