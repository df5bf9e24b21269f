"""Answers in the playground that no tiny model gives: a browser gets them from the test, in place of a model's."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from modelyard.tasks.shared.samples import sound
from tests.console.steps import set_to
from tests.serving import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

MODEL = "odd/viewer"


def take_for_a_model_that_speaks(route: Route) -> None:
    answer = route.fetch()
    found = answer.json()
    found["output"][0]["task"] = "audio-text-to-text"
    route.fulfill(response=answer, json=found)


def say(route: Route) -> None:
    said = {"data": base64.b64encode(sound(1.0)).decode(), "media_type": "audio/wav"}
    route.fulfill(json={"error": None, "output": {"role": "assistant", "content": "Good morning.", "audio": said}})


def test_an_answer_that_is_said_is_asked_for_whole_and_played(page: Page) -> None:
    page.route("**/list/models?modelId=*", take_for_a_model_that_speaks)
    page.route(f"**/models/v2/{MODEL}", say)
    page.goto(f"/#/playground/{MODEL}")
    page.get_by_label("Stream").wait_for()
    set_to(page, "voice", "default")
    page.get_by_text("With voice, the answer comes whole").wait_for()
    page.locator("summary", has_text="The same call in code").click()
    page.get_by_role("button", name="Python (openai)").click()
    page.get_by_text('modalities=["text", "audio"]').wait_for()
    with page.expect_request(lambda request: request.method == "POST") as asked:
        page.get_by_role("button", name="Send").click()
    body = asked.value.post_data_json
    assert (body["params"]["voice"], body.get("stream")) == ("default", None)
    page.get_by_text("Good morning.").wait_for()
    player = page.get_by_label("The answer as it is said")
    wait_until(lambda: player.evaluate("player => player.duration") > 0)
