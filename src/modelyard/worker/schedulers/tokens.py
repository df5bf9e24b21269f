"""Has a model write the texts of many calls at once, each of which comes and goes between any two tokens.

Owns which prompts are read when, and in what pieces. What a model's rows cannot do (beams, guidance, ...) runs in
batches, when nothing is being written any more.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence

from modelyard.errors import ReplicaLost
from modelyard.protocol import Work
from modelyard.tasks.base import Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared.generation import Generation
from modelyard.tasks.shared.generation_params import options_of
from modelyard.tasks.shared.logprobs import count_alternatives
from modelyard.tasks.token_model import Chosen, Failed, TokenModel, TokenPlan, TokenRow
from modelyard.worker.log_lines import work_on
from modelyard.worker.schedulers.base import do_nothing
from modelyard.worker.schedulers.batches import (
    STEPS_LENGTH,
    Batcher,
    Pending,
    choose_batch,
    current_of,
    fail_cancelled,
    is_panic,
)
from modelyard.worker.schedulers.pace import GROUP_TOKENS, UNSEEN_TOKENS, Pace
from modelyard.worker.schedulers.writing import PromptTexts, answer_all, open_call
from modelyard.worker.threads_by_work import ThreadsByWork

log = logging.getLogger(__name__)

MOST_PLANS = 64
"""Plans that are kept for calls to come with the same settings."""


class Tokens(Batcher):
    """Writes the texts of one model."""

    joins = True

    def __init__(
        self,
        task: Task,
        generation: Generation,
        model: Model,
        rows: TokenModel,
        between: Callable[[], None] = do_nothing,
        max_batch: int | None = None,
        threads: ThreadsByWork | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rows`: the model's. `between`, `max_batch`, `threads`: see Batcher; a batch is the rows that are written at
        once."""
        super().__init__(task, model, between, max_batch, threads)
        self._generation = generation
        self._rows = rows
        self._clock = clock
        self._pace = Pace()
        self._plans: dict[Hashable, TokenPlan | None] = {}
        self._ready: deque[PromptTexts] = deque()
        """Opened, and not read at all. Changed by who holds the lock."""
        self._reading: list[PromptTexts] = []
        self._written: list[PromptTexts] = []
        self._of: dict[TokenRow, PromptTexts] = {}
        self._last_was_piece = False

    def drop_cancelled(self) -> None:
        """See Scheduler."""
        super().drop_cancelled()
        with self._changed:
            left = [prompt for prompt in self._ready if not prompt.call.is_begun and prompt.call.pending.cancelled()]
            self._ready = deque(prompt for prompt in self._ready if prompt not in left)
        fail_cancelled([prompt.call.pending for prompt in left])

    def describe_work(self) -> Work:
        """See Scheduler."""
        return self._tally.describe(self._rows.cache_use())

    def close(self) -> None:
        """See Scheduler."""
        super().close()
        with self._changed:
            left = [prompt for prompt in self._ready if not prompt.call.is_begun]
            self._ready = deque(prompt for prompt in self._ready if prompt.call.is_begun)
        answer_all(left, lambda: ReplicaLost("The replica stopped before this request started."))

    def run(self) -> None:
        """See Scheduler."""
        try:
            while self._wait():
                self._between()
                self._turn()
        except BaseException:
            answer_all(
                [*self._ready, *self._in_progress()],
                lambda: ReplicaLost("The model ended while it held this request."),
            )
            raise

    def _wait(self) -> bool:
        """Blocks until there is something to do; False when all is done and closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._poked or self._closed or self._ready or self._in_progress()
            )
            self._poked = False
            left = self._take_cancelled()
            goes_on = bool(not self._closed or self._ready or self._in_progress())
        fail_cancelled(left)
        return goes_on

    def _in_progress(self) -> list[PromptTexts]:
        return [*self._reading, *self._written]

    def _turn(self) -> None:
        self._admit()
        self._end_cancelled()
        self._read()
        work_on(current_of([prompt.call.pending for prompt in self._written]), self._step)

    # --- calls to prompts ---

    def _admit(self) -> None:
        """Opens calls while there is room for their rows; runs a batch where the oldest is one for batches."""
        while self._count_rows(*self._ready) < self.max_batch and (pending := self._first()) is not None:
            try:
                plan = self._plan_of(pending)
            except Exception as error:  # noqa: BLE001 - settings that this model cannot follow
                self._pop(pending)
                pending.fail(error, self.task)
                continue
            if plan is None:
                return self._run_alone()
            self._pop(pending)
            self._open(pending, plan)
        return None

    def _first(self) -> Pending | None:
        with self._changed:
            return self._waiting[0] if self._waiting else None

    def _pop(self, pending: Pending) -> None:
        with self._changed:
            self._waiting = [each for each in self._waiting if each is not pending]

    def _run_alone(self) -> None:
        """Runs the oldest call, with those that may share its batch, once nothing is being written."""
        if self._in_progress():
            return
        with self._changed:
            batch = choose_batch(self._waiting, self.max_batch, STEPS_LENGTH)
            self._waiting = [pending for pending in self._waiting if pending not in batch]
        self._run_batch(batch)

    def _plan_of(self, pending: Pending) -> TokenPlan | None:
        """How a call's tokens are chosen; None: in batches. Raises InvalidRequest."""
        if pending.key not in self._plans:
            params, model = pending.call.params, pending.model
            options = {**options_of(params, model), **self._generation.options(model, params)}
            if (alternatives := count_alternatives(params)) is not None:
                options["logprobs"] = alternatives
            while len(self._plans) >= MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[pending.key] = self._rows.find_plan(options)
        return self._plans[pending.key]

    def _open(self, pending: Pending, plan: TokenPlan) -> None:
        if pending.ends():
            return
        try:
            prompts = open_call(pending, self._generation, plan, self._rows)
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                pending.answer(ReplicaLost("The model ended while it held this request."))
                raise
            pending.fail(error, self.task)
            return
        with self._changed:
            if not self._closed:
                self._ready.extend(prompts)
                return
        answer_all(prompts, lambda: ReplicaLost("The replica stopped before this request started."))

    # --- reading ---

    def _read(self) -> None:
        """Reads on: a piece of a long prompt, or some short ones; of both by turns."""
        written, unread = len(self._written), len(self._ready) + len(self._reading)
        whole_tokens = self._pace.whole_tokens(written=written, unread=unread)
        group = self._choose_piece() if not self._last_was_piece else []
        group = group or self._choose_group(whole_tokens) or self._choose_piece()
        if not group:
            return
        self._last_was_piece = goes_on = group[0] in self._reading
        for prompt in group:
            if prompt not in self._reading:
                prompt.begin(self._clock())
                self._reading.append(prompt)
                if (begun := prompt.call.pending.call.begun) is not None:
                    begun(len({each.call for each in self._in_progress()}))
                self._of.update(dict.fromkeys(prompt.texts, prompt))
        most = self._pace.piece_tokens(written=written, unread=unread)
        longest = max(prompt.unread() for prompt in group)
        if len(group) > 1 or (not goes_on and longest <= whole_tokens):
            most = longest
        tokens = sum(len(prompt.texts) for prompt in group) * min(most, longest)
        self._threads.prepare(tokens)
        began = time.perf_counter()
        current = current_of([prompt.call.pending for prompt in group])
        answers = work_on(current, self._rows.read, [prompt.rows() for prompt in group], most)
        took_s = time.perf_counter() - began
        self._pace.note_piece(tokens, took_s)
        self._threads.note(took_s)
        for prompt in group:
            if prompt.unread() == 0:
                self._reading.remove(prompt)
                self._written.append(prompt)
        self._note(answers)

    def _choose_piece(self) -> list[PromptTexts]:
        """The prompt that is being read."""
        return self._reading[:1]

    def _choose_group(self, whole_tokens: int) -> list[PromptTexts]:
        """The oldest prompts that may be read together now, taken out of those that wait. `whole_tokens`: of the
        longest, where there are several."""
        group: list[PromptTexts] = []
        with self._changed:
            for prompt in list(self._ready):
                if self._reading and self._rows.is_being_read(prompt.rows()):
                    continue
                if not self._may_join(group, prompt, whole_tokens):
                    break
                group.append(prompt)
                self._ready.remove(prompt)
        return group

    def _may_join(self, group: Sequence[PromptTexts], prompt: PromptTexts, whole_tokens: int) -> bool:
        together = [*group, prompt]
        rows = sum(len(each.texts) for each in together)
        beside = self._in_progress()
        if prompt.is_alone or any(each.is_alone for each in (*group, *beside)):
            return not group and not beside
        longest = max(each.unread() for each in together)
        most = GROUP_TOKENS if any(each.streams() for each in (*together, *beside)) else UNSEEN_TOKENS
        if group and (longest > whole_tokens or rows * longest > most):
            return False
        running = self._count_rows()
        if (running or group) and running + rows > self.max_batch:
            return False
        return self._rows.has_room([each.rows() for each in together])

    def _count_rows(self, *more: PromptTexts) -> int:
        return sum(len(prompt.texts) for prompt in (*self._in_progress(), *more))

    # --- stepping ---

    def _step(self) -> None:
        if not self._written:
            return
        while not self._rows.can_step():
            self._set_back(self._in_progress()[-1])
        rows = sum(len(prompt.texts) for prompt in self._written)
        self._tally.note_batch(rows, self.max_batch)
        self._threads.prepare(rows)
        began = time.perf_counter()
        self._note(self._rows.step())
        took_s = time.perf_counter() - began
        self._pace.note_step(took_s)
        self._threads.note(took_s)

    def _set_back(self, prompt: PromptTexts) -> None:
        """Gives back what a prompt holds; it goes on where it was when there is room."""
        self._rows.set_back(prompt.rows())
        self._wait_again([prompt])

    def _wait_again(self, prompts: Sequence[PromptTexts]) -> None:
        for prompt in prompts:
            (self._reading if prompt in self._reading else self._written).remove(prompt)
        with self._changed:
            self._ready.extendleft(reversed(prompts))

    def _note(self, answers: Iterable[Chosen | Failed]) -> None:
        for answer in answers:
            if isinstance(answer, Failed):
                self._note_failure(answer)
            else:
                self._note_token(answer, self._clock())

    def _note_token(self, chosen: Chosen, now: float) -> None:
        prompt = self._of.get(chosen.row)
        if prompt is None:
            return
        if chosen.error is not None:
            self._end_call(prompt, chosen.error)
            return
        try:
            if not prompt.take(chosen, now):
                return
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            self._end_call(prompt, error)
            return
        self._release(prompt, [chosen.row])

    def _note_failure(self, failed: Failed) -> None:
        """What met an error together is tried again, one prompt at a time: one bad input must not fail the others."""
        prompts = list(dict.fromkeys(self._of[row] for row in failed.rows if row in self._of))
        if len(prompts) == 1:
            self._end_call(prompts[0], failed.error)
            return
        log.warning("%s failed on %d rows; going on with each alone: %s", self.task.id, len(failed.rows), failed.error)
        for prompt in prompts:
            prompt.is_alone = True
        self._wait_again(prompts)

    # --- ending ---

    def _end_cancelled(self) -> None:
        for prompt in self._in_progress():
            if prompt.call.ends():
                self._forget(prompt)
        with self._changed:
            self._ready = deque(prompt for prompt in self._ready if not (prompt.call.is_begun and prompt.call.ends()))

    def _end_call(self, prompt: PromptTexts, error: BaseException) -> None:
        """Answers the call of a prompt for which something was raised; its other prompts end at the next turn."""
        prompt.call.pending.fail(error, self.task)
        self._forget(prompt)

    def _forget(self, prompt: PromptTexts) -> None:
        self._release(prompt, prompt.rows())

    def _release(self, prompt: PromptTexts, rows: Sequence[TokenRow]) -> None:
        """Lets go of rows; of the prompt as well, with the last of them."""
        self._rows.release(rows)
        for row in rows:
            prompt.texts.pop(row, None)
            self._of.pop(row, None)
        if not prompt.texts:
            (self._reading if prompt in self._reading else self._written).remove(prompt)
