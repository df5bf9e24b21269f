"""Has a model write many texts at once whose runtime puts them together itself.

Owns which text is written when: as many as the runtime has slots for, as long as all of them fit into the context that
it has set aside, oldest first.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from modelyard.errors import InferenceFailed, ModelyardError, ReplicaLost
from modelyard.protocol import CacheUse, FinishReason, Outcome, Work
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import TextModel, TextPrompt, WritingPlan
from modelyard.tasks.shared.answer_text import Answer
from modelyard.tasks.shared.generation import Generation, WrittenText, open_answer, outcome_of
from modelyard.worker.log_lines import current_call, work_on
from modelyard.worker.schedulers.base import Adapted, Deliver, Scheduler, do_nothing, one_thread
from modelyard.worker.schedulers.tally import WorkTally
from modelyard.worker.threads_by_work import ThreadsByWork

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Pending:
    """A call, and what is written for it. `deliver` is called once, by `answer`, on any thread. `written`: by the
    number of the text; there will be `texts`, so many to each prompt as `each`. `current`: the call as `work_on` knows
    it."""

    call: Call[Any, Any]
    deliver: Deliver
    texts: int = 0
    each: int = 1
    written: dict[int, tuple[WrittenText, int]] = field(default_factory=dict)
    answered: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    current: object | None = field(default_factory=current_call.get)

    def answer(self, answer: Outcome | ModelyardError) -> None:
        """Delivers the answer, the first time."""
        with self.lock:
            first, self.answered = not self.answered, True
        if first:
            self.deliver(answer)

    def ends(self) -> bool:
        """Whether nothing more is to be written: somebody has cancelled it, who is told at once, or it has failed."""
        if not self.answered and self.call.cancelled():
            self.answer(InferenceFailed("Cancelled."))
        return self.answered

    def add(self, index: int, text: WrittenText, prompt_tokens: int) -> bool:
        """Takes one text; whether it was the last."""
        with self.lock:
            self.written[index] = text, prompt_tokens
            return len(self.written) == self.texts

    def rows(self) -> tuple[list[list[WrittenText]], list[int]]:
        """Of each prompt, the texts that were written to it, and its tokens."""
        starts = range(0, self.texts, self.each)
        rows = [[self.written[start + at][0] for at in range(self.each)] for start in starts]
        return rows, [self.written[start][1] for start in starts]


@dataclass(eq=False, slots=True)
class Text:
    """One text to write: number `index` of its call's. `tokens`: what it may come to fill of the context."""

    pending: Pending
    index: int
    prompt: TextPrompt
    plan: WritingPlan
    tokens: int


class Slots(Scheduler):
    """Fills the slots of one model."""

    def __init__(
        self,
        task: Task,
        generation: Generation,
        model: TextModel,
        between: Callable[[], None] = do_nothing,
        max_batch: int | None = None,
        threads: ThreadsByWork | None = None,
    ) -> None:
        """`between` runs on the model's thread after a `poke` and before the first text, while none is being written.

        `max_batch`: most texts at once; None, or more than the model has slots: as many as those. `threads`: the
        model's, which then has all of them; None: one.
        """
        self.task = task
        self.max_batch = model.slots if max_batch is None else max(1, min(max_batch, model.slots))
        self._generation = generation
        self._model = model
        self._between = between
        self._threads = threads or one_thread()
        self._waiting: deque[Pending] = deque()
        self._texts: deque[Text] = deque()
        self._running: set[Text] = set()
        self._changed = threading.Condition()
        self._poked = True
        self._closed = False
        self._tally = WorkTally()

    def submit(self, call: Call[Any, Any], deliver: Deliver, adapted: Adapted | None = None) -> None:
        """See Scheduler. Its models have no adapters beside them."""
        assert adapted is None  # noqa: S101 - no runtime with slots loads one
        with self._changed:
            if self._closed:
                raise ReplicaLost("The replica is stopping.")
            self._waiting.append(Pending(call, deliver))
            self._changed.notify()

    def drop_cancelled(self) -> None:
        """See Scheduler."""
        with self._changed:
            waiting = [*self._waiting, *(text.pending for text in self._texts)]
        for pending in waiting:
            pending.ends()

    def poke(self) -> None:
        """See Scheduler."""
        with self._changed:
            self._poked = True
            self._changed.notify()

    def describe_work(self) -> Work:
        """See Scheduler. The runtime makes the batches: what is counted is how many texts are being written when one
        begins."""
        with self._changed:
            used = sum(text.tokens for text in self._running)
        return self._tally.describe(CacheUse(used, 0, self._model.context_tokens))

    def close(self) -> None:
        """See Scheduler."""
        with self._changed:
            self._closed = True
            begun = {text.pending for text in self._running}
            left = {*self._waiting, *(text.pending for text in self._texts)} - begun
            self._waiting.clear()
            self._changed.notify()
        for pending in left:
            pending.answer(ReplicaLost("The replica stopped before this request started."))

    def run(self) -> None:
        """See Scheduler."""
        with ThreadPoolExecutor(self.max_batch, thread_name_prefix="slot") as writers:
            while (work := self._next()) is not None:
                if isinstance(work, Pending):
                    work_on(work.current, self._prepare, work)
                elif isinstance(work, Text):
                    writers.submit(work_on, work.pending.current, self._write, work)
                else:
                    self._between()
                    self._threads.prepare()
                    self._model.refresh()

    def _next(self) -> Pending | Text | bool | None:
        """Blocks for work: a call to prepare, a text to write, True: settings to apply; None when all is done."""
        with self._changed:
            while True:
                self._texts = deque(text for text in self._texts if not text.pending.answered)
                if self._poked and not self._running:
                    self._poked = False
                    return True
                if self._texts and self._fits(self._texts[0]):
                    self._running.add(self._texts[0])
                    self._tally.note_batch(len(self._running), self.max_batch)
                    return self._texts.popleft()
                if self._waiting and not self._texts:
                    return self._waiting.popleft()
                if self._closed and not self._texts and not self._running:
                    return None
                self._changed.wait()

    def _fits(self, text: Text) -> bool:
        used = sum(each.tokens for each in self._running)
        return len(self._running) < self.max_batch and used + text.tokens <= self._model.context_tokens

    def _prepare(self, pending: Pending) -> None:
        """Makes a call's prompts, and lines up its texts."""
        if pending.ends():
            return
        try:
            texts = self._plan(pending)
        except Exception as error:  # noqa: BLE001 - a template is a program, and must not end the thread
            pending.answer(as_answer(error, self.task))
            return
        with self._changed:
            self._texts.extend(texts)

    def _plan(self, pending: Pending) -> Sequence[Text]:
        """The texts of a call. Raises what its prompts and params make wrong."""
        prompts = self._generation.texts_of(self._model, pending.call)
        plan = self._model.plan(pending.call.params)
        pending.each, pending.texts = plan.texts, plan.texts * len(prompts)
        each = [(prompt, self._model.most_tokens(prompt, plan)) for prompt in prompts for _ in range(plan.texts)]
        return [Text(pending, index, prompt, plan, tokens) for index, (prompt, tokens) in enumerate(each)]

    # --- on the threads of the slots ---

    def _count_begun(self) -> int:
        """The calls that a text is being written of."""
        with self._changed:
            return len({text.pending for text in self._running})

    def _write(self, text: Text) -> None:
        try:
            self._write_text(text)
        except Exception as error:  # noqa: BLE001 - as above
            text.pending.answer(as_answer(error, self.task))
        finally:
            with self._changed:
                self._running.discard(text)
                self._changed.notify()

    def _write_text(self, text: Text) -> None:
        pending, prompt = text.pending, text.prompt
        emit = pending.call.emit
        if pending.ends():
            return
        if pending.call.begun is not None:
            pending.call.begun(self._count_begun())
        if emit is not None and prompt.shown:
            emit(prompt.shown)

        def on_start(prompt_tokens: int) -> None:
            if pending.call.reading is not None:
                pending.call.reading(prompt_tokens)
            most = prompt_tokens + text.plan.limit_tokens(prompt_tokens, self._model.context_tokens)
            with self._changed:
                text.tokens = min(text.tokens, most)
                self._changed.notify()

        told = open_answer(prompt)
        thought_tokens = 0

        def pass_on(pieces: Sequence[str]) -> None:
            if emit is not None:
                for piece in pieces:
                    emit(piece)

        def on_piece(piece: str) -> bool:
            nonlocal thought_tokens
            if pending.ends():
                return True
            if piece:
                pass_on([piece] if told is None else told.push(piece))
                thought_tokens += told is not None and told.is_thinking
            return False

        made = self._model.write(prompt, text.plan, text.index % pending.each, on_start, on_piece)
        answer = Answer(made.text)
        if told is not None:
            answer, rest = told.finish(is_whole=made.finish_reason is FinishReason.STOP)
            pass_on(rest)
        written = WrittenText(
            prompt.shown + answer.content,
            made.new_tokens,
            made.finish_reason,
            answer.tool_calls,
            thinking=answer.thinking,
            thought_tokens=None if prompt.thinking is None else min(thought_tokens, made.new_tokens),
        )
        if pending.add(text.index, written, made.prompt_tokens):
            rows, counts = pending.rows()
            pending.answer(outcome_of(self._generation, pending.call, rows, counts))


def as_answer(error: Exception, task: Task) -> ModelyardError:
    """What the client gets for what was raised; the trace of anything unforeseen goes to the log."""
    if isinstance(error, ModelyardError):
        return error
    log.error("%s failed", task.id, exc_info=error)
    return InferenceFailed(f"The model failed on this input: {type(error).__name__}: {error}")
