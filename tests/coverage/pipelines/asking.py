"""One request to a pipeline, here and in the library, with the same seed and params."""

from __future__ import annotations

import base64
import inspect
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from modelyard.errors import ModelyardError
from modelyard.records.pipelines import VIDEOS
from modelyard.tasks.body import read, to_call
from modelyard.tasks.depth_estimation import Depth
from modelyard.tasks.image_to_video import FURTHER
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.media_making import options_of, read_nothing
from modelyard.tasks.shared.pictures import read_pictures
from modelyard.tasks.video_to_video import read_frames
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.diffusers import load_processors, read_index
from modelyard.worker.runtimes.processors import prefer_pillow
from tests.builders.films import FRAMES, film, frames_of
from tests.builders.made import png_pixels, wav_sound

TEXT = "A small fox by the river"
SEED = 5
STEPS = 2
SIDE = 32
COUNTS = ("num_frames", "video_length", "frames")
"""What pipelines call how many frames they make."""
MORE_FRAMES = {"Kandinsky5I2VPipeline": 17}
"""Frames of classes that make no number of fewer."""
CHANGING = ("image-to-image", "video-to-video")
SEEING = ("image-to-image", "image-to-video", "depth-estimation")
READS = {
    "image-to-video": lambda call, model: read_pictures(call, model, FURTHER),
    "video-to-video": read_frames,
}
"""What the tasks that make videos give their models beside text and params."""


def picture() -> Image.Image:
    """The image that is changed."""
    ramp = np.linspace(0, 255, SIDE)
    across, down = np.meshgrid(ramp, ramp)
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8))


def mask() -> Image.Image:
    """What is filled in of it."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[8:24, 8:24] = 255
    return Image.fromarray(pixels)


def settings_of(name: str, task: str) -> dict[str, Any]:
    """The params that are sent to a class, as both call them."""
    parameters = parameters_of(name)
    wanted: dict[str, Any] = {"num_inference_steps": STEPS, "height": SIDE, "width": SIDE}
    if task in CHANGING and "strength" in parameters:
        wanted |= {"strength": 0.75}
        if "intermediate_timesteps" not in parameters:  # of models that take two steps and no more
            wanted |= {"num_inference_steps": 2 * STEPS}
    if "t0" in parameters:  # the step at which the frames part
        wanted |= {"num_inference_steps": 50}
    if task.endswith("-to-video"):
        wanted |= dict.fromkeys(COUNTS, MORE_FRAMES.get(name, FRAMES))
    return {each: value for each, value in wanted.items() if each in parameters}


def parameters_of(name: str) -> set[str]:
    """The arguments of a class's call."""
    return set(inspect.signature(getattr(diffusers, name).__call__).parameters)


def ask_library(name: str, task: str, folder: Path) -> Any:
    """What the library makes: pixels, frames or samples."""
    taken = parameters_of(name)
    prefer_pillow()
    given = {} if find_spec("torchvision") else load_processors(folder, read_index(folder))  # else it would read none
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, **given)
    pipeline.set_progress_bar_config(disable=True)
    arguments = settings_of(name, task)
    if "prompt" in taken:
        arguments["prompt"] = TEXT
    if "Union" in name:  # which has no default for the kind of control image
        arguments["control_mode"] = 0
    if task == "video-to-video":
        video = [frames_of(film())] if "frame_index" in taken else frames_of(film())  # of those that take several
        arguments |= {name: video for name in VIDEOS if name in taken}
        if "denoise_strength" in taken:
            arguments["denoise_strength"] = arguments.pop("strength")
    if task in SEEING:
        arguments |= {name: picture() for name in ("image", "control_image") if name in taken}
        arguments |= {name: mask() for name in ("mask_image", "control_mask") if name in taken}
    if task == "image-to-video" and "last_image" in taken:
        arguments["last_image"] = mask().convert("RGB")
    if "class_labels" in taken:
        arguments["class_labels"] = [0]
    if "output_type" in taken:
        arguments["output_type"] = "np"
    torch.manual_seed(SEED)  # some draw a part of the noise without the generator that they are given
    result = pipeline(generator=torch.Generator().manual_seed(SEED), **arguments)
    if "video_length" in taken and "images" in result:
        return np.asarray(result.images)
    if "prediction" in result:  # depths, or directions of surfaces from -1 to 1
        seen = np.asarray(result.prediction[0])
        return seen[..., 0] if task == "depth-estimation" else (seen + 1) / 2
    made = next(np.asarray(result[key][0]) for key in ("images", "image", "frames", "audios") if key in result)
    if task != "text-to-audio":
        return made
    return np.clip(np.squeeze(made.T), -1, 1)  # the library has channels before samples, and more than a file holds


def body_of(name: str, task_id: str) -> dict[str, Any]:
    """The body that a client would send."""
    task = get_task(task_id)
    taken = parameters_of(name)
    params = {**settings_of(name, task_id), "seed": SEED}
    counts = [params.pop(each) for each in COUNTS if each in params]
    if counts:
        params["num_frames"] = counts[0]
    body: dict[str, Any] = {"params": params}
    if "Union" in name:
        params["control_mode"] = 0
    if "class_labels" in taken:
        params["class_label"] = 0
    if "text" in task.inputs.__struct_fields__ and "prompt" in taken:
        body["text"] = TEXT
    if task_id == "video-to-video":
        body["base64"] = base64.b64encode(film()).decode()
    if task_id in SEEING:
        body["base64"] = in_base64(picture())
        if taken & {"mask_image", "control_mask"}:
            body["mask"] = in_base64(mask())
    if task_id == "image-to-video" and "last_image" in taken:
        body["last_image"] = in_base64(mask().convert("RGB"))
    return body


def ask_ours(task_id: str, folder: Path) -> Any:
    """The same by way of that body. Raises the error that the client would get."""
    task = get_task(task_id)
    model: Any = load_model("diffusers", folder, task.heads[-1:], device="cpu")
    inference = read(task, body_of(class_of(folder), task_id))
    call = to_call(task, inference.fields, inference.params)
    if task.makes == "video":  # an MP4 gives back other frames than were put into it
        given = READS.get(task_id, read_nothing)(call, model)
        return model.make(options_of(call, model) | given, lambda _done, _total: False)
    (answer,) = task.run(model, [call])
    if isinstance(answer, ModelyardError):
        raise answer
    if isinstance(answer, Depth):
        return np.asarray(answer.formatted_predicted_depth_array, np.float32)
    plain = {"media_type": answer.media_type, "data": base64.b64encode(answer.data)}
    return png_pixels(plain) if task.makes == "image" else wav_sound(plain)[0]


def class_of(folder: Path) -> str:
    """The class that the folder's list of parts names."""
    return str(diffusers.DiffusionPipeline.load_config(folder)["_class_name"])


def in_base64(image: Image.Image) -> str:
    """A PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def is_empty(made: Any) -> bool:
    """Whether an answer would be equal to many others: it is the same everywhere, or no number."""
    return not np.isfinite(made).all() or float(np.std(made)) == 0.0


def find_difference(ours: Any, expected: Any) -> str:
    """Where they differ; empty when they are equal. Pixels exactly, samples within the 16 bits of a WAV."""
    if ours.dtype == np.uint8:
        expected = (expected * 255).round().astype(np.uint8)
        expected = expected if expected.shape[-1] == 3 else np.repeat(expected[..., :1], 3, axis=-1)
    if ours.shape != expected.shape:
        return f"the shape is {ours.shape}, the library's is {expected.shape}"
    most = float(np.abs(ours.astype(np.float64) - expected).max())
    return "" if most <= (0 if ours.dtype == np.uint8 else 2 / 32767) else f"values differ by up to {most:.3g}"
