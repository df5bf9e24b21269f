"""Which of a pipeline's arguments a task's settings are, told by the signature of its call. Owns their names and what a
pipeline cannot do without; loads and calls no pipeline.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.records.pipelines import IMAGES, MASKS

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "text": ("prompt",),
    "image": IMAGES,
    "mask": MASKS,
    "control_image": ("control_image",),
    "negative_prompt": ("negative_prompt",),
    "num_inference_steps": ("num_inference_steps",),
    "guidance_scale": ("guidance_scale",),
    "strength": ("strength",),
    "image_guidance_scale": ("image_guidance_scale",),
    "controlnet_conditioning_scale": ("controlnet_conditioning_scale", "adapter_conditioning_scale"),
    "height": ("height",),
    "width": ("width",),
    "num_frames": ("num_frames", "video_length"),
    "eta": ("eta",),
    "class_label": ("class_labels",),
    "duration": ("duration", "audio_duration", "audio_duration_s", "audio_length_in_s", "audio_end_in_s"),
    "lyrics": ("lyrics",),
    "vocal_language": ("vocal_language",),
    "seed": ("generator",),
}
"""A task's setting → what pipelines call it; the first name that a pipeline's call takes."""

INPUTS = frozenset({"text", "image", "mask", "control_image"})
"""The settings that clients send beside the params."""

NEEDED_MASKS = frozenset({"mask_image", "control_mask"})
"""What pipelines that fill in call their mask: they need it, though their calls have a default for it."""

LISTED = frozenset({"class_labels", "images"})
"""Arguments that are a list, one entry for each image to make."""


class PipelineArguments:
    """The arguments of one pipeline's call."""

    def __init__(self, name: str, parameters: Mapping[str, inspect.Parameter]) -> None:
        """`name`: the pipeline's class. Raises ModelRefused when it needs what no task sends."""
        self.names = {key: name for key, names in ARGUMENTS.items() for name in reversed(names) if name in parameters}
        if self.names.get("image") == "control_image":
            del self.names["control_image"]
        needed = find_needed(parameters)
        self._needed = needed | (NEEDED_MASKS & set(self.names.values()))
        if strange := needed - set(self.names.values()):
            raise ModelRefused(f"{name} needs {', '.join(sorted(strange))}, which no task here sends.")

    def check(self, options: Mapping[str, Any]) -> None:
        """Raises InvalidRequest when one is missing."""
        for setting, name in self.names.items():
            if name in self._needed and setting not in options and setting != "seed":
                field = setting if setting in INPUTS else f"params.{setting}"
                raise InvalidRequest(f"{field}: missing; accepted: a value, which this model needs", field=field)

    def of(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options under the pipeline's names."""
        if "image" in options and "control_image" in self.names:
            options = {"control_image": options["image"], **options}
        named = {self.names[setting]: value for setting, value in options.items()}
        return {name: [value] if name in LISTED else value for name, value in named.items()}


def find_needed(parameters: Mapping[str, inspect.Parameter]) -> set[str]:
    """The arguments that a call cannot do without."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in several
    }
