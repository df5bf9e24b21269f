"""Which texts are written at once, and what becomes of each call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from modelyard.errors import InferenceFailed, InvalidRequest, ModelyardError, ReplicaLost
from modelyard.protocol import CacheUse, FinishReason, Outcome
from modelyard.tasks.base import Call
from modelyard.tasks.model import OnStart, TextPrompt, Written
from modelyard.tasks.registry import get_task
from modelyard.tasks.text_generation import TextGenerationInputs, TextGenerationParams
from modelyard.worker.log_lines import current_call, work_on
from modelyard.worker.schedulers.slots import Slots
from modelyard.worker.threads_by_work import ThreadsByWork
from tests.serving import wait_until

DEADLINE_S = 200.0
NEW_TOKENS = 10


class Plan(NamedTuple):
    texts: int = 1

    def limit_tokens(self, prompt_tokens: int, context_tokens: int) -> int:
        return min(NEW_TOKENS, context_tokens - prompt_tokens)


class Writer:
    """A model that writes when a test lets it: a token for every character of a prompt, and NEW_TOKENS more."""

    tokenizer = processor = max_length = path = None

    def __init__(self, slots: int, context_tokens: int) -> None:
        self.slots = slots
        self.context_tokens = context_tokens
        self.writing: list[str] = []
        self.refreshed = 0
        self.worked_on: list[object | None] = []
        self._may_begin = threading.Event()
        self._may_end: dict[str, threading.Event] = {}

    def let_begin(self) -> None:
        self._may_begin.set()

    def let_end(self, text: str) -> None:
        self._may_end.setdefault(text, threading.Event()).set()

    def refresh(self) -> None:
        assert not self.writing  # else its thread ends, and nothing is answered any more
        self.refreshed += 1

    def plan(self, params: Any) -> Plan:
        self.worked_on.append(current_call.get())
        if params.seed == 13:
            raise InvalidRequest("params.seed: got 13", field="params.seed")
        return Plan(params.num_return_sequences or 1)

    def most_tokens(self, prompt: TextPrompt, plan: Plan) -> int:
        return min(self.context_tokens, 2 * len(prompt.text) + NEW_TOKENS)

    def write(
        self, prompt: TextPrompt, plan: Plan, text: int, on_start: OnStart, on_piece: Callable[[str], bool]
    ) -> Written:
        self.writing.append(prompt.text)
        self.worked_on.append(current_call.get())
        assert self._may_begin.wait(DEADLINE_S)
        on_start(len(prompt.text))
        may_end = self._may_end.setdefault(prompt.text, threading.Event())
        cancelled = False
        while not may_end.is_set() and not cancelled:
            cancelled = on_piece("")
            may_end.wait(0.01)
        on_piece(f"+{text}")
        self.writing.remove(prompt.text)
        if prompt.text == "breaks":
            raise KeyError(prompt.text)
        return Written(f"+{text}", len(prompt.text), NEW_TOKENS, FinishReason.STOP)

    def embed_texts(self, texts: Sequence[str], *, normalize: bool) -> Sequence[Sequence[float]]:
        raise NotImplementedError


class Bench:
    """Slots on their thread; the answers by text."""

    def __init__(self, slots: int = 4, context_tokens: int = 1000, **more: Any) -> None:
        self.model = Writer(slots, context_tokens)
        self.answers: dict[str, Outcome | ModelyardError] = {}
        self.pieces: dict[str, list[str]] = {}
        self.cancelled: set[str] = set()
        task = get_task("text-generation")
        assert task.generation is not None
        self.slots = Slots(task, task.generation, self.model, **more)
        self.thread = threading.Thread(target=self.slots.run)
        self.thread.start()

    def ask(self, text: str | list[str], *, stream: bool = False, **params: Any) -> None:
        name = text if isinstance(text, str) else text[0]
        call: Call[Any, Any] = Call(
            inputs=TextGenerationInputs(text=text),
            params=TextGenerationParams(**params),
            emit=self.pieces.setdefault(name, []).append if stream else None,
            cancelled=lambda: name in self.cancelled,
        )
        work_on(name, self.slots.submit, call, lambda answer: self.answers.update({name: answer}))

    def wait_writing(self, *texts: str) -> None:
        wait_until(lambda: sorted(self.model.writing) == sorted(texts), DEADLINE_S)

    def wait_answer(self, text: str) -> Any:
        return wait_until(lambda: self.answers.get(text), DEADLINE_S)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(*arguments: Any, **more: Any) -> Bench:
        benches.append(Bench(*arguments, **more))
        return benches[-1]

    yield make
    for each in benches:
        each.cancelled |= {*each.model.writing}
        each.slots.close()
        each.thread.join(DEADLINE_S)
        assert not each.thread.is_alive()


def test_as_many_are_written_at_once_as_there_are_slots(bench: Callable[..., Bench]) -> None:
    there = bench(slots=2)
    for text in ("a", "b", "c"):
        there.ask(text)
    there.model.let_begin()
    there.wait_writing("a", "b")
    work = there.slots.describe_work()
    assert (work.calls, work.places) == (1 + 2, 2 * 2)
    assert work.cache == CacheUse(used=2 * (1 + NEW_TOKENS), kept=0, room=1000)

    there.model.let_end("b")

    assert there.wait_answer("b").output == "b+0"
    there.wait_writing("a", "c")
    there.model.let_end("a")
    there.model.let_end("c")
    assert there.wait_answer("c").usage.prompt_tokens == 1


def test_no_more_are_written_than_fit_into_the_context(bench: Callable[..., Bench]) -> None:
    """Each may need 50 tokens before its prompt has been read, and 30 from then on."""
    there = bench(context_tokens=90)
    texts = [letter * 20 for letter in "abcd"]
    for text in texts:
        there.ask(text)
    there.wait_writing(texts[0])

    there.model.let_begin()

    there.wait_writing(*texts[:2])
    there.model.let_end(texts[0])
    there.wait_writing(*texts[1:3])
    for text in texts[1:]:
        there.model.let_end(text)
    assert there.wait_answer(texts[3]).output == f"{texts[3]}+0"


def test_one_call_may_have_several_texts_and_prompts(bench: Callable[..., Bench]) -> None:
    there = bench(slots=2)
    there.model.let_begin()
    for text in ("a", "bb"):
        there.model.let_end(text)

    there.ask(["a", "bb"], num_return_sequences=2)

    outcome = there.wait_answer("a")
    assert outcome.output == [["a+0", "a+1"], ["bb+0", "bb+1"]]
    assert (outcome.usage.prompt_tokens, outcome.usage.new_tokens) == (3, 4 * NEW_TOKENS)


def test_a_stream_begins_with_what_is_shown(bench: Callable[..., Bench]) -> None:
    there = bench()
    there.model.let_begin()
    there.model.let_end("a")

    there.ask("a", stream=True)

    assert there.wait_answer("a").output == "".join(there.pieces["a"]) == "a+0"


def test_who_leaves_is_answered_and_frees_the_slot(bench: Callable[..., Bench]) -> None:
    there = bench(slots=1)
    there.model.let_begin()
    for text in ("a", "waits", "c"):
        there.ask(text)
    there.wait_writing("a")

    there.cancelled |= {"a", "waits"}
    there.slots.drop_cancelled()

    assert isinstance(there.wait_answer("a"), InferenceFailed)
    assert isinstance(there.wait_answer("waits"), InferenceFailed)
    there.wait_writing("c")
    there.model.let_end("c")
    assert there.wait_answer("c").output == "c+0"


def test_what_is_wrong_with_one_call_is_its_own(bench: Callable[..., Bench]) -> None:
    there = bench()
    there.model.let_begin()
    for text in ("breaks", "goes on"):
        there.model.let_end(text)

    there.ask("refused", seed=13)
    there.ask("breaks")
    there.ask("goes on")

    assert isinstance(there.wait_answer("refused"), InvalidRequest)
    assert isinstance(there.wait_answer("breaks"), InferenceFailed)
    assert there.wait_answer("goes on").output == "goes on+0"
    assert sorted(map(str, there.model.worked_on)) == sorted(["refused", *(2 * ["breaks", "goes on"])])


def test_settings_are_applied_while_nothing_is_written(bench: Callable[..., Bench]) -> None:
    told: list[None] = []
    sets: list[int] = []
    threads = ThreadsByWork(1, sets.append)
    there = bench(between=lambda: told.append(None), threads=threads)
    there.model.let_begin()
    there.ask("a")
    there.wait_writing("a")

    threads.allowed = 4
    there.slots.poke()
    assert sets == []
    there.model.let_end("a")

    there.wait_answer("a")
    wait_until(lambda: there.model.refreshed == 2, DEADLINE_S)
    assert (len(told), sets) == (2, [4])


def test_closing_ends_what_waits_and_lets_what_is_written_end(bench: Callable[..., Bench]) -> None:
    there = bench(slots=1)
    there.model.let_begin()
    for text in ("a", "b"):
        there.ask(text)
    there.wait_writing("a")

    there.slots.close()
    there.model.let_end("a")

    assert isinstance(there.wait_answer("b"), ReplicaLost)
    assert there.wait_answer("a").output == "a+0"
    with pytest.raises(ReplicaLost):
        there.ask("c")


def test_a_call_that_is_timed_is_told_beside_how_many_it_begins(bench: Callable[..., Bench]) -> None:
    served = bench()
    begun: list[int] = []
    served.ask("first")
    served.wait_writing("first")
    call: Call[Any, Any] = Call(
        inputs=TextGenerationInputs(text="timed"), params=TextGenerationParams(), begun=begun.append
    )
    served.slots.submit(call, lambda answer: served.answers.update({"timed": answer}))
    served.wait_writing("first", "timed")
    assert begun == [2]
    served.model.let_begin()
    for text in ("first", "timed"):
        served.model.let_end(text)
        served.wait_answer(text)
