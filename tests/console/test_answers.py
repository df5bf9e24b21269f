"""Answers in the playground that no tiny model gives: a browser gets them from the test, in place of a model's."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from modelyard.tasks.shared.samples import sound
from tests.console.steps import set_to
from tests.serving import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

MODEL = "odd/viewer"


def open_as(page: Page, task: str, output: Any) -> None:
    """The playground with a model that is taken for one of that task, whose answer that is."""

    def tell_task(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        found["output"][0]["task"] = task
        route.fulfill(response=answer, json=found)

    page.route("**/list/models?modelId=*", tell_task)
    page.route(f"**/models/v2/{MODEL}", lambda route: route.fulfill(json={"error": None, "output": output}))
    page.goto(f"/#/playground/{MODEL}")


def test_an_answer_that_is_said_is_asked_for_whole_and_played(page: Page) -> None:
    said = {"data": base64.b64encode(sound(1.0)).decode(), "media_type": "audio/wav"}
    open_as(page, "audio-text-to-text", {"role": "assistant", "content": "Good morning.", "audio": said})
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


def test_a_score_names_the_words_that_it_is_about(page: Page) -> None:
    found = [{"entity_group": "PER", "score": 0.9, "word": "angela", "start": 0, "end": 6}]
    open_as(page, "token-classification", found)
    page.get_by_role("button", name="Run").click()
    page.get_by_role("listitem").get_by_text("Angela: PER", exact=True).wait_for()


def test_what_is_filled_in_stays_when_a_second_model_is_chosen(page: Page) -> None:
    open_as(page, "token-classification", [])
    text = page.get_by_role("textbox", name="text (required)")
    text.fill("Grace lives in Arlington.")
    asked: list[str] = []
    page.on("request", lambda request: asked.extend([request.url] if "/list/" in request.url else []))
    page.goto(f"/#/playground/{MODEL}?beside=many/m00")
    page.get_by_role("button", name="Take many/m00 away").wait_for()
    assert text.input_value() == "Grace lives in Arlington."
    assert asked == []
