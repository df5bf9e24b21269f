"""What a task says of a field beside its type, so that a program can draw a form and an answer of any task.

JSON schemas carry it as `x-kind`, `x-streams`, `x-means` and `x-of`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Meta

FieldKind = Literal[
    "text", "texts", "messages", "image", "audio", "video", "points", "boxes",
    "number", "integer", "switch", "choice", "json",
]  # fmt: skip
"""How a field is filled in. text: one text, where the field takes several too. texts: a list of texts. messages: a
conversation. image, audio, video: an http(s) URL, a data URL or base64. points: `[[x, y], ...]`, boxes: `[[xmin, ymin,
xmax, ymax], ...]`, in pixels of the image that goes along. switch: true or false. choice: one of its choices. json:
whatever the field's schema says."""
Meaning = Literal[
    "score", "label", "text", "thought", "start", "end", "index", "time", "box", "mask", "image", "sound",
]  # fmt: skip
"""Of a field of an output's record. score: how well it fits, mostly 0 to 1; null where the model does not tell. label:
what the score is about. text: what is read. thought: what the model has written before it answered. start, end:
characters of a text that was sent, end exclusive. index: the place in a list that was sent, from 0. time: two numbers,
seconds from the start of the sound. box: `xmin`, `ymin`, `xmax`, `ymax` in pixels of the image as sent. mask: PNG in
base64, white where the thing is. image: PNG in base64. sound: its `data` in base64, and their `media_type`. Where a
field holds a list, each of its items means this."""
KIND, STREAMS, MEANS, OF = "x-kind", "x-streams", "x-means", "x-of"


def filled_in_as(kind: FieldKind, description: str) -> Meta:
    """The description of a field whose type does not say its kind, and that."""
    return Meta(description=description, extra_json_schema={KIND: kind})


def not_in_a_stream(description: str) -> Meta:
    """The description of a param that a request sets to be answered whole, not in a stream."""
    return Meta(description=description, extra_json_schema={STREAMS: False})


def means(meaning: Meaning, description: str, *, of: str | None = None) -> Meta:
    """The description of an output's field, and what it means. `of`: the input's field that it points into."""
    return Meta(description=description, extra_json_schema={MEANS: meaning} if of is None else {MEANS: meaning, OF: of})
