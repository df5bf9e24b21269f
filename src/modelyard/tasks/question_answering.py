"""question-answering: finds the answer to a question inside a text. Long texts run in overlapping windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Inputs, Params, Task
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.encoding import Row, forward_each
from modelyard.tasks.shared.slow_tokenizers import find_offsets
from modelyard.tasks.shared.spans import AnswerTokens, SharedTokens, Span, WindowTokens, best_spans, score_window
from modelyard.tasks.shared.windows import TextWindow, check_shared, encode_windows, room_for


class QuestionAnsweringInputs(Inputs, frozen=True, kw_only=True):
    """A question, and the text that answers it."""

    question: Annotated[str, Meta(min_length=1, description="what to find out")]
    context: Annotated[str, Meta(min_length=1, description="the text that holds the answer")]


class QuestionAnsweringParams(Params, frozen=True, kw_only=True):
    """How many answers, how long, and how a long text is cut into windows."""

    top_k: Annotated[
        Annotated[int, Meta(ge=1, le=100)],
        Meta(description="answers to give, best first; above 1 the output is a list"),
    ] = 1
    doc_stride: SharedTokens = None
    max_answer_len: AnswerTokens = 15
    max_seq_len: WindowTokens = None
    max_question_len: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="most tokens of the question; the rest is cut; 64")
    ] = 64
    handle_impossible_answer: Annotated[
        bool, Meta(description="true: an empty answer may win, from models trained to find none")
    ] = False
    align_to_words: Annotated[bool, Meta(description="true: answers begin and end with whole words")] = True


QuestionAnsweringOutput = Span | list[Span]
"""The best answer, with its characters in the context; a list for top_k above 1."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each question. The windows of all calls share batches."""
    answers: list[Any] = []
    windows: list[list[TextWindow]] = []
    for call in calls:
        try:
            windows.append(windows_of(model, call))
            answers.append(None)
        except InvalidRequest as error:
            windows.append([])
            answers.append(error)
    logits = iter(forward_each(model, [window.row for own in windows for window in own], read_span_logits))
    for index, (call, own) in enumerate(zip(calls, windows, strict=True)):
        if answers[index] is None:
            answers[index] = answer(model, call, own, [next(logits) for _ in own])
    return answers


def windows_of(model: Model, call: Call[QuestionAnsweringInputs, QuestionAnsweringParams]) -> list[TextWindow]:
    """The context's windows, each behind the question. Raises InvalidRequest when they leave it no room."""
    limits = [limit for limit in (call.params.max_seq_len or 384, model.max_length) if limit]
    question, tokens = cut_question(model, call)
    room = room_for(model, min(limits), tokens, pair=True) or 0
    if room < 1:
        raise InvalidRequest(
            field="question", got=call.inputs.question, accepted=f"fewer tokens than the {min(limits)} of a window"
        )
    shared = call.params.doc_stride
    shared = (
        min(128, min(limits) // 2, room // 2) if shared is None else check_shared(shared, room, "params.doc_stride")
    )
    windows = encode_windows(model, [question], [call.inputs.context], limit=min(limits), shared=shared)
    return [as_passage(window) for window in windows] if model.config.get("model_type") == "dpr" else windows


def as_passage(window: TextWindow) -> TextWindow:
    """The window as DPR's reader was trained to read it: question, the passage's title, which is empty here, and the
    passage, each but the last with a separator behind it. So the window's last separator comes before the passage."""
    first, last = window.parts.index(1), len(window.parts) - 1
    order = [*range(first), last, *range(first, last)]
    row = {name: [values[at] for at in order] for name, values in window.row.items()}
    offsets, parts, words = ([own[at] for at in order] for own in (window.offsets, window.parts, window.words))
    return replace(window, row=row, offsets=offsets, parts=parts, words=words)


def cut_question(model: Model, call: Call[QuestionAnsweringInputs, QuestionAnsweringParams]) -> tuple[str, int]:
    """The question, at most `max_question_len` tokens of it, and how many they are."""
    question, most = call.inputs.question, call.params.max_question_len
    encoded = model.tokenizer(question, add_special_tokens=False, verbose=False)
    tokens = len(encoded["input_ids"])
    if tokens <= most:
        return question, tokens
    if not model.tokenizer.is_fast:
        return question[: find_offsets(model.tokenizer, question)[most - 1][1]], most
    return question[: encoded.token_to_chars(most - 1).end], most


def read_span_logits(outputs: Mapping[str, Array], place: int, row: Row) -> tuple[Array, Array]:
    """One window's logits for the answer's first and last token, (tokens,) each."""
    length = len(row["input_ids"])
    return outputs["start_logits"][place, :length], outputs["end_logits"][place, :length]


def answer(
    model: Model,
    call: Call[QuestionAnsweringInputs, QuestionAnsweringParams],
    windows: Sequence[TextWindow],
    logits: Sequence[tuple[Array, Array]],
) -> Span | list[Span]:
    """The best spans over all windows."""
    params = call.params
    found, nothing = [], 1.0
    for window, (start, end) in zip(windows, logits, strict=True):
        scored = score_window(window, start, end, model.tokenizer.cls_token_id)
        nothing = min(nothing, scored.nothing)
        found += best_spans(
            window, scored, call.inputs.context, params.top_k, params.max_answer_len, params.align_to_words
        )
    if params.handle_impossible_answer:
        found.append(Span(nothing, 0, 0, ""))
    distinct = {(span.start, span.end): span for span in sorted(found, key=lambda span: span.score)}
    best = sorted(distinct.values(), key=lambda span: -span.score)[: params.top_k]
    return best[0] if params.top_k == 1 else best


TASK = Task(
    id="question-answering",
    summary="Find the answer to a question inside a text.",
    inputs=QuestionAnsweringInputs,
    params=QuestionAnsweringParams,
    output=QuestionAnsweringOutput,
    run=run,
    heads=("question-answering",),
    example={"question": "Where does Angela live?", "context": "Angela lives in Paris and works in Berlin."},
    wildcard="question",
    length=lambda call: len(call.inputs.question) + len(call.inputs.context),
    sizes=sizes.questions_about_texts,
    has_variants=True,
)
