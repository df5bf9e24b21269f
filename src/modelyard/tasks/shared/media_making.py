"""What the tasks that make media share: settings, progress, cancellation, one call after the other.

Calls are not batched. A batch would have to be stopped as a whole when one client leaves, multiplies the memory of what
is mostly a large model at its limit, and changes the last bits of each answer; on the CPU it is no faster either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from msgspec import Meta

from modelyard.errors import InferenceFailed, InvalidRequest, ModelyardError
from modelyard.media.encode import SoundFormat, made_mp4
from modelyard.media.media import Made
from modelyard.tasks.base import Call, Inputs, Params
from modelyard.tasks.maker import Maker, OnStep
from modelyard.tasks.model import Array

MOST_CHARACTERS = 4096
"""In one prompt. Models cut a longer one, or need memory that grows with its square."""

PromptText = Annotated[str, Meta(max_length=MOST_CHARACTERS)]

Seed = Annotated[
    Annotated[int, Meta(ge=0, le=2**63 - 1)] | None,
    Meta(description="makes the answer repeatable on the same machine; without it every call differs"),
]
Steps = Annotated[
    Annotated[int, Meta(ge=1, le=1000)] | None,
    Meta(description="steps from noise to the answer: more are slower and mostly better; by default the model's own"),
]
Guidance = Annotated[
    Annotated[float, Meta(ge=0, le=100)] | None,
    Meta(description="higher follows the text more closely, at the price of variety; 1 or less is off on most models"),
]
NegativePrompt = Annotated[PromptText | None, Meta(description="what the answer should not show, where guidance is on")]

Pixels = Annotated[int, Meta(ge=8, le=2048, multiple_of=8)]
"""A height or a width."""
MOST_FRAMES = 257
FrameCount = Annotated[int, Meta(ge=1, le=MOST_FRAMES)]
FrameRate = Annotated[float, Meta(ge=1, le=60)]
FPS = 8.0
"""Of videos by models that do not say how many frames a second has."""


class SoundParams(Params, frozen=True, kw_only=True):
    """Settings of sounds that are made."""

    followed_here: ClassVar[frozenset[str]] = frozenset({"audio_format"})

    audio_format: Annotated[
        SoundFormat,
        Meta(description="of the file: wav, mp3, flac, opus (in Ogg), aac, or pcm (16 bits, little-endian, 24 kHz)"),
    ] = "wav"


class SteppedSoundParams(SoundParams, frozen=True, kw_only=True):
    """Settings of sounds that are made step by step, each of which is chosen."""

    max_new_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=15000)] | None,
        Meta(description="most steps of the model's own to make (MusicGen: 50 a second)"),
    ] = None
    guidance_scale: Guidance = None
    do_sample: Annotated[
        bool | None, Meta(description="draw each step at random; by default the model's own choice")
    ] = None
    temperature: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(description="above 1 draws more freely, below 1 more predictably"),
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="draw from this many likeliest codes; 0 is all")
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="draw from the likeliest codes that together have this probability"),
    ] = None


class SizedParams(Params, frozen=True, kw_only=True):
    """Settings with the size of an image."""

    height: Annotated[
        Pixels | None, Meta(description="in pixels, a multiple of 8, beside width; by default the model's own")
    ] = None
    width: Annotated[
        Pixels | None, Meta(description="in pixels, a multiple of 8, beside height; by default the model's own")
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for one without the other: many pipelines would ignore it."""
        for one, other in (("height", "width"), ("width", "height")):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise InvalidRequest(
                    field=f"params.{other}", got=None, accepted=f"a number of pixels, as {one} has one"
                )


class PromptedParams(SizedParams, frozen=True, kw_only=True):
    """Settings of what is made of a text."""

    negative_prompt: NegativePrompt = None
    num_inference_steps: Steps = None
    guidance_scale: Guidance = None
    seed: Seed = None


class VideoParams(PromptedParams, frozen=True, kw_only=True):
    """Settings of videos that are made."""

    followed_here: ClassVar[frozenset[str]] = frozenset({"fps"})

    num_frames: Annotated[FrameCount | None, Meta(description="frames in the video; by default the model's own")] = None
    fps: Annotated[
        FrameRate | None,
        Meta(description="frames shown per second; by default as many as the model says that it makes, else 8"),
    ] = None


def prompt_length(call: Call[Any, Any]) -> int:
    """Characters in the call's text."""
    return len(call.inputs.text)


T = TypeVar("T")
Finish = Callable[[Array, Call[Any, Any]], T]
"""Turns what the model has made into an answer, mostly a file."""
Read = Callable[[Call[Any, Any], Maker], dict[str, Any]]
"""What the model is given beside the text and the params that a call has. May raise InvalidRequest."""


def read_nothing(_call: Call[Any, Any], _model: Maker) -> dict[str, Any]:
    """What a task reads whose inputs are a text at most."""
    return {}


def make_videos(
    model: Maker, calls: Sequence[Call[Any, Any]], read: Read = read_nothing
) -> list[Made | ModelyardError]:
    """The video of each call, as an MP4 at the rate that it asks for or the model is made for."""
    return make_each(model, calls, lambda frames, call: made_mp4(frames, call.params.fps or model.rate or FPS), read)


def make_each(
    model: Maker, calls: Sequence[Call[Any, Any]], finish: Finish[T], read: Read = read_nothing
) -> list[T | ModelyardError]:
    """Runs the calls one by one."""
    return [make_one(model, call, finish, read) for call in calls]


def make_one(model: Maker, call: Call[Any, Any], finish: Finish[T], read: Read) -> T | ModelyardError:
    """One call's answer, or the error it met."""
    try:
        made = model.make(options_of(call, model) | read(call, model), report_steps(call))
        if made is None:
            return InferenceFailed("Cancelled before it was done.")
        return finish(made, call)
    except ModelyardError as error:
        return error


def options_of(call: Call[Inputs, Params], model: Maker) -> dict[str, Any]:
    """The call's text and those of its params that are set, less the ones that its task alone follows.

    Raises InvalidRequest for a param that this model does not read, and for a text when it reads none.
    """
    own = call.params.followed_here - model.settings
    names = [name for name in call.params.__struct_fields__ if name not in own]
    options = {name: value for name in names if (value := getattr(call.params, name)) is not None}
    for name, value in options.items():
        if name not in model.settings:
            known = ", ".join(each for each in names if each in model.settings)
            raise InvalidRequest(
                field=f"params.{name}", got=value, accepted=f"not set: this model has no such setting; it has {known}"
            )
    if (text := getattr(call.inputs, "text", None)) is not None:
        if "text" not in model.settings:
            raise InvalidRequest(field="text", got=text, accepted="another model: this one reads no text")
        options["text"] = text
    return options


def report_steps(call: Call[Any, Any]) -> OnStep:
    """Tells the call's listener of each step, and the model when the client has left."""

    def on_step(done: int, total: int) -> bool:
        if call.progress is not None:
            call.progress(done, total)
        return call.cancelled()

    return on_step
