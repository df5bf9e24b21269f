"""Chat templates that take more than they may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from modelyard.errors import InvalidRequest
from modelyard.tasks.shared.chat_template import render
from modelyard.units import MIB
from modelyard.worker.limits import memory_limited
from modelyard.worker.runtimes import chat_templates
from modelyard.worker.runtimes.chat_templates import TemplateTooSlow, Watch, limit_template

MESSAGES = [{"role": "user", "content": "hello"}]
ENDLESS = "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}"


@pytest.fixture
def tokenizer(model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(chat_templates, "MOST_S", 60.0)
    tokenizer = AutoTokenizer.from_pretrained(model_folder("llama_chat"))
    limit_template(tokenizer)
    return tokenizer


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (ENDLESS, "more than 3 s"),
        ("{% for a in range(99999) %}{{ 'a' * 1000000 }}{% endfor %}", "at most 256 MiB"),
        ("{{ 'a' * 10 ** 10 }}", "at most 256 MiB"),
        ("{{ [0] * 10 ** 10 }}", "at most 256 MiB"),
        ("{{ 'a'.ljust(10 ** 10) }}", "at most 256 MiB"),
        ("{% set ns = namespace(s='aa') %}{% for a in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", "256 MiB"),
        ("{{ 'a' * 20000000 }}", "20000000 characters"),
        ("{{ range(10 ** 9) }}", "Range too big"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion"),
    ],
)
def test_a_template_that_takes_too_much_is_refused_and_its_model_goes_on(
    tokenizer: Any, template: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if template is ENDLESS:
        monkeypatch.setattr(chat_templates, "MOST_S", 3.0)
    usual = tokenizer.chat_template
    tokenizer.chat_template = template
    with pytest.raises(InvalidRequest, match=f"messages: the model's chat template refuses them: .*{reason}"):
        render(tokenizer, MESSAGES, "messages")
    tokenizer.chat_template = usual
    assert "hello" in render(tokenizer, MESSAGES, "messages")
    assert len(bytearray(400 * MIB)) == 400 * MIB  # the limit is lifted


def test_a_limit_of_memory_is_never_above_the_one_there_was() -> None:
    # Threads and models that other tests had may go meanwhile, which makes room: a few hundred MiB at most.
    with memory_limited(64 * MIB):
        with memory_limited(1024 * MIB), pytest.raises(MemoryError):
            bytearray(900 * MIB)
        with pytest.raises(MemoryError):
            bytearray(900 * MIB)
    bytearray(900 * MIB)


def test_what_ends_in_time_is_not_interrupted_later() -> None:
    watch = Watch()
    for _ in range(20):
        with watch.time_limited(0.1):
            pass
    ended = threading.Event()
    assert not ended.wait(0.2)  # longer than any of those limits
    with pytest.raises(TemplateTooSlow), watch.time_limited(0.01):
        loop_for_ever()


def loop_for_ever() -> None:
    while True:
        pass
