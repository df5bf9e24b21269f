"""What of a request's settings llama.cpp is asked for."""

from __future__ import annotations

import pytest

from modelyard.errors import InvalidRequest
from modelyard.tasks.chat import ChatParams
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.text_generation import TextGenerationParams
from modelyard.worker.runtimes.gguf_settings import plan_writing


@pytest.mark.parametrize("params", [ChatParams(use_template=False), TextGenerationParams(return_full_text=False)])
def test_what_a_task_does_with_texts_is_none_of_llama_cpps_affairs(params: GenerationParams) -> None:
    assert plan_writing(params, {}) == plan_writing(ChatParams(), {})


def test_what_it_has_not_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="num_beams"):
        plan_writing(ChatParams(num_beams=2), {})


def test_penalties_are_llama_cpps_own() -> None:
    plain = plan_writing(ChatParams(), {}).request
    asked = plan_writing(ChatParams(frequency_penalty=0.5, presence_penalty=-1.0), {}).request

    assert (plain["frequency_penalty"], plain["presence_penalty"]) == (0.0, 0.0)
    assert (asked["frequency_penalty"], asked["presence_penalty"]) == (0.5, -1.0)
    assert "penalties" in asked["samplers"]
