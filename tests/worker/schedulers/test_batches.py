"""Which calls run together, and what becomes of each."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from modelyard.errors import InferenceFailed, ModelyardError, ReplicaLost
from modelyard.protocol import Outcome
from modelyard.tallies import BATCH_SIZES
from modelyard.tasks.base import Call, Task, never
from modelyard.tasks.registry import get_task
from modelyard.worker.schedulers.batches import Batcher, Pending, as_answer, choose_batch
from tests.engine.echo import ECHO, EchoInputs, EchoParams
from tests.serving import wait_until
from tests.worker.schedulers.noted import NotedThreads

DEADLINE_S = 200.0

Run = Callable[[Any, Sequence[Call[Any, Any]]], Any]


def call(text: str, **sinks: Any) -> Call[Any, Any]:
    return Call(inputs=EchoInputs(text=text), params=EchoParams(), **sinks)


# --- choose_batch: (key, length) of those who wait → the places of those chosen ---


@pytest.mark.parametrize(
    ("waiting", "max_batch", "chosen"),
    [
        ([], 8, []),
        ([("a", 10)], 8, [0]),
        ([("a", 10), ("a", 20), ("a", 30)], 8, [0, 1, 2]),
        ([("a", 10), ("a", 20), ("a", 30)], 2, [0, 1]),
        ([("a", 10), ("a", 20)], 1, [0]),
        # Only what shares the oldest one's key.
        ([("a", 10), ("b", 10), ("a", 10), ("b", 10)], 8, [0, 2]),
        ([("b", 10), ("a", 10), ("a", 10), ("b", 10)], 8, [0, 3]),
        # No more padding for any of them than a batch less is worth: here 100 characters ...
        ([("a", 100), ("a", 201), ("a", 0), ("a", 200)], 8, [0, 2]),
        ([("a", 100), ("a", 150), ("a", 150), ("a", 151)], 8, [0, 1, 2, 3]),
        ([("a", 800), ("a", 860), ("a", 699), ("a", 861)], 8, [0, 1]),
        # ... the nearest in length first, whoever came before ...
        ([("a", 500), ("a", 570), ("a", 580), ("a", 510)], 2, [0, 3]),
        # ... and no larger a batch than still gains by it, here 2,000 characters.
        ([("a", 700)] * 4, 8, [0, 1]),
        ([("a", 3000)] * 2, 8, [0]),
        # A long one is not starved: it is the oldest some day, and then sets the measure.
        ([("a", 5000), ("a", 10), ("a", 900)], 8, [0]),
    ],
)
def test_choose_batch(waiting: list[tuple[str, int]], max_batch: int, chosen: list[int]) -> None:
    pending = [Pending(call(str(place)), print, key, length) for place, (key, length) in enumerate(waiting)]
    assert choose_batch(pending, max_batch, pass_length=100.0) == [pending[place] for place in chosen]


# --- Batcher ---


class Bench:
    """A batcher on its thread, with a `run` that a test holds; its answers by text, in order of arrival."""

    def __init__(self, run: Run, **task: Any) -> None:
        self.batches: list[list[str]] = []
        self.answers: dict[str, Any] = {}
        self.betweens = 0
        self._run = run
        self._answered = threading.Condition()
        self.threads = NotedThreads()
        self.batcher = Batcher(
            replace(ECHO, run=self._note, **task),
            None,
            between=self._between,
            threads=self.threads,  # type: ignore[arg-type]
        )
        self.thread = threading.Thread(target=self.batcher.run)

    def _note(self, model: Any, calls: Sequence[Call[Any, Any]]) -> Any:
        self.batches.append([call.inputs.text for call in calls])
        return self._run(model, calls)

    def _between(self) -> None:
        with self._answered:
            self.betweens += 1
            self._answered.notify_all()

    def submit(self, *texts: str, **sinks: Any) -> None:
        for text in texts:
            self.batcher.submit(call(text, **sinks), lambda output, text=text: self._take(text, output))

    def _take(self, text: str, output: Any) -> None:
        with self._answered:
            assert text not in self.answers, "delivered twice"
            self.answers[text] = output.output if isinstance(output, Outcome) else output
            self._answered.notify_all()

    def wait_for(self, condition: Callable[[], Any]) -> None:
        with self._answered:
            assert self._answered.wait_for(condition, DEADLINE_S), (self.batches, self.answers)

    def __getitem__(self, text: str) -> Any:
        self.wait_for(lambda: text in self.answers)
        return self.answers[text]


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(run: Run = repeat, **task: Any) -> Bench:
        made.append(Bench(run, **task))
        made[-1].thread.start()
        return made[-1]

    yield make
    for one in made:
        one.batcher.close()
        one.thread.join(DEADLINE_S)
        assert not one.thread.is_alive()


def repeat(model: Any, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    return [call.inputs.text * 2 for call in calls]


class Gate:
    """A `run` that waits inside the first batch until the test lets it go on."""

    def __init__(self, run: Run = repeat) -> None:
        self._run = run
        self.entered, self.go_on = threading.Event(), threading.Event()

    def __call__(self, model: Any, calls: Sequence[Call[Any, Any]]) -> Any:
        self.entered.set()
        assert self.go_on.wait(DEADLINE_S)
        return self._run(model, calls)


def held(bench: Callable[..., Bench], run: Run = repeat, **task: Any) -> tuple[Bench, Gate]:
    """A bench whose model is busy with `first`."""
    gate = Gate(run)
    one = bench(gate, **task)
    one.submit("first")
    assert gate.entered.wait(DEADLINE_S)
    return one, gate


def test_an_idle_model_waits_for_no_company(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.submit("a")
    assert one["a"] == "aa"
    one.submit("b")
    assert one["b"] == "bb"
    assert one.batches == [["a"], ["b"]]


def test_what_arrives_while_it_is_busy_forms_the_next_batch(bench: Callable[..., Bench]) -> None:
    one, gate = held(bench, max_batch=4)
    one.submit("a", "b", "c", "d", "e")
    gate.go_on.set()
    assert one["e"] == "ee"
    assert one.batches == [["first"], ["a", "b", "c", "d"], ["e"]]
    work = one.batcher.describe_work()
    assert dict(zip(BATCH_SIZES, work.batches, strict=False)) == {**dict.fromkeys(BATCH_SIZES, 0), 1: 2, 4: 1}
    assert (work.calls, work.places, work.cache) == (6, 3 * 4, None)


@pytest.mark.parametrize(
    ("task", "sizes"),
    [
        ({}, [1, 3]),
        ({"length": lambda call: len(call.inputs.text)}, [5, 9]),
        ({"generation": get_task("text-generation").generation}, [None, None]),
    ],
)
def test_threads_follow_from_the_rows_and_the_longest_where_they_tell_what_a_batch_takes(
    bench: Callable[..., Bench], task: dict[str, Any], sizes: list[int | None]
) -> None:
    one, gate = held(bench, **task)
    one.submit("a", "bcd", "ef")
    gate.go_on.set()
    assert one["ef"] == "efef"
    assert one.threads.sizes == sizes
    assert len(one.threads.took_s) == 2


@pytest.mark.parametrize("sinks", [{}, {"emit": print}])
def test_a_call_that_was_answered_leaves_no_garbage(bench: Callable[..., Bench], sinks: dict[str, Any]) -> None:
    one = bench(lambda _, calls: [call.cancelled() for call in calls])

    class Client:
        def take(self, answer: Outcome | ModelyardError) -> None:
            one.submit("the next")

    client = Client()
    answered = weakref.ref(client)
    gc.disable()
    try:
        one.batcher.submit(call("one", **sinks), client.take)
        del client
        one.wait_for(lambda: "the next" in one.answers)
        one.submit("and one more")  # the thread keeps the last batch until there is another
        one.wait_for(lambda: "and one more" in one.answers)
        wait_until(lambda: answered() is None)
    finally:
        gc.enable()


def test_incompatible_calls_wait_for_their_turn(bench: Callable[..., Bench]) -> None:
    one, gate = held(bench, batch_key=lambda call: call.inputs.text[0])
    one.submit("a1", "b1", "a2", "b2")
    gate.go_on.set()
    assert one["b2"] == "b2b2"
    assert one.batches == [["first"], ["a1", "a2"], ["b1", "b2"]]


@pytest.mark.parametrize("error", [ValueError("bad"), InferenceFailed("bad")])
def test_one_bad_input_does_not_fail_its_neighbours(bench: Callable[..., Bench], error: Exception) -> None:
    def run(model: Any, calls: Sequence[Call[Any, Any]]) -> list[Any]:
        if any(call.inputs.text == "bad" for call in calls):
            raise error
        return repeat(model, calls)

    one, gate = held(bench, run)
    one.submit("good", "bad", "fine")
    gate.go_on.set()
    assert one["good"] == "goodgood"
    assert one["fine"] == "finefine"
    assert isinstance(one["bad"], InferenceFailed)
    assert "bad" in one["bad"].message
    assert one.batches == [["first"], ["good", "bad", "fine"], ["good"], ["bad"], ["fine"]]


def test_a_stream_that_has_begun_is_not_begun_again(bench: Callable[..., Bench]) -> None:
    def run(model: Any, calls: Sequence[Call[Any, Any]]) -> list[Any]:
        for call in calls:
            if call.emit is not None and call.inputs.text != "late":
                call.emit("piece of " + call.inputs.text)
        if any(call.inputs.text == "bad" for call in calls):
            raise ValueError("after the first pieces")
        return repeat(model, calls)

    pieces: list[str] = []
    one, gate = held(bench, run)
    one.submit("begun", "late", emit=pieces.append)
    one.submit("bad", "plain")
    gate.go_on.set()
    assert one["plain"] == "plainplain"
    assert one["late"] == "latelate"
    assert isinstance(one["begun"], InferenceFailed)
    assert pieces == ["piece of begun"]


def test_an_error_in_the_place_of_an_output_is_that_calls_alone(bench: Callable[..., Bench]) -> None:
    def run(model: Any, calls: Sequence[Call[Any, Any]]) -> list[Any]:
        return [InferenceFailed("no") if call.inputs.text == "bad" else call.inputs.text for call in calls]

    one, gate = held(bench, run)
    one.submit("good", "bad")
    gate.go_on.set()
    assert one["good"] == "good"
    assert isinstance(one["bad"], InferenceFailed)
    assert len(one.batches) == 2


@pytest.mark.parametrize("outputs", [[], ["one", "too many"], None])
def test_a_task_that_miscounts_fails_its_call_and_not_the_replica(bench: Callable[..., Bench], outputs: Any) -> None:
    one = bench(lambda model, calls: outputs if calls[0].inputs.text == "miscounted" else repeat(model, calls))
    one.submit("miscounted")
    assert isinstance(one["miscounted"], InferenceFailed)
    one.submit("next")
    assert one["next"] == "nextnext"


def test_cancelled_calls_never_start_and_take_no_place(bench: Callable[..., Bench]) -> None:
    gone = threading.Event()
    one, gate = held(bench, max_batch=2)
    one.submit("left1", "left2", cancelled=gone.is_set)
    one.submit("a", "b")
    gone.set()
    gate.go_on.set()
    assert one["b"] == "bb"
    assert isinstance(one["left1"], ModelyardError)
    assert isinstance(one["left2"], ModelyardError)
    assert one.batches == [["first"], ["a", "b"]]


def test_calls_that_are_cancelled_while_they_wait_are_answered_at_once(bench: Callable[..., Bench]) -> None:
    gone = threading.Event()
    one, gate = held(bench)
    one.submit("left", cancelled=gone.is_set)
    one.submit("stays")
    gone.set()
    one.batcher.drop_cancelled()
    assert isinstance(one.answers["left"], InferenceFailed)
    assert "first" not in one.answers
    gate.go_on.set()
    assert one["stays"] == "staysstays"
    assert one.batches == [["first"], ["stays"]]


def test_a_call_is_let_go_of_when_its_task_sees_that_it_is_cancelled_though_its_batch_goes_on() -> None:
    answers: list[tuple[str, Any]] = []
    gone = threading.Event()

    def run(_: Any, calls: Sequence[Call[Any, Any]]) -> list[str]:
        gone.set()
        seen = [each.cancelled() for each in calls]
        answers.append(("in the middle", seen))
        return ["done"] * len(calls)

    batcher = Batcher(replace(ECHO, run=run), None)
    for text, cancelled in (("left", gone.is_set), ("stays", never)):
        batcher.submit(call(text, cancelled=cancelled), lambda answer, text=text: answers.append((text, answer)))
    thread = threading.Thread(target=batcher.run)
    thread.start()
    wait_until(lambda: len(answers) == 3)
    batcher.close()
    thread.join(DEADLINE_S)
    assert [name for name, _ in answers] == ["left", "in the middle", "stays"]
    assert isinstance(answers[0][1], InferenceFailed)
    assert answers[1][1] == [True, False]


def test_no_pass_of_the_model_begins_once_nobody_waits_for_any_call_of_the_batch() -> None:
    answers: list[tuple[str, Any]] = []
    passes: list[int] = []
    gone = {"a": threading.Event(), "b": threading.Event()}

    class Passes:
        def forward(self, number: int) -> None:
            passes.append(number)
            if number >= 1:
                list(gone.values())[number - 1].set()

    def run(model: Any, calls: Sequence[Call[Any, Any]]) -> list[str]:
        for number in range(10):
            model.forward(number)
        return ["done"] * len(calls)

    batcher = Batcher(replace(ECHO, run=run), Passes())
    for text, event in gone.items():
        batcher.submit(call(text, cancelled=event.is_set), lambda answer, text=text: answers.append((text, answer)))
    thread = threading.Thread(target=batcher.run)
    thread.start()
    wait_until(lambda: len(answers) == 2)
    batcher.close()
    thread.join(DEADLINE_S)
    assert passes == [0, 1, 2]
    assert all(isinstance(answer, InferenceFailed) for _, answer in answers)


def test_closing_fails_what_waits_at_once_and_ends_after_the_batch(bench: Callable[..., Bench]) -> None:
    one, gate = held(bench)
    one.submit("waiting")
    one.batcher.close()
    assert isinstance(one.answers["waiting"], ReplicaLost)  # so that it is tried on another replica
    assert "first" not in one.answers
    with pytest.raises(ReplicaLost):
        one.submit("late")
    gate.go_on.set()
    one.thread.join(DEADLINE_S)
    assert not one.thread.is_alive()
    assert one.answers["first"] == "firstfirst"
    assert one.batches == [["first"]]
    one.batcher.close()


def test_settings_are_applied_before_each_batch_and_when_poked(bench: Callable[..., Bench]) -> None:
    one, gate = held(bench)
    assert one.betweens == 1
    one.submit("a")
    gate.go_on.set()
    assert one["a"] == "aa"
    assert one.betweens == 2
    one.batcher.poke()
    one.wait_for(lambda: one.betweens == 3)
    assert len(one.batches) == 2


def test_what_cannot_be_keyed_is_the_callers_error(bench: Callable[..., Bench]) -> None:
    one = bench(length=lambda call: len(call.inputs.text[5:]) // len(call.inputs.text[5:]))
    with pytest.raises(ZeroDivisionError):
        one.submit("a")
    one.submit("long enough")
    assert one["long enough"] == "long enough" * 2


def test_the_task_is_for_all_to_see() -> None:
    task: Task = ECHO
    assert Batcher(task, None).task is task  # type: ignore[arg-type]


@pytest.mark.parametrize(("told", "kept"), [(None, 8), (3, 3), (64, 8), (0, 1)])
def test_a_batch_may_be_smaller_than_the_task_allows(told: int | None, kept: int) -> None:
    assert Batcher(ECHO, None, max_batch=told).max_batch == kept  # type: ignore[arg-type]


def test_running_out_of_memory_is_told_as_such() -> None:
    answer = as_answer(MemoryError(), ECHO)
    assert isinstance(answer, InferenceFailed)
    assert answer.data["out_of_memory"] is True
    assert answer.data["held_bytes"] > 0
    assert answer.message.startswith("The model ran out of memory on this input: its replica holds ")
    assert (answer.status, answer.code) == (413, "input_too_large")


def test_a_call_that_is_timed_is_told_with_how_many_it_began(bench: Callable[..., Bench]) -> None:
    """Also where it is tried again alone: the first time is when it began."""
    begun: dict[str, list[int]] = {"a": [], "b": []}

    def break_together(model: Any, calls: Sequence[Call[Any, Any]]) -> list[Any]:
        if len(calls) > 1:
            raise ValueError("not together")
        return repeat(model, calls)

    gate = Gate(break_together)
    served = bench(gate)
    served.submit("first")
    assert gate.entered.wait(DEADLINE_S)
    for text, told in begun.items():
        served.submit(text, begun=told.append)
    gate.go_on.set()
    assert (served["a"], served["b"]) == ("aa", "bb")
    assert begun == {"a": [2, 1], "b": [2, 1]}
