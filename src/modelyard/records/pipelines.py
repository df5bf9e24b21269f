"""What pipelines of diffusers call the media that they read and make. The catalogue reads it from the library's source,
the worker from a loaded pipeline; both by these names."""

from __future__ import annotations

from collections.abc import Mapping

IMAGE, VIDEO, AUDIO, DEPTH = "image", "video", "audio", "depth"
MADE: Mapping[str, str] = {"images": IMAGE, "image": IMAGE, "frames": VIDEO, "video": VIDEO, "audios": AUDIO}
"""A field of a pipeline's result → what it holds; of one kind the first that a result has."""
PREDICTION = "prediction"
"""The field of a result that holds what a pipeline sees in an image."""
PREDICTED: Mapping[str, str] = {"Depth": DEPTH, "Normals": IMAGE}
"""A word in the name of such a result's class → what that is. Directions of surfaces are drawn as an image."""

FRAMES = frozenset({"video_length", "frame_size"})
"""Arguments of pipelines whose result's `images`, where it has them, are the frames of a video."""

LAYERS = "layers"
"""An argument of pipelines that take one image apart into several."""

IMAGES = ("image", "images", "control_image")
"""Arguments under which the image of a request reaches a pipeline; the first that its call takes."""
MASKS = ("mask_image", "control_mask", "mask")
"""Arguments under which its mask does."""
CONTROL_VIDEOS = ("conditioning_frames", "control_video")
"""Arguments under which a video reaches a pipeline whose edges, depths or poses are followed."""
VIDEOS = ("video", *CONTROL_VIDEOS)
"""Arguments under which the video of a request reaches a pipeline; the first that its call takes."""


def result_fields(made: str) -> tuple[str, ...]:
    """The fields of a result that may hold what is `made`."""
    return tuple(field for field, kind in MADE.items() if kind == made)
