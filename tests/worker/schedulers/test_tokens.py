"""Texts of calls that come and go while others are being written, by a real tiny model."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from modelyard.errors import InferenceFailed, InvalidRequest, ModelyardError, ReplicaLost
from modelyard.protocol import FinishReason, Outcome
from modelyard.tasks.base import Call
from modelyard.tasks.registry import get_task
from modelyard.tasks.text_generation import TextGenerationInputs, TextGenerationParams
from modelyard.worker.log_lines import current_call, work_on
from modelyard.worker.runtimes.stepping import MinimumLengths
from modelyard.worker.runtimes.token_rows import TokenRows
from modelyard.worker.schedulers.pace import GROUP_TOKENS, UNSEEN_TOKENS
from modelyard.worker.schedulers.tokens import Tokens
from tests.builders.fixtures import Load
from tests.serving import wait_until
from tests.tasks.test_text_generation import EVERY_SETTING
from tests.worker.schedulers.noted import NotedThreads

DEADLINE_S = 200.0
TASK = get_task("text-generation")
TEXTS = ["Once upon a time", "The capital of France is", "I", "What is the weather like today? It is sunny and warm."]


class Bench:
    """A scheduler on its thread. `log` has what happened on that thread in order: ("read", rows, tokens), ("step",
    rows), and (text, piece) of streams."""

    def __init__(self, model: Any, cache_bytes: int = 10**9, **more: Any) -> None:
        self.model = model
        self.log: list[tuple[Any, ...]] = []
        self.answers: dict[str, Outcome | ModelyardError] = {}
        self.cancelled: set[str] = set()
        self.after_answer: Callable[[], None] = lambda: None
        self.rows = Logged(model._model, model._defaults, 0, model._window, cache_bytes, model._grammars)
        self.rows.log = self.log
        assert TASK.generation is not None
        self.tokens = Tokens(TASK, TASK.generation, model, self.rows, **more)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.tokens.run()
        except SystemExit:
            self.log.append(("ended",))

    def ask(self, text: str, then: Callable[[], None] | None = None, *, streams: bool = True, **params: Any) -> None:
        """Asks, in a stream unless told; `then` is called on the model's thread, with the third piece."""
        pieces: list[str] = []

        def emit(piece: str) -> None:
            pieces.append(piece)
            self.log.append((text, piece))
            if then is not None and len(pieces) == 3:
                then()

        several = (params.get("num_return_sequences") or 1) > 1
        call = call_of(
            text, params, emit=emit if streams and not several else None, cancelled=lambda: text in self.cancelled
        )
        work_on(text, self.tokens.submit, call, lambda answer: self._take(text, answer))

    def _take(self, text: str, answer: Outcome | ModelyardError) -> None:
        assert text not in self.answers, "delivered twice"
        self.log.append((text, answer))
        self.answers[text] = answer
        self.after_answer()

    def __getitem__(self, text: str) -> Any:
        return wait_until(lambda: self.answers.get(text), DEADLINE_S)

    def most_at_once(self) -> int:
        return max((entry[1] for entry in self.log if entry[0] == "step"), default=0)

    def streamed(self, text: str) -> str:
        return "".join(entry[1] for entry in self.log if entry[0] == text and isinstance(entry[1], str))


class Logged(TokenRows):
    """The model's rows, which say what was done with them."""

    log: list[tuple[Any, ...]]

    def read(self, prompts: Sequence[Sequence[Any]], most_tokens: int) -> Any:
        self.log.append(("read", sum(len(rows) for rows in prompts), most_tokens))
        return super().read(prompts, most_tokens)

    def step(self) -> Any:
        answers = list(super().step())
        self.log.append(("step", len(answers)))
        return answers


def call_of(text: str, params: dict[str, Any], **sinks: Any) -> Call[Any, Any]:
    return Call(inputs=TextGenerationInputs(text=text), params=TextGenerationParams(**params), **sinks)


def alone(model: Any, text: str, params: dict[str, Any]) -> Any:
    """What the task's own batch of one answers."""
    (answer,) = TASK.run(model, [call_of(text, params)])
    return answer


@pytest.fixture
def gpt2(load: Load) -> Any:
    return load("gpt2", "causal-lm")


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*arguments: Any, start: bool = True, **more: Any) -> Bench:
        made.append(Bench(*arguments, **more))
        if start:
            made[-1].thread.start()
        return made[-1]

    yield make
    for one in made:
        one.tokens.close()
        if one.thread.ident is not None:
            one.thread.join(DEADLINE_S)
            assert not one.thread.is_alive()


MIXED: list[dict[str, Any]] = [
    {"max_new_tokens": 20},
    {"max_length": 40},
    {"min_length": 20, "max_length": 34},
    {"max_new_tokens": 14, "repetition_penalty": 1.5},
    {"max_new_tokens": 14, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 14, "frequency_penalty": 1.5, "presence_penalty": 0.5},
    {"max_new_tokens": 14, "temperature": 0.9, "seed": 7},
    {"max_new_tokens": 14, "top_k": 9, "top_p": 0.9, "seed": 8},
    {"max_new_tokens": 14, "temperature": 0.9, "seed": 7, "repetition_penalty": 1.3},
    {"max_new_tokens": 14, "temperature": 0.9, "seed": 7, "num_return_sequences": 3},
    {"max_new_tokens": 14, "num_beams": 2},
    {"max_new_tokens": 14, "stop": ["e", "on"]},
    {"max_new_tokens": 14, "forced_eos_token_id": 0},
    {"max_new_tokens": 30, "regex": "[a-z]{3,9}( [a-z]{3,9}){2}"},
    {"max_new_tokens": 30, "json_schema": {"type": "array", "items": {"type": "string"}, "minItems": 2}},
    {"max_new_tokens": 30, "json_schema": {"type": "array", "maxItems": 4}, "temperature": 0.9, "seed": 7},
    {
        "max_new_tokens": 14,
        "grammar": 'root ::= "a" root | "b"',
        "do_sample": True,
        "num_return_sequences": 2,
        "seed": 5,
    },
]


def test_calls_that_join_at_any_token_get_what_each_gets_alone(gpt2: Any, bench: Callable[..., Bench]) -> None:
    one = bench(gpt2, start=False)
    texts = {f"{text}{number}": params for number, params in enumerate(MIXED) for text in TEXTS}
    waiting = list(texts.items())

    def join() -> None:
        for text, params in waiting[:2]:
            one.ask(text, join, **params)
        del waiting[:2]

    one.after_answer = join
    join()
    one.thread.start()
    for text, params in texts.items():
        assert one[text] == alone(gpt2, text, params), (text, params)
        if params.get("num_return_sequences") is None:
            assert one.streamed(text) == one[text].output
    assert one.most_at_once() >= 3


def test_every_setting_is_that_of_a_batch_of_one(gpt2: Any, bench: Callable[..., Bench]) -> None:
    one = bench(gpt2)
    for name, value in EVERY_SETTING.items():
        params = {"max_new_tokens": 6, "seed": 4, name: value}
        one.ask(f"Once upon {name}", **params)
    for name, value in EVERY_SETTING.items():
        text, params = f"Once upon {name}", {"max_new_tokens": 6, "seed": 4, name: value}
        assert one[text] == alone(gpt2, text, params), name


def test_no_text_ends_before_its_least_length(gpt2: Any, bench: Callable[..., Bench]) -> None:
    ids = torch.tensor([gpt2.tokenizer("Once")["input_ids"]])
    usual = gpt2._model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
    ends = usual[0, ids.shape[1] :].tolist()[::2]  # which the model would write first, and third
    params = {"max_new_tokens": 14, "min_new_tokens": 6, "do_sample": False, "eos_token_id": ends}
    one = bench(gpt2)
    one.ask("Once", **params)
    assert one["Once"] == alone(gpt2, "Once", params)
    assert one["Once"].usage.new_tokens >= 6


def test_a_likeliest_token_that_may_come_costs_no_look_at_the_others(
    gpt2: Any, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"max_new_tokens": 9, "min_new_tokens": 9, "do_sample": False}
    expected = alone(gpt2, "Once", params)
    monkeypatch.delattr(MinimumLengths, "__call__")
    one = bench(gpt2)
    one.ask("Once", **params)
    assert one["Once"] == expected


def test_how_likely_each_token_was_is_told_beside_others_that_do_not_ask(
    gpt2: Any, bench: Callable[..., Bench]
) -> None:
    one = bench(gpt2)
    asks = {"max_new_tokens": 12, "logprobs": True, "top_logprobs": 3}
    changed = {**asks, "temperature": 0.7, "seed": 3, "repetition_penalty": 1.4}

    def beside() -> None:
        one.ask("I", **asks)
        one.ask("It is", **changed)
        one.ask("What", streams=False, max_new_tokens=12, temperature=0.9, num_return_sequences=2, logprobs=True)

    one.ask("Once", beside, max_new_tokens=40)
    for text, params in (("I", asks), ("It is", changed)):
        without = {name: value for name, value in params.items() if "logprobs" not in name}
        assert one[text].output == alone(gpt2, text, without).output
        ends = one[text].usage.finish_reason == FinishReason.STOP  # by a token that is no part of the text
        assert len(one[text].logprobs) == one[text].usage.new_tokens - ends > 0
        check_logprobs(gpt2, text, one[text].logprobs, greedy=params is asks)
    assert one["Once"] == alone(gpt2, "Once", {"max_new_tokens": 40})
    assert {each["index"] for each in one["What"].logprobs} == {0, 1}
    assert one.most_at_once() >= 3


def check_logprobs(model: Any, text: str, told: list[dict[str, Any]], *, greedy: bool) -> None:
    """Against the model's own passes: of the first token, and of all where each is the likeliest."""
    ids = model.tokenizer(text)["input_ids"]
    for each in told if greedy else told[:1]:
        with torch.inference_mode():
            best = model._model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).topk(3)
        others = [model.tokenizer.decode([token]) for token in best.indices.tolist()]
        assert [other["token"] for other in each["top_logprobs"]] == others
        assert [other["logprob"] for other in each["top_logprobs"]] == pytest.approx(best.values.tolist(), abs=1e-4)
        if greedy:
            assert {name: each[name] for name in ("token", "logprob", "bytes")} == each["top_logprobs"][0]
        ids = [*ids, int(best.indices[0])]


def test_a_bias_is_each_rows_own(gpt2: Any, bench: Callable[..., Bench]) -> None:
    (never,) = gpt2.tokenizer("e")["input_ids"]
    one = bench(gpt2)
    biased = {"max_new_tokens": 20, "logit_bias": {str(never): -100.0, "7": 3.0}}
    one.ask("Once", lambda: one.ask("I", **biased), max_new_tokens=30)
    assert one["I"] == alone(gpt2, "I", biased)
    assert one["Once"] == alone(gpt2, "Once", {"max_new_tokens": 30})


def test_prompts_that_wait_are_read_together(gpt2: Any, bench: Callable[..., Bench]) -> None:
    one = bench(gpt2, start=False)
    for text in TEXTS[:3]:
        one.ask(text, max_new_tokens=4)
    one.thread.start()
    assert all(isinstance(one[text], Outcome) for text in TEXTS[:3])
    assert [entry[:2] for entry in one.log if entry[0] == "read"] == [("read", 3)]


def test_a_call_that_is_timed_is_told_beside_how_many_it_begins(gpt2: Any, bench: Callable[..., Bench]) -> None:
    one, begun = bench(gpt2, start=False), []
    one.ask(TEXTS[0], max_new_tokens=4)
    call = call_of(TEXTS[1], {"max_new_tokens": 4}, begun=begun.append)
    one.tokens.submit(call, lambda answer: one._take(TEXTS[1], answer))
    one.thread.start()
    assert isinstance(one[TEXTS[1]], Outcome)
    assert begun == [2]


@pytest.mark.parametrize(("streams", "passes"), [(True, 4), (False, 1)])
def test_where_nobody_sees_first_tokens_more_prompts_are_read_together(
    gpt2: Any, bench: Callable[..., Bench], streams: bool, passes: int
) -> None:
    one = bench(gpt2, start=False)
    texts = [f"{number} {'and ' * 35}" for number in range(10)]
    longest = max(len(gpt2.tokenizer(text)["input_ids"]) for text in texts)
    assert GROUP_TOKENS < len(texts) * longest <= UNSEEN_TOKENS, longest
    for text in texts:
        one.ask(text, streams=streams, max_new_tokens=4)
    one.thread.start()
    assert all(isinstance(one[text], Outcome) for text in texts)
    assert sum(entry[0] == "read" for entry in one.log) == passes


def test_threads_follow_from_the_tokens_that_are_read_and_the_rows_that_are_written(
    gpt2: Any, bench: Callable[..., Bench]
) -> None:
    threads = NotedThreads()
    one = bench(gpt2, start=False, threads=threads)
    texts = ["Once", "Once upon a time"]
    for text in texts:
        one.ask(text, max_new_tokens=3)
    one.thread.start()
    assert all(isinstance(one[text], Outcome) for text in texts)
    assert threads.sizes == [2 * len(gpt2.tokenizer(texts[1])["input_ids"]), 2, 2]
    assert len(threads.took_s) == 3


def test_a_long_prompt_is_read_in_pieces_between_steps(load: Load, bench: Callable[..., Bench]) -> None:
    model = load("gpt2_long", "causal-lm")
    one = bench(model)
    long = "word " * 900
    one.ask("Once", lambda: one.ask(long, max_new_tokens=2), max_new_tokens=2000)
    assert isinstance(one[long], Outcome)
    one.cancelled.add("Once")
    begin = next(place for place, entry in enumerate(one.log) if entry[0] == long)
    events = [entry[0] for entry in one.log[begin:] if entry[0] in ("read", "step")]
    pieces = events[: len(events) - events[::-1].index("read")]
    assert pieces.count("read") > 5
    assert ("read", "read") not in itertools.pairwise(pieces)


def test_the_next_turn_of_a_chat_reads_what_is_new(load: Load, bench: Callable[..., Bench]) -> None:
    model = load("gpt2_long", "causal-lm")
    one = bench(model)
    first = "word " * 100
    one.ask(first, max_new_tokens=20)
    turn = f"{one[first].output} and more"
    one.ask(turn, max_new_tokens=20)
    expected = alone(model, turn, {"max_new_tokens": 20})
    assert one[turn].output == expected.output
    assert one[first].usage.cached_tokens is None
    assert 100 <= one[turn].usage.cached_tokens < one[turn].usage.prompt_tokens == expected.usage.prompt_tokens


def test_what_prompts_share_that_come_together_is_read_once(load: Load, bench: Callable[..., Bench]) -> None:
    model = load("gpt2_long", "causal-lm")
    one = bench(model)
    seen = 0

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        nonlocal seen
        seen += given["input_ids"].shape[1] - 1

    texts = [f"{'word ' * 300}{ending}" for ending in ("one", "two", "three")]
    handle = model._model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        one.ask("Once", lambda: [one.ask(text, max_new_tokens=9) for text in texts], max_new_tokens=400)
        answers = {text: one[text] for text in texts}
        one.cancelled.add("Once")
    finally:
        handle.remove()
    assert all(answer.output == alone(model, text, {"max_new_tokens": 9}).output for text, answer in answers.items())
    assert seen < 1.1 * answers[texts[0]].usage.prompt_tokens


def test_who_leaves_is_answered_at_once_and_the_others_go_on(gpt2: Any, bench: Callable[..., Bench]) -> None:
    one = bench(gpt2)
    one.ask(
        "first", lambda: one.ask("second", lambda: one.cancelled.add("first"), max_new_tokens=30), max_new_tokens=90
    )
    assert isinstance(one["first"], InferenceFailed)
    assert one["second"] == alone(gpt2, "second", {"max_new_tokens": 30})
    left = next(place for place, entry in enumerate(one.log) if entry[:1] == ("first",) and entry[1] is one["first"])
    third = [place for place, entry in enumerate(one.log) if entry[0] == "second"][2]
    assert sum(entry[0] == "step" for entry in one.log[third:left]) <= 1
    assert not any(entry[0] == "first" for entry in one.log[left + 1 :])


def test_what_waits_for_memory_gets_its_turn(gpt2: Any, bench: Callable[..., Bench]) -> None:
    cache_bytes = 2 * 2 * 32 * 4 * 300  # 300 tokens of the model's two layers
    one = bench(gpt2, cache_bytes, start=False)
    texts = [f"{text}{number}" for number in range(3) for text in TEXTS]
    for text in texts:
        one.ask(text, max_new_tokens=60)
    one.thread.start()
    for text in texts:
        assert one[text] == alone(gpt2, text, {"max_new_tokens": 60})
        assert one.streamed(text) == one[text].output
    assert 1 < one.most_at_once() < len(texts)


def test_one_bad_input_does_not_fail_what_runs_beside_it(gpt2: Any, bench: Callable[..., Bench]) -> None:
    bad = gpt2.tokenizer("~")["input_ids"][0]
    worked_on: set[object | None] = set()

    def refuse(_: Any, __: Any, given: dict[str, Any]) -> None:
        worked_on.add(current_call.get())
        if bad in given["input_ids"]:
            raise RuntimeError("no such thing")

    one = bench(gpt2)
    handle = gpt2._model.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        one.ask("Once", lambda: (one.ask("I", max_new_tokens=9), one.ask("a ~", max_new_tokens=9)), max_new_tokens=40)
        assert isinstance(one["a ~"], InferenceFailed)
        answers = {text: one[text] for text in ("Once", "I")}
    finally:
        handle.remove()
    assert answers["Once"] == alone(gpt2, "Once", {"max_new_tokens": 40})
    assert answers["I"] == alone(gpt2, "I", {"max_new_tokens": 9})
    assert worked_on >= {"Once", "a ~", None}, "alone at first, alone once it had failed, together in between"


def test_a_row_whose_scores_are_no_numbers_fails_alone(gpt2: Any, bench: Callable[..., Bench]) -> None:
    bad = gpt2.tokenizer("~")["input_ids"][0]

    def spoil(_: Any, __: Any, given: dict[str, Any], outputs: Any) -> None:
        outputs.logits[(given["input_ids"] == bad).any(dim=1)] = torch.nan

    one = bench(gpt2)
    handle = gpt2._model.register_forward_hook(spoil, with_kwargs=True)
    try:
        sampled = {"max_new_tokens": 20, "temperature": 0.9, "seed": 1}
        one.ask("Once", lambda: one.ask("a ~", **sampled), **sampled)
        assert isinstance(one["a ~"], InferenceFailed)
        answer = one["Once"]
    finally:
        handle.remove()
    assert answer == alone(gpt2, "Once", sampled)


def test_settings_that_the_model_cannot_follow_are_that_calls_alone(gpt2: Any, bench: Callable[..., Bench]) -> None:
    one = bench(gpt2)
    one.ask("Once", lambda: one.ask("I", num_return_sequences=2, do_sample=False), max_new_tokens=20)
    assert isinstance(one["I"], InvalidRequest)
    assert one["Once"] == alone(gpt2, "Once", {"max_new_tokens": 20})


def test_a_text_ends_when_its_time_is_over(gpt2: Any, bench: Callable[..., Bench]) -> None:
    times = iter(range(10**6))
    one = bench(gpt2, clock=lambda: next(times))
    one.ask("Once", max_new_tokens=90, max_time=10)
    assert one["Once"].usage.finish_reason == FinishReason.TIME
    assert 3 <= one["Once"].usage.new_tokens <= 10


def test_closing_answers_what_has_not_started_and_lets_the_rest_end(gpt2: Any, bench: Callable[..., Bench]) -> None:
    one = bench(gpt2, max_batch=1)

    def leave() -> None:
        one.ask("I", max_new_tokens=9)
        one.tokens.close()

    one.ask("Once", leave, max_new_tokens=20)
    assert isinstance(one["I"], ReplicaLost)
    assert one["Once"] == alone(gpt2, "Once", {"max_new_tokens": 20})
    with pytest.raises(ReplicaLost):
        one.ask("late")


def test_a_model_that_ends_its_thread_answers_all_that_it_held(gpt2: Any, bench: Callable[..., Bench]) -> None:
    def leave() -> None:
        raise SystemExit

    one = bench(gpt2)
    one.ask("Once", lambda: one.ask("I", leave, max_new_tokens=40), max_new_tokens=90)
    assert isinstance(one["I"], ReplicaLost)
    assert isinstance(one["Once"], ReplicaLost)
    wait_until(lambda: one.log[-1] == ("ended",), DEADLINE_S)
