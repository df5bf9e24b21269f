"""What is said of a field whose value is none of those that it takes."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.registry import get_task

ROLES = '"assistant" or "developer" or "system" or "tool" or "user"'


@pytest.mark.parametrize(
    ("task", "body", "words"),
    [
        ("chat", {"messages": [{"role": "bot", "content": "a"}]}, f"messages[0].role: got 'bot'; accepted: {ROLES}"),
        (
            "token-classification",
            {"text": "a", "params": {"aggregation_strategy": "last"}},
            "params.aggregation_strategy: got 'last'; accepted: "
            '"average" or "first" or "max" or "none" or "simple"',
        ),
        (
            "automatic-speech-recognition",
            {"base64": "UklGRg==", "params": {"return_timestamps": "line"}},
            "params.return_timestamps: got 'line'; accepted: true or false or \"char\" or \"word\"",
        ),
    ],
)  # fmt: skip
def test_the_values_are_named(task: str, body: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        read(get_task(task), body)
    assert error.value.message.startswith(words)
