"""Pipelines held by diffusers: loading a folder, running one call step by step.

Owns the device and the dtype, and reads what a call has made. Speaks numpy outwards. Not
thread-safe: one thread at a time may call a pipeline.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import safe_open
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from modelyard.errors import InferenceFailed, InvalidRequest, ModelRefused
from modelyard.records.pipelines import AUDIO, DEPTH, FRAMES, IMAGE, PREDICTION, VIDEO, result_fields
from modelyard.records.precision import find_precision
from modelyard.tasks.base import Head
from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.checkpoints import find_checkpoint, load_checkpoint
from modelyard.worker.runtimes.device import choose_device
from modelyard.worker.runtimes.failures import first_line, loading_errors, making_errors
from modelyard.worker.runtimes.late_scipy import scipy_later
from modelyard.worker.runtimes.library_adapters import leave_peft_out_of_diffusers
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.making import Stopped, choose_seed
from modelyard.worker.runtimes.pipeline_arguments import PipelineArguments, find_default
from modelyard.worker.runtimes.processors import find_class, load_named

with quiet_library(), scipy_later():  # the library tells at length that there is no torchvision
    leave_peft_out_of_diffusers()
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging as library_logging

log = logging.getLogger(__name__)

_MAKES: Mapping[Head, str] = {
    "image-pipeline": IMAGE,
    "video-pipeline": VIDEO,
    "audio-pipeline": AUDIO,
    "depth-pipeline": DEPTH,
}
"""Head → what its pipelines make."""

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}
"""Stored types that a pipeline may run in on CUDA. Source: the safetensors format's names."""


def load_model(
    path: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
) -> DiffusersPipeline:
    """The pipeline in the folder `path`, on `device`, with every part that the folder has, its safety checker included.

    Reads local files only, and weights from safetensors only. On the CPU all is float32; on CUDA the
    pipeline keeps the type that most of its weights are stored in.

    Raises: ModelRefused when the files cannot be served, BootFailed when loading failed.
    """
    where = choose_device(device)
    dtype = find_dtype(path) if where.type == "cuda" else torch.float32
    with loading_errors(path, str(where)), quiet_library(), quiet_library(library_logging):
        load = find_loader(path, dtype, remote_code=remote_code)
        return DiffusersPipeline(path, load_whole(load, path, where), heads[0])


def find_loader(path: Path, dtype: torch.dtype, *, remote_code: bool) -> Callable[[], Any]:
    """What loads the library's pipeline in a folder, whether it is one file or a folder for each part."""
    checkpoint = find_checkpoint(path)
    if checkpoint is not None:
        return partial(load_checkpoint, checkpoint, dtype)
    return partial(load_parts, path, dtype, remote_code=remote_code)


def load_whole(load: Callable[[], Any], path: Path, where: torch.device) -> Any:
    """The library's pipeline, on `where`. Raises ModelRefused when weights are missing, and what the library raises."""
    try:
        return load().to(where)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        if "meta tensor" in str(error):  # a place that was made for a weight, and never filled
            raise ModelRefused(f"{path.name} is not complete: its files lack some of the weights.") from error
        raise


def load_parts(path: Path, dtype: torch.dtype, *, remote_code: bool) -> Any:
    """The library's pipeline from a folder for each part, on the CPU.

    Raises ModelRefused, and what the library raises.
    """
    index = read_index(path)
    if not remote_code:
        refuse_own_code(path, index)
    how = {
        "dtype": dtype,
        "local_files_only": True,
        "use_safetensors": True,
        "variant": find_shared_precision(path),
    }
    given = load_readers(path, index, how) | load_processors(path, index)
    return DiffusionPipeline.from_pretrained(path, trust_remote_code=remote_code, **how, **given)


def read_index(path: Path) -> Mapping[str, Any]:
    """The list of the folder's parts, part → [library, class] among other settings. Raises ModelRefused."""
    try:
        index = json.loads((path / "model_index.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{path.name} cannot be loaded: model_index.json: {first_line(error)}") from error
    if not isinstance(index, dict):
        raise ModelRefused(f"{path.name} cannot be loaded: model_index.json is not an object.")
    return index


def load_readers(path: Path, index: Mapping[str, Any], how: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that are transformers models: what reads the text, mostly.

    Loaded here, as diffusers would not say which of their weights are missing and filled in with noise. Raises
    ModelRefused when some are.
    """
    readers = {}
    for name, kind_name in find_text_parts(index).items():
        kind = getattr(transformers, kind_name, None)
        if kind is not None and transformers.PreTrainedModel in getattr(kind, "__mro__", ()):
            own = {**how, "variant": find_precision((file.name for file in (path / name).iterdir()), "model")}
            readers[name], info = kind.from_pretrained(path / name, output_loading_info=True, **own)
            if missing := sorted(info["missing_keys"]):
                raise ModelRefused(f"{path.name} is not complete: {name}/ holds no weights for {missing[0]}.")
            if readers[name].config.model_type == "clap":
                give_plain_features(readers[name])
    return readers


def load_processors(path: Path, index: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that make the inputs of a reader which sees, of a text and images.

    Loaded here, as the library would not load them without torchvision, which what they do for pipelines does not want.
    Raises ModelRefused.
    """
    whole = frozenset(PROCESSOR_MAPPING_NAMES.values())
    named = {name: kind for name, kind in find_text_parts(index).items() if kind in whole}
    # By diffusers, which compares its classes with what is given. It may be another object than this module has: the
    # library runs its __init__ again when its processing_utils is imported; the classes of both are the same.
    looked_up = importlib.import_module("transformers")
    for kind in named.values():
        setattr(looked_up, kind, find_class(kind))
    return {name: load_named(path / name, kind) for name, kind in named.items()}


def find_text_parts(index: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a pipeline that are of transformers, and their classes."""
    parts = ((name, part) for name, part in index.items() if isinstance(part, list) and len(part) == 2)
    return {name: str(kind) for name, (library, kind) in parts if library == "transformers"}


def give_plain_features(reader: Any) -> None:
    """Has CLAP give what it reads of a text as a tensor, as versions of its library before 5 did: MusicLDM reads it so,
    AudioLDM 2 either way."""
    whole = reader.get_text_features
    reader.get_text_features = lambda *given, **named: whole(*given, **named).pooler_output


def refuse_own_code(path: Path, index: Mapping[str, Any]) -> None:
    """Raises ModelRefused when loading the folder would run Python that came with it."""
    parts = [(name, part[0]) for name, part in index.items() if isinstance(part, list) and part]
    own = [name for name, module in parts if name == "_class_name" or (path / name / f"{module}.py").exists()]
    if own:
        raise ModelRefused(f"{path.name} brings its own code for {own[0]}; allow remote code to run it.")


def find_shared_precision(path: Path) -> str | None:
    """The word in the names of weights (`fp16`) where a part has no others; parts that have plain names keep them."""
    folders = [folder for folder in path.iterdir() if folder.is_dir()]
    named = (
        find_precision((file.name for file in folder.iterdir()), stem)
        for folder in folders
        for stem in ("diffusion_pytorch_model", "model")
    )
    return next((precision for precision in named if precision), None)


def find_dtype(path: Path) -> torch.dtype:
    """The type of the largest file of weights, float32 unless it is a shorter one."""
    largest = max(
        [*path.glob("*/*.safetensors"), *path.glob("*.safetensors")], key=lambda file: file.stat().st_size, default=None
    )
    if largest is None:
        return torch.float32
    with safe_open(largest, framework="pt") as file:
        names = list(file.keys())
        return _DTYPES.get(file.get_slice(names[0]).get_dtype(), torch.float32) if names else torch.float32


class DiffusersPipeline:
    """One pipeline; see `tasks.maker.Maker`."""

    def __init__(self, path: Path, pipeline: Any, head: Head) -> None:
        """`pipeline` is on its device already."""
        self.path = path
        taken = inspect.signature(pipeline.__call__).parameters
        self._arguments = PipelineArguments(type(pipeline).__name__, taken, find_needed_by_parts(pipeline))
        self.settings = frozenset(self._arguments.names)
        self._strength = find_default(taken, self._arguments.names.get("strength"), most=1)
        frame_rate = find_default(taken, self._arguments.names.get("fps"))
        self.rate = find_rate(pipeline) if head == "audio-pipeline" else int(frame_rate or 0)
        self._in_frames = head == "video-pipeline"
        self._outputs = result_fields(_MAKES[head])
        if head in ("image-pipeline", "depth-pipeline"):
            self._outputs += (PREDICTION,)
        if self._in_frames and not FRAMES.isdisjoint(taken):
            self._outputs += result_fields(IMAGE)
        self._most_steps = find_most_steps(pipeline)
        self._as_arrays = {"output_type": "np"} if "output_type" in taken else {}
        self._pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)  # of pipelines inside this one

    def make(self, options: Mapping[str, Any], on_step: OnStep) -> Array | None:
        """See `tasks.maker.Maker.make`. The noise is drawn on the CPU: a seed means the same there and on CUDA."""
        self._check(options)
        if "seed" in self.settings:
            seed = choose_seed(options.get("seed"))
            torch.manual_seed(seed)  # some pipelines draw a part of their noise without the generator
            options = {**options, "seed": torch.Generator().manual_seed(seed)}
        arguments = self._arguments.of(options)
        self._pipeline.progress_bar = lambda iterable=None, total=None, **_: Steps(on_step, iterable, total)
        try:
            with making_errors(self._outputs[0], value_errors_are_the_clients=True), quiet_library(library_logging):
                result = self._pipeline(**arguments, **self._as_arrays)
                return self._read(result)
        except Stopped:
            return None

    def _check(self, options: Mapping[str, Any]) -> None:
        """Raises InvalidRequest for options that the pipeline would stumble over only on its way."""
        self._arguments.check(options)
        steps = options.get("num_inference_steps", 0)
        if self._most_steps is not None and steps > self._most_steps:
            raise InvalidRequest(
                field="params.num_inference_steps",
                got=steps,
                accepted=f"at most {self._most_steps}, as many as the model was trained with",
            )
        strength = options.get("strength", self._strength)
        if steps and strength is not None and int(steps * strength) == 0:
            raise InvalidRequest(
                field="params.num_inference_steps",
                got=steps,
                accepted=f"at least {ceil(1 / strength)}: of strength {strength:g} as large a part of them is taken",
            )

    def _read(self, result: Any) -> Array:
        """What the call has made. Raises InferenceFailed when the pipeline makes something else."""
        found = ((name, made) for name in self._outputs if (made := getattr(result, name, None)) is not None)
        field, made = next(found, ("", None))
        if made is None:
            raise InferenceFailed(f"{type(self._pipeline).__name__} does not make {self._outputs[0]}.")
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            log.warning("the model's safety checker has blackened the answer")
        array = np.asarray(made[0])
        if field == "audios":
            return array.T.astype(np.float32) if array.ndim == 2 else array.astype(np.float32)
        if field == PREDICTION:
            if array.shape[-1] == 1:
                return array[..., 0].astype(np.float32)
            array = (array + 1) / 2  # directions, each of their three parts from -1 to 1
        if self._in_frames and array.ndim == 3:  # the frames of its one video, without a list around them
            array = np.asarray(made)
        return as_pixels(array, f"{type(self._pipeline).__name__} makes", 4 if self._in_frames else 3)


def find_needed_by_parts(pipeline: Any) -> frozenset[str]:
    """What a part has no default for, though the pipeline has: a ControlNet for several kinds of images, which kind."""
    config = getattr(getattr(pipeline, "controlnet", None), "config", {})
    return frozenset({"control_mode"}) if config.get("num_control_type") else frozenset()


def as_pixels(array: Array, what: str, dimensions: int) -> Array:
    """Images of any kind as uint8 in RGB. Raises InferenceFailed for an array of other `dimensions`."""
    if array.ndim != dimensions:
        raise InferenceFailed(f"{what} an array of shape {array.shape}, which is not what its task answers.")
    if array.dtype != np.uint8:  # from 0 to 1, as the library's own conversion to images reads it
        array = (array * 255).round().astype(np.uint8)
    return array[..., :3] if array.shape[-1] >= 3 else np.repeat(array[..., :1], 3, axis=-1)


class Steps:
    """What a pipeline takes for its progress bar: tells `on_step` of each step, and leaves the loop when told to."""

    def __init__(self, on_step: OnStep, steps: Iterable[Any] | None, total: int | None) -> None:
        """`steps`: what the pipeline iterates over, when it does so through its bar; else it counts up to `total`."""
        self._on_step = on_step
        self._steps = [] if steps is None else list(steps)
        self._total = len(self._steps) if total is None else total
        self._done = 0

    def update(self, count: int = 1) -> None:
        """Notes that `count` more steps are done. Raises Stopped."""
        self._done += count
        if self._on_step(self._done, self._total):
            raise Stopped

    def __iter__(self) -> Iterator[Any]:
        for step in self._steps:
            yield step
            self.update()

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def close(self) -> None:
        """A bar's end; nothing to do."""

    def set_description(self, *_: object, **__: object) -> None:
        """A bar's label; not shown."""


def find_most_steps(pipeline: Any) -> int | None:
    """Most steps that a pipeline's schedule can be cut into; None when it does not say, and of a flow, which can be
    cut at will: its config tells in what unit times are."""
    scheduler = getattr(pipeline, "scheduler", None)
    config = getattr(scheduler, "config", {})
    trained = config.get("num_train_timesteps")
    if trained is None or "FlowM" in type(scheduler).__name__:
        return None
    return int(trained) - int(config.get("steps_offset") or 0)


def find_rate(pipeline: Any) -> int:
    """Samples per second of a pipeline's sound. Raises ModelRefused when its parts do not tell."""
    parts = [getattr(pipeline, name, None) for name in ("vocoder", "vae")]
    rates = [getattr(getattr(part, "config", None), "sampling_rate", None) for part in parts]
    rate = next((rate for rate in (*rates, getattr(pipeline, "sample_rate", None)) if rate), None)
    if rate:
        return int(rate)
    raise ModelRefused(f"{type(pipeline).__name__} does not say how many samples a second of its sound has.")
