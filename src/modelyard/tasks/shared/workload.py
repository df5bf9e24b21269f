"""What a benchmark asks a model: for each task, bodies of growing size up to what clients usually send.

The usual maximum: texts of 512 tokens, or the model's own limit where that is less; prompts of 512 tokens that are
continued by 64; pictures of 1024 × 768; sounds of 15 s, of 30 s where speech is written down; films of 16 pictures of
320 × 240; speech of one paragraph. Models that make pictures and films make them in their own default size, in two
steps: more take longer, not more memory.

A token is taken for a short English word; tasks cut what is longer than their model reads. Those that refuse it get
prompts that leave room for the answer, and for tokenizers that need more tokens than there are words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.tasks.base import Task
from modelyard.tasks.body import read
from modelyard.tasks.shared import samples

MOST_TOKENS = 512
TEXT_TOKENS = (16, 128, MOST_TOKENS)
PROMPT_TOKENS = (16, 128, 256, MOST_TOKENS)
"""Closer together: a model that refuses the longest is then measured with one half as long."""
NEW_TOKENS = 64
STEPS = 2
"""One step is not legal for every scheduler."""
PICTURES = ((512, 384), (1024, 768))
FILM = (16, 320, 240)
"""Pictures, width, height."""
PAGE = (768, 1024)
LABELS = ["sea", "sport", "food", "school", "money"]
QUESTION = "Who stood on the wall?"
PARAGRAPH_WORDS = 80


@dataclass(frozen=True, slots=True)
class Size:
    """One request as a worker takes it, and what its size is called. `tokens`: about how many the model reads, for
    texts. `new_tokens`: how many it writes, where the request says so."""

    name: str
    fields: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    tokens: int | None = None
    new_tokens: int | None = None


Sizes = Callable[[int | None], list[Size]]
"""A task's sizes for a model with such a `max_length`."""


def workload(task: Task, max_length: int | None, library: str = "transformers") -> Sequence[Size]:
    """The task's requests, smallest first, at least one. `max_length` and `library`: as the model's card has them.

    A task that is not known here is asked its own `example`.
    """
    if task.id == "text-to-audio" and library == "diffusers":
        return [Size("5 s", {"text": samples.words(16)}, {"duration": 5, "num_inference_steps": STEPS})]
    make = SIZES.get(task.id)
    if make is not None:
        return make(max_length)
    inference = read(task, task.example)
    return [Size("its example", inference.fields, inference.params)]


# --- texts ---


def text_tokens(max_length: int | None, steps: Sequence[int] = TEXT_TOKENS) -> list[int]:
    """Lengths of texts that may be cut, ascending."""
    most = MOST_TOKENS if max_length is None else max(1, min(max_length, MOST_TOKENS))
    return [*(tokens for tokens in steps if tokens < most), most]


def prompt_tokens(max_length: int | None) -> list[int]:
    """Lengths of texts that the model refuses when they are too long, ascending."""
    if max_length is None:
        return text_tokens(None, PROMPT_TOKENS)
    room = max_length - new_tokens(max_length)
    # Models with a short context mostly have a small vocabulary too, with up to three tokens to a word.
    return text_tokens(room // 3 if max_length < MOST_TOKENS else room * 2 // 3, PROMPT_TOKENS)


def new_tokens(max_length: int | None) -> int:
    """How many tokens to write: a quarter of the model's context at most."""
    return NEW_TOKENS if max_length is None else max(1, min(NEW_TOKENS, max_length // 4))


def named(tokens: int) -> str:
    """What a text of that length is called."""
    return f"{tokens} tokens"


def read_texts(max_length: int | None, **fields: Any) -> list[Size]:
    """A text."""
    return [
        Size(named(tokens), {"text": samples.words(tokens), **fields}, tokens=tokens)
        for tokens in text_tokens(max_length)
    ]


def masked_texts(max_length: int | None) -> list[Size]:
    """A text with a mask near its start, written in both of the usual ways: one of them is the model's."""
    return [
        Size(named(tokens), {"text": f"A [MASK] <mask> day. {samples.words(tokens)}"}, tokens=tokens)
        for tokens in text_tokens(max_length)
    ]


def questions(max_length: int | None) -> list[Size]:
    """A question and its context."""
    return [
        Size(named(tokens), {"question": QUESTION, "context": samples.words(tokens)}, tokens=tokens)
        for tokens in text_tokens(max_length)
    ]


def labelled_texts(max_length: int | None) -> list[Size]:
    """A text and labels to choose from."""
    return read_texts(max_length, candidate_labels=LABELS)


def rewritten_texts(max_length: int | None) -> list[Size]:
    """A text to turn into another; what is too long is cut."""
    return [written(tokens, {"text": samples.words(tokens)}, max_length) for tokens in text_tokens(max_length)]


def continued_texts(max_length: int | None) -> list[Size]:
    """A prompt."""
    return [written(tokens, {"text": samples.words(tokens)}, max_length) for tokens in prompt_tokens(max_length)]


def conversations(max_length: int | None) -> list[Size]:
    """One message of the user's."""
    return [
        written(tokens, {"messages": [{"role": "user", "content": samples.words(tokens)}]}, max_length)
        for tokens in prompt_tokens(max_length)
    ]


def written(tokens: int, fields: dict[str, Any], max_length: int | None) -> Size:
    """A request that is answered by new text, always of the same length."""
    count = new_tokens(max_length)
    params = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}
    return Size(named(tokens), fields, params, tokens=tokens, new_tokens=count)


# --- pictures, sounds and films ---


def media(data: bytes) -> dict[str, Any]:
    """A file in the form in which it reaches a worker."""
    return {"where": "base64", "data": data}


def pictures(_max_length: int | None, params: dict[str, Any] | None = None, **fields: Any) -> list[Size]:
    """A picture."""
    return [
        Size(f"{width} x {height} pixels", {"media": media(samples.picture(width, height)), **fields}, params or {})
        for width, height in PICTURES
    ]


def labelled_pictures(max_length: int | None) -> list[Size]:
    """A picture and labels to choose from."""
    return pictures(max_length, candidate_labels=LABELS)


def pointed_pictures(_max_length: int | None) -> list[Size]:
    """A picture and a point in its middle."""
    return [
        Size(
            f"{width} x {height} pixels",
            {"media": media(samples.picture(width, height))},
            {"input_points": [[width // 2, height // 2]]},
        )
        for width, height in PICTURES
    ]


def described_pictures(max_length: int | None) -> list[Size]:
    """A picture to describe."""
    return pictures(max_length, {"max_new_tokens": new_tokens(max_length)})


def questioned_pictures(max_length: int | None) -> list[Size]:
    """A picture and a question about it."""
    return pictures(max_length, question=QUESTION)


def pages(max_length: int | None) -> list[Size]:
    """A question about a page, with its words for models that do not see them."""
    return [
        Size(
            named(tokens),
            {
                "question": QUESTION,
                "media": media(samples.page(*PAGE, samples.words(tokens))),
                "word_boxes": samples.places_on_page(samples.words(tokens)),
            },
            tokens=tokens,
        )
        for tokens in text_tokens(max_length)
    ]


def sounds(_max_length: int | None) -> list[Size]:
    """A sound."""
    return [Size(f"{seconds} s", {"media": media(samples.sound(seconds))}) for seconds in (2, 15)]


def speeches(max_length: int | None) -> list[Size]:
    """Speech to write down."""
    params = {"max_new_tokens": new_tokens(max_length)}
    return [Size(f"{seconds} s", {"media": media(samples.sound(seconds))}, params) for seconds in (2, 30)]


def films(_max_length: int | None) -> list[Size]:
    """A film."""
    count, width, height = FILM
    return [Size(f"{count} pictures of {width} x {height}", {"media": media(samples.film(*FILM))})]


def shown(sizes: Sizes) -> Sizes:
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


def painted(_max_length: int | None) -> list[Size]:
    """A picture or film to make, of the model's own size."""
    return [Size("its own size", {"text": samples.words(16)}, {"num_inference_steps": STEPS, "seed": 0}, tokens=16)]


def imagined(_max_length: int | None) -> list[Size]:
    """A picture to make of nothing."""
    return [Size("its own size", {}, {"num_inference_steps": STEPS, "seed": 0})]


def spoken(_max_length: int | None) -> list[Size]:
    """A sentence and a paragraph to say."""
    sentence = samples.PASSAGE.partition(".")[0] + "."
    return [
        Size("a sentence", {"text": sentence}, {"seed": 0}, tokens=len(sentence.split())),
        Size("a paragraph", {"text": samples.words(PARAGRAPH_WORDS)}, {"seed": 0}, tokens=PARAGRAPH_WORDS),
    ]


def played(_max_length: int | None) -> list[Size]:
    """Music to make."""
    return [Size(f"{seconds} s", {"text": samples.words(16)}, {"duration": seconds, "seed": 0}) for seconds in (1, 5)]


SIZES: dict[str, Sizes] = {
    "text-generation": continued_texts,
    "chat": conversations,
    "text2text-generation": rewritten_texts,
    "summarization": rewritten_texts,
    "translation": rewritten_texts,
    "fill-mask": masked_texts,
    "text-classification": read_texts,
    "token-classification": read_texts,
    "question-answering": questions,
    "zero-shot-classification": labelled_texts,
    "feature-extraction": read_texts,
    "sentence-similarity": read_texts,
    "image-classification": pictures,
    "object-detection": pictures,
    "image-segmentation": pictures,
    "depth-estimation": pictures,
    "zero-shot-image-classification": labelled_pictures,
    "zero-shot-object-detection": labelled_pictures,
    "image-feature-extraction": pictures,
    "mask-generation": pointed_pictures,
    "audio-classification": sounds,
    "automatic-speech-recognition": speeches,
    "image-to-text": described_pictures,
    "image-text-to-text": shown(pictures),
    "text-to-image": painted,
    "unconditional-image-generation": imagined,
    "text-to-video": painted,
    "text-to-speech": spoken,
    "text-to-audio": played,
    "visual-question-answering": questioned_pictures,
    "document-question-answering": pages,
    "video-classification": films,
    "video-text-to-text": shown(films),
    "audio-text-to-text": shown(sounds),
}
