"""The sizes of requests that a benchmark asks a model, kind by kind, up to what clients usually send.

The usual maximum: texts of 512 tokens, or the model's own limit where that is less; prompts of 512 tokens that are
continued by 64; images of 1024 × 768; sounds of 15 s, of 30 s where speech is written down; videos of 16 frames of
320 × 240; speech of one paragraph. Models that make images and videos make them in their own default size, in two
steps: more take longer, not more memory.

A token is taken for a short English word; tasks cut what is longer than their model reads. Those that refuse it get
prompts that leave room for the answer, and for tokenizers that need more tokens than there are words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from modelyard.tasks.base import Size, Sizes
from modelyard.tasks.shared import samples

MOST_TOKENS = 512
TEXT_TOKENS = (16, 128, MOST_TOKENS)
PROMPT_TOKENS = (16, 128, 256, MOST_TOKENS)
"""Closer together: a model that refuses the longest is then measured with one half as long."""
NEW_TOKENS = 64
STEPS = 2
"""One step is not legal for every scheduler."""
STEPS_FROM_IMAGE = 4
"""Of which pipelines leave out the first ones, up to 0.7 of them by default."""
IMAGES = ((512, 384), (1024, 768))
VIDEO = (16, 320, 240)
"""Frames, width, height."""
PAGE = (768, 1024)
LABELS = ["sea", "sport", "food", "school", "money"]
QUESTION = "Who stood on the wall?"
PARAGRAPH_WORDS = 80


# --- texts ---


def text_lengths(max_length: int | None, steps: Sequence[int] = TEXT_TOKENS) -> list[int]:
    """Lengths of texts that may be cut, ascending."""
    most = MOST_TOKENS if max_length is None else max(1, min(max_length, MOST_TOKENS))
    return [*(tokens for tokens in steps if tokens < most), most]


def prompt_lengths(max_length: int | None) -> list[int]:
    """Lengths of texts that the model refuses when they are too long, ascending."""
    if max_length is None:
        return text_lengths(None, PROMPT_TOKENS)
    room = max_length - new_tokens(max_length)
    # Models with a short context mostly have a small vocabulary too, with up to three tokens to a word.
    return text_lengths(room // 3 if max_length < MOST_TOKENS else room * 2 // 3, PROMPT_TOKENS)


def new_tokens(max_length: int | None) -> int:
    """How many tokens to write: a quarter of the model's context at most."""
    return NEW_TOKENS if max_length is None else max(1, min(NEW_TOKENS, max_length // 4))


def name_of(tokens: int) -> str:
    """What a text of that length is called."""
    return f"{tokens} tokens"


def texts(max_length: int | None, **fields: Any) -> list[Size]:
    """A text."""
    return [
        Size(name_of(tokens), {"text": samples.words(tokens), **fields}, tokens=tokens)
        for tokens in text_lengths(max_length)
    ]


def texts_with_a_mask(max_length: int | None) -> list[Size]:
    """A text with a mask near its start, written in both of the usual ways: one of them is the model's."""
    return [
        Size(name_of(tokens), {"text": f"A [MASK] <mask> day. {samples.words(tokens)}"}, tokens=tokens)
        for tokens in text_lengths(max_length)
    ]


def questions_about_texts(max_length: int | None) -> list[Size]:
    """A question and its context."""
    return [
        Size(name_of(tokens), {"question": QUESTION, "context": samples.words(tokens)}, tokens=tokens)
        for tokens in text_lengths(max_length)
    ]


def queries_with_a_document(max_length: int | None) -> list[Size]:
    """A query and one document to rank."""
    return [
        Size(name_of(tokens), {"query": QUESTION, "documents": [samples.words(tokens)]}, tokens=tokens)
        for tokens in text_lengths(max_length)
    ]


def texts_with_labels(max_length: int | None) -> list[Size]:
    """A text and labels to choose from."""
    return texts(max_length, candidate_labels=LABELS)


def texts_to_rewrite(max_length: int | None) -> list[Size]:
    """A text to turn into another; what is too long is cut."""
    return [with_new_tokens(tokens, {"text": samples.words(tokens)}, max_length) for tokens in text_lengths(max_length)]


def texts_to_continue(max_length: int | None) -> list[Size]:
    """A prompt."""
    return [
        with_new_tokens(tokens, {"text": samples.words(tokens)}, max_length) for tokens in prompt_lengths(max_length)
    ]


def conversations(max_length: int | None) -> list[Size]:
    """One message of the user's."""
    return [
        with_new_tokens(tokens, {"messages": [{"role": "user", "content": samples.words(tokens)}]}, max_length)
        for tokens in prompt_lengths(max_length)
    ]


def with_new_tokens(tokens: int, fields: dict[str, Any], max_length: int | None) -> Size:
    """A request that is answered by new text, always of the same length."""
    count = new_tokens(max_length)
    params = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}
    return Size(name_of(tokens), fields, params, tokens=tokens, new_tokens=count)


# --- images, sounds and videos ---


def media_field(data: bytes) -> dict[str, Any]:
    """A file in the form in which it reaches a worker."""
    return {"where": "base64", "data": data}


def images(_max_length: int | None, params: dict[str, Any] | None = None, **fields: Any) -> list[Size]:
    """An image."""
    return [
        Size(f"{width} x {height} pixels", {"media": media_field(samples.image(width, height)), **fields}, params or {})
        for width, height in IMAGES
    ]


def images_with_labels(max_length: int | None) -> list[Size]:
    """An image and labels to choose from."""
    return images(max_length, candidate_labels=LABELS)


def images_with_a_point_or_a_name(_max_length: int | None) -> list[Size]:
    """An image and a point in its middle, or the name of a thing: a model that reads one of them refuses the other."""
    return [
        Size(f"{width} x {height} pixels, {told}", {"media": media_field(samples.image(width, height)), **more}, params)
        for width, height in IMAGES
        for told, more, params in (
            ("a point", {}, {"input_points": [[width // 2, height // 2]]}),
            ("a name", {"text": "house"}, {}),
        )
    ]


def images_to_describe(max_length: int | None) -> list[Size]:
    """An image to describe."""
    return images(max_length, {"max_new_tokens": new_tokens(max_length)})


def images_with_a_question(max_length: int | None) -> list[Size]:
    """An image and a question about it."""
    return images(max_length, question=QUESTION)


def pages(max_length: int | None) -> list[Size]:
    """A question about a page, with its words for models that do not see them."""
    return [
        Size(
            name_of(tokens),
            {
                "question": QUESTION,
                "media": media_field(samples.page(*PAGE, samples.words(tokens))),
                "word_boxes": samples.places_on_page(samples.words(tokens)),
            },
            tokens=tokens,
        )
        for tokens in text_lengths(max_length)
    ]


def sounds(_max_length: int | None) -> list[Size]:
    """A sound."""
    return [Size(f"{seconds} s", {"media": media_field(samples.sound(seconds))}) for seconds in (2, 15)]


def sounds_to_transcribe(max_length: int | None) -> list[Size]:
    """Speech to write down."""
    params = {"max_new_tokens": new_tokens(max_length)}
    return [Size(f"{seconds} s", {"media": media_field(samples.sound(seconds))}, params) for seconds in (2, 30)]


def videos(_max_length: int | None) -> list[Size]:
    """A video."""
    count, width, height = VIDEO
    return [Size(f"{count} frames of {width} x {height}", {"media": media_field(samples.video(*VIDEO))})]


def with_a_question(sizes: Sizes) -> Sizes:
    """The same media, each with a question to be answered in words."""

    def ask(max_length: int | None) -> list[Size]:
        count = new_tokens(max_length)
        return [
            Size(
                size.name,
                {**size.fields, "text": "What is this?"},
                {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False},
                new_tokens=count,
            )
            for size in sizes(max_length)
        ]

    return ask


# --- media to make ---


def images_to_make(_max_length: int | None) -> list[Size]:
    """An image or video to make, of the model's own size."""
    return [Size("its own size", {"text": samples.words(16)}, {"num_inference_steps": STEPS, "seed": 0}, tokens=16)]


def images_to_change(_max_length: int | None) -> list[Size]:
    """An image to change, and the same with a mask, for models that fill in: each model refuses one of them."""
    width, height = IMAGES[0]
    picture = media_field(samples.image(width, height))
    fields = {"media": picture, "text": samples.words(16)}
    params = {"num_inference_steps": STEPS_FROM_IMAGE, "seed": 0}
    name = f"{width} x {height} pixels"
    return [
        Size(name, fields, params, tokens=16),
        Size(f"{name}, a mask", {**fields, "mask": {"media": {**picture, "where": "mask"}}}, params, tokens=16),
    ]


def images_to_move(_max_length: int | None) -> list[Size]:
    """An image to make a video of, of the model's own size and length."""
    width, height = IMAGES[0]
    fields = {"media": media_field(samples.image(width, height))}
    return [Size(f"{width} x {height} pixels", fields, {"num_inference_steps": STEPS, "seed": 0})]


def videos_to_change(max_length: int | None) -> list[Size]:
    """A video to change."""
    params = {"num_inference_steps": STEPS_FROM_IMAGE, "seed": 0}
    return [replace(size, params=params) for size in videos(max_length)]


def images_without_input(_max_length: int | None) -> list[Size]:
    """An image to make of nothing."""
    return [Size("its own size", {}, {"num_inference_steps": STEPS, "seed": 0})]


def speech_to_make(_max_length: int | None) -> list[Size]:
    """A sentence and a paragraph to say."""
    sentence = samples.PASSAGE.partition(".")[0] + "."
    return [
        Size("a sentence", {"text": sentence}, {"seed": 0}, tokens=len(sentence.split())),
        Size("a paragraph", {"text": samples.words(PARAGRAPH_WORDS)}, {"seed": 0}, tokens=PARAGRAPH_WORDS),
    ]


def music_to_make(_max_length: int | None) -> list[Size]:
    """Music to make."""
    return [Size(f"{seconds} s", {"text": samples.words(16)}, {"duration": seconds, "seed": 0}) for seconds in (1, 5)]


def sound_by_diffusion(_max_length: int | None) -> list[Size]:
    """Music to make by a diffusers pipeline, which reads other settings."""
    return [Size("5 s", {"text": samples.words(16)}, {"duration": 5, "num_inference_steps": STEPS})]
