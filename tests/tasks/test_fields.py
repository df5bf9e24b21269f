"""What a program needs to know to draw a form and an answer of any task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from modelyard.tasks.base import Inputs, Params, Task
from modelyard.tasks.fields import inputs_of, meanings_of, settings_of
from modelyard.tasks.hints import means
from modelyard.tasks.registry import OURS, TASKS, get_task

TEXT = {"text": "text"}
IMAGE = {"url": "image"}
TALK = {"messages": "messages", "text": "text", "tools": "json"}
LABELS = {"candidate_labels": "texts"}
WEIGHED = {"token": "label", "value": "score"}
SCORED = {"label": "label", "score": "score"}
SAID = {"content": "text", "reasoning_content": "thought", "text": "text", "audio": "sound"}
MASKED = {"masks": "mask", "scores": "score"}
FOUND = {**SCORED, "box": "box"}

DRAWN: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "text-generation": (TEXT, {}),
    "chat": (TALK, SAID),
    "text2text-generation": (TEXT, {}),
    "summarization": (TEXT, {}),
    "translation": (TEXT, {}),
    "fill-mask": (TEXT, {"score": "score", "token_str": "label", "sequence": "text"}),
    "text-classification": ({**TEXT, "text_pair": "text", "word_boxes": "json"}, SCORED),
    "token-classification": (
        {**TEXT, "word_boxes": "json"},
        {"entity": "label", "entity_group": "label", "score": "score", "start": "start", "end": "end"},
    ),
    "question-answering": (
        {"question": "text", "context": "text"},
        {"answer": "label", "score": "score", "start": "start", "end": "end"},
    ),
    "zero-shot-classification": ({**TEXT, **LABELS}, {"sequence": "text", "labels": "label", "scores": "score"}),
    "feature-extraction": (TEXT, WEIGHED),
    "sentence-similarity": ({**TEXT, "sentences": "texts"}, WEIGHED),
    "text-ranking": ({"query": "text", "documents": "texts"}, {"index": "index", "score": "score", "text": "text"}),
    "image-classification": (IMAGE, SCORED),
    "object-detection": (IMAGE, FOUND),
    "image-segmentation": (IMAGE, {**SCORED, "mask_png": "mask"}),
    "depth-estimation": (IMAGE, {"depth_png": "image"}),
    "zero-shot-image-classification": ({**IMAGE, **LABELS}, SCORED),
    "zero-shot-object-detection": ({**IMAGE, **LABELS}, FOUND),
    "image-feature-extraction": (IMAGE, {}),
    "mask-generation": ({**IMAGE, **TEXT}, MASKED),
    "audio-classification": ({"url": "audio"}, SCORED),
    "automatic-speech-recognition": ({"url": "audio"}, {"text": "text", "timestamp": "time"}),
    "image-to-text": ({**IMAGE, **TEXT}, {}),
    "image-text-to-text": ({**TALK, **IMAGE}, SAID),
    "text-to-image": (TEXT, {}),
    "image-to-image": ({**IMAGE, **TEXT, "mask": "image", "control_image": "image"}, {}),
    "unconditional-image-generation": ({}, {}),
    "text-to-video": (TEXT, {}),
    "image-to-video": ({**IMAGE, **TEXT, "last_image": "image"}, {}),
    "video-to-video": ({"url": "video", **TEXT}, {}),
    "text-to-speech": ({**TEXT, "messages": "messages"}, {}),
    "text-to-audio": (TEXT, {}),
    "visual-question-answering": ({**IMAGE, "question": "text"}, {"answer": "label", "score": "score"}),
    "document-question-answering": (
        {**IMAGE, "question": "text", "word_boxes": "json"},
        {"answer": "label", "score": "score"},
    ),
    "video-classification": ({"url": "video"}, SCORED),
    "video-text-to-text": ({**TALK, "url": "video"}, SAID),
    "audio-text-to-text": ({**TALK, "url": "audio"}, SAID),
}
"""Each task → its inputs with their kinds, and what its output's fields mean."""

every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)


def test_every_task_is_drawn() -> None:
    assert DRAWN.keys() == {task.id for task in OURS}


@pytest.mark.parametrize("task", OURS, ids=lambda task: task.id)
def test_inputs_have_kinds_and_outputs_mean_something(task: Task) -> None:
    kinds, meanings = DRAWN[task.id]
    assert {field["name"]: field["kind"] for field in inputs_of(task)} == kinds
    assert {name: each["means"] for name, each in meanings_of(task).items()} == meanings


@every_task
def test_a_setting_says_what_its_schema_says(task: Task) -> None:
    fields = settings_of(task)
    assert [field["name"] for field in fields] == list(task.params.__struct_fields__)
    for field, declared in zip(fields, msgspec.structs.fields(task.params), strict=True):
        assert field["required"] is declared.required is False
        assert field["description"]
        if "default" in field:
            assert field["default"] == msgspec.to_builtins(getattr(task.params(), field["name"]))
        for choice in field.get("choices", ()):
            msgspec.convert({field["name"]: choice}, task.params)


@every_task
def test_what_an_output_points_into_is_a_field_of_the_request(task: Task) -> None:
    names = {field["name"] for field in inputs_of(task)}
    assert {each["of"] for each in meanings_of(task).values() if "of" in each} <= names


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [
        ("fill-mask", "top_k", {"kind": "integer", "minimum": 1, "maximum": 10_000, "default": 5}),
        ("text-generation", "temperature", {"kind": "number", "minimum": 0, "maximum": 100}),
        ("text-generation", "top_p", {"kind": "number", "above": 0, "maximum": 1}),
        ("text-generation", "stop", {"kind": "text"}),
        ("fill-mask", "targets", {"kind": "texts", "most": 1024}),
        ("text-generation", "json_schema", {"kind": "json"}),
        ("text-generation", "do_sample", {"kind": "switch"}),
        ("text-generation", "return_full_text", {"kind": "switch", "default": True}),
        ("text-to-image", "width", {"kind": "integer", "minimum": 8, "maximum": 2048, "step": 8}),
        ("text-to-image", "negative_prompt", {"kind": "text", "most": 4096}),
        ("mask-generation", "input_points", {"kind": "points", "most": 256}),
        ("mask-generation", "input_boxes", {"kind": "boxes", "most": 256}),
        ("automatic-speech-recognition", "return_timestamps",
         {"kind": "choice", "choices": [True, False, "char", "word"], "default": False}),
        ("audio-text-to-text", "voice", {"kind": "text", "most": 200, "streams": False}),
        ("chat", "num_return_sequences", {"kind": "integer", "minimum": 1, "maximum": 16, "streams": False}),
        ("audio-classification", "function_to_apply", {"kind": "choice", "choices": ["none", "sigmoid", "softmax"]}),
    ],
)  # fmt: skip
def test_a_setting_has_a_kind_and_bounds(task: str, name: str, said: dict[str, Any]) -> None:
    field = next(field for field in settings_of(get_task(task)) if field["name"] == name)
    words = ("kind", "choices", "default", "minimum", "above", "maximum", "below", "step", "most", "streams")
    shown = {word: field[word] for word in words if word in field}
    assert shown == said


class AddedInputs(Inputs, frozen=True, kw_only=True):
    """What no task of ours reads."""

    colours: Annotated[list[str], Meta(description="the colours")]
    shade: Annotated[Literal["dark", "light"], Meta(description="how dark")]


class AddedParams(Params, frozen=True, kw_only=True):
    """How."""

    loud: Annotated[bool, Meta(description="how loud")] = False


class Note(msgspec.Struct):
    """One of an added task's."""

    mood: Annotated[str, means("label", "the mood")]
    first: Annotated[int, means("start", "where it begins", of="colours")]


def test_a_task_of_others_is_drawn_by_what_it_says_itself() -> None:
    added = Task(
        id="mood", summary="Tells a mood.", inputs=AddedInputs, params=AddedParams, output=list[Note],
        run=lambda model, calls: [], heads=(), example={"colours": ["red"], "shade": "dark"},
    )  # fmt: skip
    assert inputs_of(added) == [
        {"name": "colours", "kind": "texts", "required": True, "description": "the colours"},
        {
            "name": "shade",
            "kind": "choice",
            "required": True,
            "description": "how dark",
            "choices": ["dark", "light"],
        },
    ]
    assert settings_of(added) == [
        {"name": "loud", "kind": "switch", "required": False, "description": "how loud", "default": False}
    ]
    assert meanings_of(added) == {"mood": {"means": "label"}, "first": {"means": "start", "of": "colours"}}
