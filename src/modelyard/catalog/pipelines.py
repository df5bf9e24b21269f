"""What a diffusers pipeline reads and makes, told by the library's own source text: importing it costs seconds and is
forbidden here. Owns the rule that leads from a pipeline's class to the tasks that it serves; loads nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelyard.catalog.library import is_installed
from modelyard.records.pipelines import (
    AUDIO,
    DEPTH,
    FRAMES,
    IMAGE,
    IMAGES,
    LAYERS,
    MADE,
    MASKS,
    PREDICTED,
    PREDICTION,
    VIDEO,
    VIDEOS,
)

MEDIA = frozenset({
    "image", "images", "input_images", "control_image", "reference_image", "original_image", "reference_images", "mask",
    "mask_image", "control_mask", "video", "audio", "src_audio", "conditioning_frames", "control_video",
})  # fmt: skip
"""What pipelines call the media that they read."""
ASKED = frozenset({"prompt", "class_labels", "image", "control_image", "mask_image", *VIDEOS})
"""What the tasks send of that which a pipeline cannot do without."""
BY_TEXT = {IMAGE: "text-to-image", VIDEO: "text-to-video", AUDIO: "text-to-audio"}
VIDEO_TASKS = {"image-to-video": frozenset(IMAGES), "video-to-video": frozenset(VIDEOS)}
"""Tasks that make a video of other media → the arguments under which those reach a pipeline."""
PIPELINE_TASKS = frozenset(
    {*BY_TEXT.values(), *VIDEO_TASKS, "image-to-image", "unconditional-image-generation", "depth-estimation"}
)
"""All that pipelines serve here."""

CHANGING = (
    "Img2Img", "Inpaint", "Edit", "Kontext", "Pix2Pix", "Upscale", "Upsample", "Refine", "Depth2Img", "Layered",
    "Fill", "ImageTo", "VideoTo", "AudioTo", "Control",
)  # fmt: skip
"""Words in the names of pipelines that change what they are given, though their call also checks for nothing given."""
CHECKER, CHECKING_LIBRARY = "CosmosSafetyChecker", "cosmos_guardrail"
"""What some pipelines make as they are loaded, to look through texts and videos, and where it comes from."""


@dataclass(frozen=True, slots=True)
class PipelineCall:
    """How a pipeline is called: the arguments that it takes and those of them that it `needs`, its media that may be
    left out, and what it `makes`, None when that is no image, video or sound."""

    takes: frozenset[str]
    needs: frozenset[str]
    optional: frozenset[str]
    makes: str | None


def detect_pipeline_task(*, tag: str | None, pipeline: str) -> str | None:
    """The task of a diffusers pipeline class: of those that it can serve the one that the card's `tag` names, else the
    first. None when it needs or makes what no task here has. Of a class that the library does not have, the tag."""
    call = find_call(pipeline)
    if call is None:
        return tag if tag in PIPELINE_TASKS else None
    tasks = find_tasks(pipeline, call)
    return tag if tag in tasks else next(iter(tasks), None)


def find_tasks(pipeline: str, call: PipelineCall) -> tuple[str, ...]:
    """The tasks of a pipeline class that is called so, the one it is mostly used for first."""
    if call.needs - ASKED or LAYERS in call.takes:
        return ()
    given, reads = find_given(pipeline, call), "prompt" in call.takes
    if call.makes == VIDEO:
        return _find_video_tasks(call, given, reads)
    if call.makes == AUDIO:
        return (BY_TEXT[AUDIO],) if reads and not given else ()
    if call.makes == DEPTH:
        return ("depth-estimation",) if given and not given.difference(IMAGES) else ()
    if call.makes is None or given.difference(IMAGES, MASKS):
        return ()
    if call.takes.isdisjoint(IMAGES):
        by_nothing = "unconditional-image-generation"
        return () if given else (BY_TEXT[IMAGE] if reads else by_nothing,)
    return ("image-to-image",) if given or not reads else (BY_TEXT[IMAGE], "image-to-image")


def _find_video_tasks(call: PipelineCall, given: frozenset[str], reads: bool) -> tuple[str, ...]:
    """Those of a pipeline that makes videos of the media `given`, if any, and `reads` a text or does not. One that may
    be given an image or a video has a task for each."""
    if given.difference(*VIDEO_TASKS.values()):
        return ()
    of_media = tuple(task for task, media in VIDEO_TASKS.items() if media & (given or call.takes))
    return of_media if given or not reads else (BY_TEXT[VIDEO], *of_media)


def find_given(pipeline: str, call: PipelineCall) -> frozenset[str]:
    """The media that the pipeline works on, so that it makes nothing without them."""
    media = call.takes & MEDIA
    return media if any(word in pipeline for word in CHANGING) else media - (call.optional - call.needs)


def describe_refusal(pipeline: str) -> str:
    """Why a pipeline of this class serves no task: a clause to follow the model's name."""
    call = find_call(pipeline)
    if call is None:
        return f"is a {pipeline}, which the installed diffusers does not have; its card may name what runs it"
    if call.makes is None:
        return f"is a {pipeline}, which makes no image, video or sound; take a pipeline that makes one of them"
    if call.makes == AUDIO and "prompt" not in call.takes:
        return f"is a {pipeline}, which reads no text, and no task here makes sounds without one; take another pipeline"
    if LAYERS in call.takes:
        return f"is a {pipeline}, which makes several images of one, and no task here answers so; take another pipeline"
    wanted = sorted(call.needs - ASKED) or sorted(find_given(pipeline, call)) or ["other inputs"]
    return f"is a {pipeline}, which needs {', '.join(wanted)}, and no task here sends that; take another pipeline"


def find_missing_checker(pipeline: str, index: Mapping[str, Any]) -> str | None:
    """What a pipeline of this class cannot be loaded without, and is not here: a clause to follow the model's name.
    `index`: its model_index.json, which may say that it is to be loaded without."""
    if index.get("enable_safety_checker") is False or not _makes_checker(pipeline) or is_installed(CHECKING_LIBRARY):
        return None
    return (
        f"is a {pipeline}, which is loaded with a safety checker of the library {CHECKING_LIBRARY} only; that is not "
        "installed here, and fetches models of its own, which a replica may not; take another pipeline"
    )


@cache
def _makes_checker(pipeline: str) -> bool:
    kind = _find_class(pipeline)
    calls = (node for node in ast.walk(kind) if isinstance(node, ast.Call)) if kind is not None else ()
    return any(ast.unparse(call.func) == CHECKER for call in calls)


@cache
def find_call(pipeline: str) -> PipelineCall | None:
    """How the library's pipeline of that class is called; None when it has none, or is not installed here."""
    found = _find_method(pipeline)
    if found is None:
        return None
    kind, call = found
    given = call.args
    names = [argument.arg for argument in (*given.args, *given.kwonlyargs)][1:]
    count = len(given.args) - 1 - len(given.defaults)
    lacking = [argument.arg for argument, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if not value]
    results = [
        node.value for node in ast.walk(call) if isinstance(node, ast.Return) and isinstance(node.value, ast.Call)
    ]
    return PipelineCall(
        takes=frozenset(names),
        needs=frozenset([*names[:count], *lacking]),
        optional=MEDIA.intersection(_tested(kind) if results else names),
        makes=VIDEO if FRAMES.intersection(names) else _made(results),
    )


def _find_method(name: str) -> tuple[ast.ClassDef, ast.FunctionDef] | None:
    """The `__call__` of a class, its own or that of the first base that has one, and the class that has it."""
    kind = _find_class(name)
    if kind is None:
        return None
    own = ((kind, node) for node in _methods(kind) if node.name == "__call__")
    bases = (ast.unparse(base).rpartition(".")[2] for base in kind.bases)
    return next(own, None) or next((found for base in bases if (found := _find_method(base))), None)


def _methods(kind: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (node for node in kind.body if isinstance(node, ast.FunctionDef))


def _find_class(name: str) -> ast.ClassDef | None:
    begin = f"\nclass {name}(".encode()
    for file in _sources():
        text = file.read_bytes()
        if begin in text:
            nodes = ast.parse(text).body
            return next(node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name)
    return None


@cache
def _sources() -> tuple[Path, ...]:
    spec = find_spec("diffusers")
    if spec is None or not spec.submodule_search_locations:
        return ()
    return tuple(sorted((Path(spec.submodule_search_locations[0]) / "pipelines").rglob("*.py")))


def _tested(kind: ast.ClassDef) -> Iterator[str]:
    """Names of arguments that a method can do without, and of which it asks whether they were given."""
    for method in _methods(kind):
        count = len(method.args.defaults)
        optional = {argument.arg for argument in method.args.args[-count:]} if count else set()
        yield from optional.intersection(_asked(method))


def _asked(method: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(method):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot):
            asked = node.left
        elif isinstance(node, ast.If | ast.IfExp):
            asked = node.test
        else:
            continue
        if isinstance(asked, ast.Name):
            yield asked.id


def _made(results: Sequence[ast.Call]) -> str | None:
    """What the call returns. One that only hands on what another pipeline has made is taken for images."""
    fields = [(keyword.arg, ast.unparse(result.func)) for result in results for keyword in result.keywords]
    known = next((MADE[field] for field, _ in fields if field and field in MADE), None)
    seen = (
        kind for field, result in fields for word, kind in PREDICTED.items() if field == PREDICTION and word in result
    )
    known = known or next(seen, None)
    if known or not results:
        return known or IMAGE
    return IMAGE if any(ast.unparse(result.func) == "ImagePipelineOutput" for result in results) else None
