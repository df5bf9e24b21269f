"""Why each row of a batch ended, and how many tokens it made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from modelyard.protocol import FinishReason
from modelyard.tasks.model import Model

Load = Callable[[str, str], Model]
SCRIPT = {"input_ids": np.array([[0, 5], [5, 5]]), "attention_mask": np.array([[0, 1], [1, 1]])}
"""Two prompts for a model that writes by position and then an end token: the first is one token longer."""


def nothing(_row: int, _tokens: Sequence[int]) -> bool:
    return False


@pytest.fixture
def script(load: Load) -> Model:
    return load("gpt2_script", "causal-lm")


def ends(model: Model, inputs: dict[str, Any], on_tokens: Any = nothing, **options: Any) -> list[tuple[int, str]]:
    rows = model.generate(inputs, options, on_tokens)
    return [(one.new_tokens - len(one.tokens), one.finish_reason.value) for row in rows for one in row]


def test_an_end_token_is_counted_and_not_shown(script: Model) -> None:
    assert ends(script, SCRIPT) == [(1, "stop"), (1, "stop")]


def test_rows_end_each_for_their_own_reason(script: Model) -> None:
    ((longer,), (shorter,)) = script.generate(SCRIPT, {}, nothing)
    assert longer.new_tokens == shorter.new_tokens + 1
    assert ends(script, SCRIPT, max_new_tokens=shorter.new_tokens) == [(0, "length"), (1, "stop")]


def test_a_row_that_its_taker_ends_is_cancelled(script: Model) -> None:
    assert ends(script, SCRIPT, lambda row, _tokens: row == 0) == [(0, "cancelled"), (1, "stop")]


def test_a_row_without_time_left_says_so(load: Load) -> None:
    gpt2 = load("gpt2", "causal-lm")
    options = {"max_time": 1e-9, "max_new_tokens": 50, "min_new_tokens": 50}
    ((one,), _) = gpt2.generate(SCRIPT, options, nothing)
    assert one.finish_reason is FinishReason.TIME
    assert one.new_tokens == len(one.tokens) < 50


def test_an_end_token_that_was_forced_is_for_the_length(load: Load) -> None:
    gpt2 = load("gpt2", "causal-lm")
    options = {"forced_eos_token_id": 0, "max_new_tokens": 4, "min_new_tokens": 3}
    row = {name: array[1:] for name, array in SCRIPT.items()}
    assert ends(gpt2, row, **options) == [(1, "length")]


CERTAIN = 0.05
"""A temperature at which the script's next token is drawn every time; at 1.0 another is once in 60."""


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 2},
        {"num_beams": 1, "do_sample": True, "num_return_sequences": 2, "temperature": CERTAIN},
    ],
    ids=["beams", "drawn"],
)
def test_sequences_know_their_own_ends(script: Model, options: dict[str, Any]) -> None:
    assert set(ends(script, SCRIPT, **options)) == {(1, "stop")}
    assert set(ends(script, SCRIPT, max_new_tokens=2, **options)) == {(0, "length")}


@pytest.mark.parametrize(("always", "first"), [([3, 7, 99], [0, 49]), (None, [4]), ([5], None)], ids=str)
def test_forbidden_tokens_are_those_that_the_library_forbids(always: list[int] | None, first: list[int] | None) -> None:
    import torch
    from transformers import GenerationConfig, LogitsProcessorList
    from transformers.generation.logits_process import (
        SuppressTokensAtBeginLogitsProcessor,
        SuppressTokensLogitsProcessor,
    )

    from modelyard.worker.runtimes.stepping import take_forbidden_tokens

    library = LogitsProcessorList(
        [SuppressTokensLogitsProcessor(always or []), SuppressTokensAtBeginLogitsProcessor(first or [], 2)]
    )
    config = GenerationConfig(suppress_tokens=always, begin_suppress_tokens=first)
    (ours,) = take_forbidden_tokens(config)
    for length in (2, 3, 4):
        ids, scores = torch.ones(2, length, dtype=torch.int64), torch.arange(100.0).view(2, 50)
        expected = library(ids, scores)
        assert ours(ids, scores).equal(expected)
        assert scores.equal(torch.arange(100.0).view(2, 50))
        assert expected.isinf().any() or (length > 2 and not always)
    assert (config.suppress_tokens, config.begin_suppress_tokens) == (None, None)
    assert take_forbidden_tokens(config) == []
