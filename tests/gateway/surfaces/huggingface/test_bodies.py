"""Bodies of Hugging Face's clients, as the tasks take them."""

from __future__ import annotations

import pytest

from modelyard.gateway.surfaces.huggingface.bodies import to_unified
from modelyard.tasks.registry import get_task


@pytest.mark.parametrize("task", ["image-to-image", "image-to-video"])
def test_a_size_that_is_one_setting_becomes_two_and_a_prompt_the_text(task: str) -> None:
    parameters = {"prompt": "snow", "seed": 3, "target_size": {"height": 32, "width": 64}}
    assert to_unified(get_task(task), {"inputs": "aGk=", "parameters": parameters}) == {
        "base64": "aGk=",
        "text": "snow",
        "params": {"seed": 3, "height": 32, "width": 64},
    }


def test_further_images_are_fields() -> None:
    unified = to_unified(get_task("image-to-video"), {"inputs": "aGk=", "parameters": {"last_image": "aGo="}})
    assert unified == {"base64": "aGk=", "last_image": "aGo=", "params": {}}
