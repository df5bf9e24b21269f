"""document-question-answering: answers a question about a page, from its words and where they are (LayoutLM), from
its image alone (Donut), or from both (UDOP).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.media.images import decode_image
from modelyard.media.media import Media
from modelyard.tasks.base import Call, Inputs, Task, attempt
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.arrays import group_by_shape, stack_rows
from modelyard.tasks.shared.encoding import PLACES, takes_boxes
from modelyard.tasks.shared.generation import Generation, Prompt, Texts, each_sequence
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.images import EXAMPLE, pixels_of
from modelyard.tasks.shared.lengths import media_size
from modelyard.tasks.shared.prompts import refuse_long_prompt
from modelyard.tasks.shared.scores import softmax
from modelyard.tasks.shared.spans import AnswerTokens, SharedTokens, WindowTokens
from modelyard.tasks.shared.windows import check_shared
from modelyard.tasks.shared.word_boxes import PAGE, Page, WordBoxes, check_boxes, reads_places, whole_boxes

if TYPE_CHECKING:
    from PIL.Image import Image


class DocumentQuestionAnsweringInputs(Inputs, frozen=True, kw_only=True):
    """A question, and the page that answers it."""

    question: Annotated[str, Meta(min_length=1, description="what to find out")]
    media: Annotated[
        Media | None, Meta(description="the page: image_url, url or base64; models that read word_boxes do without")
    ] = None
    word_boxes: Annotated[
        WordBoxes | None,
        Meta(
            description="the page's words in reading order, for LayoutLM and UDOP: "
            "[[word, [left, top, right, bottom]], ...] in thousandths of the page's width and height"
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest when there is no page, and for boxes that are none."""
        if self.media is None and self.word_boxes is None:
            raise InvalidRequest("media: missing; accepted: image_url, url or base64, or word_boxes", field="media")
        check_boxes(self.word_boxes)


class DocumentQuestionAnsweringParams(GenerationParams, frozen=True, kw_only=True):
    """How many answers, how long; the settings of generation apply to models that write their answer (Donut)."""

    top_k: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="models that find: how many answers, best first; 1 by default; models that write: sample among "
            "the k likeliest tokens"
        ),
    ] = None
    doc_stride: SharedTokens = None
    max_answer_len: AnswerTokens = 15
    max_seq_len: WindowTokens = None


class DocumentAnswer(msgspec.Struct, frozen=True):
    """An answer. Models that write (Donut) know neither its probability nor its place."""

    score: Annotated[float | None, means("score", "its probability, 0 to 1; null from models that write")]
    answer: Annotated[str, means("label", "its text")]
    start: Annotated[int | None, Meta(description="its first word in word_boxes; null from models that write")]
    end: Annotated[int | None, Meta(description="its last word in word_boxes; null from models that write")]


DocumentQuestionAnsweringOutput = list[DocumentAnswer]
"""The answers, best first."""


def find_all(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each question by a model that finds, call by call."""
    if not reads_places(model):
        kind = model.config["model_type"]
        raise ModelRefused(
            f"{kind} models are not served for document-question-answering; LayoutLM, Donut and UDOP are."
        )
    return [attempt(find_answers, model, call) for call in calls]


def writes(model: Model) -> bool:
    """Whether the model writes its answer; otherwise it finds it among the page's words."""
    return model.config["model_type"] in ("vision-encoder-decoder", "udop")


@dataclass(frozen=True, slots=True)
class PageWindow:
    """A stretch of the page behind the question. `words`: each token's word in the page, None outside the page."""

    arguments: Mapping[str, Array]
    words: Sequence[int | None]


def find_answers(
    model: Model, call: Call[DocumentQuestionAnsweringInputs, DocumentQuestionAnsweringParams]
) -> list[DocumentAnswer]:
    """The likeliest stretches of the page's words over all its windows. Raises InvalidRequest."""
    words = [word for word, _ in page_with_words(call)]
    windows = windows_of(model, call)
    found: dict[tuple[int, int], float] = {}
    for group in group_by_shape([window.arguments for window in windows]):
        outputs = model.forward(stack_rows([windows[index].arguments for index in group]))
        for place, index in enumerate(group):
            logits = [outputs[name][place] for name in ("start_logits", "end_logits")]
            for score, first, last in best_spans(windows[index], logits, call.params):
                found[first, last] = max(score, found.get((first, last), 0.0))
    best = sorted(found.items(), key=lambda item: -item[1])[: call.params.top_k or 1]
    return [DocumentAnswer(score, " ".join(words[first : last + 1]), first, last) for (first, last), score in best]


def windows_of(
    model: Model, call: Call[DocumentQuestionAnsweringInputs, DocumentQuestionAnsweringParams]
) -> list[PageWindow]:
    """The page's windows, each behind the question. Raises InvalidRequest when they leave it no room."""
    word_boxes = call.inputs.word_boxes or []
    limit = min(limit for limit in (call.params.max_seq_len or 384, model.max_length) if limit)
    words = [word for word, _ in word_boxes]
    gives_boxes = takes_boxes(model.tokenizer)
    beside = [call.inputs.question] if gives_boxes else call.inputs.question.split()
    most = limit - model.tokenizer.num_special_tokens_to_add(pair=True)
    room = most - count_tokens(model, beside)
    if room < 1:
        raise InvalidRequest(field="question", got=call.inputs.question, accepted=f"fewer than {most} tokens")
    shared = call.params.doc_stride
    if shared is not None:
        check_shared(shared, room, "params.doc_stride")
    given = {"boxes": [whole_boxes(word_boxes)]} if gives_boxes else {"is_split_into_words": True}
    batch = model.tokenizer(
        beside,
        [words] if gives_boxes else words,
        truncation="only_second",
        max_length=limit,
        stride=min(128, limit // 2, room // 2) if shared is None else shared,
        return_overflowing_tokens=True,
        return_token_type_ids=True,
        **given,
    )
    seen = page_pixels(model, call)
    windows = []
    for index, ids in enumerate(batch["input_ids"]):
        places = [
            word if part == 1 else None
            for part, word in zip(batch.sequence_ids(index), batch.word_ids(index), strict=True)
        ]
        boxes = [
            box_of(word_boxes, word, token == model.tokenizer.sep_token_id)
            for word, token in zip(places, ids, strict=True)
        ]
        names = ("input_ids", "attention_mask", "token_type_ids")
        arguments = {name: np.array([batch[name][index]], dtype=np.int64) for name in names}
        arguments[PLACES] = np.array([batch[PLACES][index] if gives_boxes else boxes], dtype=np.int64)
        windows.append(PageWindow({**arguments, **seen}, places))
    return windows


def count_tokens(model: Model, question: Sequence[str]) -> int:
    """Tokens in the question alone, given as its words, or whole to a tokenizer that reads words with boxes."""
    if takes_boxes(model.tokenizer):
        (question,) = (text.split() for text in question)
        encoded = model.tokenizer(question, boxes=[[0] * 4] * len(question), add_special_tokens=False)
    else:
        encoded = model.tokenizer(question, is_split_into_words=True, add_special_tokens=False)
    return len(encoded["input_ids"])


def page_pixels(model: Model, call: Call[DocumentQuestionAnsweringInputs, Any]) -> dict[str, Array]:
    """The page's image for a model that reads it beside the words (LayoutLMv3), where there is one."""
    if call.inputs.media is None or "input_size" not in model.config or model.processor is None:
        return {}
    return {"pixel_values": pixels_of(model, call, decode_image(call.inputs.media), apply_ocr=False)["pixel_values"]}


def box_of(word_boxes: Sequence[tuple[str, Sequence[float]]], word: int | None, separates: bool) -> list[int]:
    """Where a token is on the page. By the model's training, what separates is in its far corner, the rest at its
    origin.
    """
    if word is None:
        return [PAGE] * 4 if separates else [0] * 4
    return [int(value) for value in word_boxes[word][1]]


def best_spans(
    window: PageWindow, logits: Sequence[Array], params: DocumentQuestionAnsweringParams
) -> list[tuple[float, int, int]]:
    """A window's likeliest stretches as (probability, first word, last word). `logits`: (tokens,) for begin and end.

    The first token, [CLS], has a share of the probability as well: it stands for no answer.
    """
    page = np.flatnonzero([word is not None for word in window.words])
    kept = [0, *page]
    start, end = (softmax(one[kept])[1:] for one in logits)
    pairs = np.outer(start, end)
    pairs = np.triu(pairs) - np.triu(pairs, params.max_answer_len)
    found = []
    for place in np.argsort(-pairs, axis=None, kind="stable")[: params.top_k or 1]:
        first, last = divmod(int(place), len(page))
        begin, end_word = window.words[page[first]], window.words[page[last]]
        if first <= last and begin is not None and end_word is not None:
            found.append((float(pairs[first, last]), begin, end_word))
    return found


def prompts(model: Model, call: Call[DocumentQuestionAnsweringInputs, DocumentQuestionAnsweringParams]) -> list[Prompt]:
    """What a model that writes reads: the page's image, and with it the question, which Donut's decoder starts from, or
    the question and the page's words (UDOP). Raises InvalidRequest."""
    if call.inputs.media is None:
        raise InvalidRequest(
            "media: missing; accepted: image_url, url or base64: this model reads the page's image", field="media"
        )
    image = decode_image(call.inputs.media)
    if model.config["model_type"] == "udop":
        return [page_prompt(model, call, image)]
    pixels = pixels_of(model, call, image)["pixel_values"]
    question = f"<s_docvqa><s_question>{call.inputs.question}</s_question><s_answer>"
    ids = model.tokenizer(question, add_special_tokens=False)["input_ids"]
    refuse_long_prompt(len(ids), model, call.params, "question")
    return [Prompt(arrays={"pixel_values": pixels, "decoder_input_ids": np.array([ids], dtype=np.int64)})]


def page_prompt(model: Model, call: Call[DocumentQuestionAnsweringInputs, Any], image: Image) -> Prompt:
    """A page's image, and the question with the page's words behind it, cut at the model's limit. Raises
    InvalidRequest."""
    page = page_with_words(call)
    pixels = pixels_of(model, call, image, apply_ocr=False)["pixel_values"]
    cut: dict[str, Any] = {"truncation": "only_second", "max_length": model.max_length} if model.max_length else {}
    try:
        encoded = model.tokenizer(call.inputs.question, [word for word, _ in page], boxes=whole_boxes(page), **cut)
    except Exception as error:
        # The fast tokenizers raise bare Exception when a question leaves no room.
        raise InvalidRequest(f"question: the tokenizer refused it: {error}", field="question") from error
    names = ("input_ids", "attention_mask", PLACES)
    arrays = {name: np.array([encoded[name]], dtype=np.int64) for name in names}
    return Prompt(arrays={**arrays, "pixel_values": pixels})


def page_with_words(call: Call[DocumentQuestionAnsweringInputs, Any]) -> Page:
    """The page's words and where they are. Raises InvalidRequest when there are none."""
    if call.inputs.word_boxes is None:
        raise InvalidRequest(
            "word_boxes: missing; accepted: the page's words with their boxes, as an OCR program finds them: "
            '[["Total", [100, 200, 180, 220]], ...]. A Donut model reads the image alone',
            field="word_boxes",
        )
    return call.inputs.word_boxes


def answer(_call: Call[Any, Any], texts: Texts) -> DocumentQuestionAnsweringOutput:
    """The model's own words, which it has written between marks."""
    return [DocumentAnswer(None, text.strip(), None, None) for text in each_sequence(texts)]


def options(model: Model, _params: Any) -> Mapping[str, Any]:
    """The mark that ends an answer."""
    end = model.tokenizer.get_vocab().get("</s_answer>")
    return {"stop_token_ids": () if end is None else (end,)}


GENERATION = Generation(prompts=prompts, answer=answer, options=options, applies=writes, otherwise=find_all)


def page_length(call: Call[Any, Any]) -> int:
    """Characters of the question and the words, and bytes of the image."""
    inputs = call.inputs
    page = 0 if inputs.media is None else media_size(inputs.media)
    return page + len(inputs.question) + sum(len(word) for word, _ in inputs.word_boxes or ())


TASK = Task(
    id="document-question-answering",
    summary="Answer a question about a page.",
    inputs=DocumentQuestionAnsweringInputs,
    params=DocumentQuestionAnsweringParams,
    output=DocumentQuestionAnsweringOutput,
    run=GENERATION.run,
    generation=GENERATION,
    heads=("document-question-answering", "vision-encoder-decoder"),
    example={
        "base64": EXAMPLE,
        "question": "What is the total?",
        "word_boxes": [
            ["Invoice", [80, 60, 300, 100]],
            ["Total", [80, 700, 200, 740]],
            ["42.00", [700, 700, 860, 740]],
        ],
    },
    media="image",
    wildcard="url",
    max_batch=8,
    length=page_length,
    sizes=sizes.pages,
)
