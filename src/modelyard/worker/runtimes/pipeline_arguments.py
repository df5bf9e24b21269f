"""Which of a pipeline's arguments a task's settings are, told by the signature of its call. Owns their names and what a
pipeline cannot do without; loads and calls no pipeline.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.records.pipelines import CONTROL_VIDEOS, IMAGES, MASKS, VIDEOS

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "text": ("prompt",),
    "image": IMAGES,
    "mask": MASKS,
    "control_image": ("control_image",),
    "last_image": ("last_image",),
    "video": VIDEOS,
    "control_video": CONTROL_VIDEOS,
    "negative_prompt": ("negative_prompt",),
    "num_inference_steps": ("num_inference_steps",),
    "guidance_scale": ("guidance_scale", "max_guidance_scale"),
    "strength": ("denoise_strength", "strength"),
    "image_guidance_scale": ("image_guidance_scale",),
    "controlnet_conditioning_scale": ("controlnet_conditioning_scale", "adapter_conditioning_scale"),
    "height": ("height",),
    "width": ("width",),
    "num_frames": ("num_frames", "video_length", "frames"),
    "fps": ("frame_rate", "target_fps", "fps"),
    "motion_bucket_id": ("motion_bucket_id",),
    "noise_aug_strength": ("noise_aug_strength",),
    "eta": ("eta",),
    "class_label": ("class_labels",),
    "control_mode": ("control_mode",),
    "ensemble_size": ("ensemble_size",),
    "processing_resolution": ("processing_resolution",),
    "duration": ("duration", "audio_duration", "audio_duration_s", "audio_length_in_s", "audio_end_in_s"),
    "lyrics": ("lyrics",),
    "vocal_language": ("vocal_language",),
    "seed": ("generator",),
}
"""A task's setting → what pipelines call it; the first name that a pipeline's call takes."""

INPUTS = frozenset({"text", "image", "mask", "control_image", "last_image", "video"})
"""The settings that clients send beside the params."""

NEEDED_MASKS = frozenset({"mask_image", "control_mask"})
"""What pipelines that fill in call their mask: they need it, though their calls have a default for it."""

LISTED = frozenset({"class_labels", "images"})
"""Arguments that are a list, one entry for each image to make."""

CONTROLS = {"image": "control_image", "video": "control_video"}
"""What a pipeline changes → what it may follow beside that, which is the same unless the client sends another."""

PLACED = "frame_index"
"""An argument of pipelines that take several videos: the frame at which each begins."""


class PipelineArguments:
    """The arguments of one pipeline's call."""

    def __init__(
        self, name: str, parameters: Mapping[str, inspect.Parameter], needed: frozenset[str] = frozenset()
    ) -> None:
        """`name`: the pipeline's class. `needed`: arguments that its parts cannot do without, though they have a
        default. Raises ModelRefused when it needs what no task sends."""
        self.names = {key: name for key, names in ARGUMENTS.items() for name in reversed(names) if name in parameters}
        for changed, followed in CONTROLS.items():
            if followed in self.names and self.names.get(changed) == self.names[followed]:
                del self.names[followed]
        self._listed = LISTED | (set(VIDEOS) if PLACED in parameters else set())
        without_default = find_needed(parameters)
        self._needed = without_default | needed | (NEEDED_MASKS & set(self.names.values()))
        if strange := without_default - set(self.names.values()):
            raise ModelRefused(f"{name} needs {', '.join(sorted(strange))}, which no task here sends.")

    def check(self, options: Mapping[str, Any]) -> None:
        """Raises InvalidRequest when one is missing."""
        for setting, name in self.names.items():
            if name in self._needed and setting not in options and setting != "seed":
                field = setting if setting in INPUTS else f"params.{setting}"
                raise InvalidRequest(f"{field}: missing; accepted: a value, which this model needs", field=field)

    def of(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options under the pipeline's names."""
        same = {
            followed: options[changed]
            for changed, followed in CONTROLS.items()
            if changed in options and followed in self.names
        }
        named = {self.names[setting]: value for setting, value in {**same, **options}.items()}
        return {name: [value] if name in self._listed else value for name, value in named.items()}


def find_needed(parameters: Mapping[str, inspect.Parameter]) -> set[str]:
    """The arguments that a call cannot do without."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in several
    }


def find_default(
    parameters: Mapping[str, inspect.Parameter], name: str | None, *, most: float = float("inf")
) -> float | None:
    """The number that a pipeline takes for an argument where a request says nothing, above 0 and at most `most`; None
    where it says nothing itself, or has no such argument."""
    default = parameters[name].default if name is not None else None
    return float(default) if isinstance(default, int | float) and 0 < default <= most else None
