"""How OpenAI's `voice` reaches a model."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.gateway.surfaces.openai.audio import params_of_voice


@pytest.mark.parametrize(
    ("voice", "params"),
    [
        (None, {}),
        ("default", {}),
        ("alloy", {}),
        (3, {"speaker_id": 3}),
        ("3", {"speaker_id": 3}),
        ("9" * 30, {"speaker_id": int("9" * 18)}),
        ("v2/en_speaker_6", {"voice": "v2/en_speaker_6"}),
        ("²", {"voice": "²"}),
    ],
)
def test_voices_are_numbers_or_names_and_openais_are_the_models_own(voice: Any, params: dict[str, Any]) -> None:
    assert params_of_voice(voice) == params
