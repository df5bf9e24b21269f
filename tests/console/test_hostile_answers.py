"""Words that others have chosen, in the playground: labels of models, prompts, names of files and models, what models
answer. They are shown as they are, and nothing in them runs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.builders import build
from tests.console.browser import console
from tests.console.conftest import HOSTILE
from tests.console.test_hostile_words import nothing_ran
from tests.serving import Server, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.verify(part="console")

CLASSIFIER, WRITER, SEER, BROKEN = "hostile/classifier", "hostile/writer", "hostile/seer", "hostile/broken"
FAMILIES = {CLASSIFIER: "bert_classifier", WRITER: "gpt2", SEER: "vit_classifier", BROKEN: "bert_classifier"}
MINUTE_MS = 120_000
RUNS = "window.ran=1"
"""What stays of HOSTILE where its quotes are written otherwise."""


@pytest.fixture(scope="module")
def hostile_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose models call what they see by words that are a program."""
    folder = tmp_path_factory.mktemp("hostile-models")
    for model_id, family in FAMILIES.items():
        build(family, folder / model_id)
        config = folder / model_id / "config.json"
        told = json.loads(config.read_text())
        if model_id == BROKEN:
            told["hidden_act"] = HOSTILE  # which its library then looks for, and names when it does not find it
        if "id2label" in told:
            told["id2label"] = {number: f"{number} {HOSTILE}" for number in told["id2label"]}
            told["label2id"] = {label: int(number) for number, label in told["id2label"].items()}
        config.write_text(json.dumps(told))
    with Server(tmp_path_factory.mktemp("hostile-server"), folder) as server:
        yield server


@pytest.fixture
def playground(browser: Browser, hostile_server: Server) -> Iterator[Page]:
    with console(browser, hostile_server) as page:
        page.set_default_timeout(MINUTE_MS)
        yield page


def ask(page: Page) -> None:
    """Sends the form, and waits for the answer."""
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("done", exact=True).wait_for()


def test_labels_of_a_model_are_text(playground: Page) -> None:
    playground.goto(f"/#/playground/{CLASSIFIER}")
    playground.locator("form textarea").first.fill("hello")
    ask(playground)
    playground.locator("main").get_by_text(f"0 {HOSTILE}").first.wait_for()
    assert nothing_ran(playground)


@pytest.mark.parametrize("streams", [False, True])
def test_a_prompt_and_what_a_model_writes_to_it_are_text(playground: Page, streams: bool) -> None:
    playground.goto(f"/#/playground/{WRITER}")
    playground.locator("form textarea").first.fill(HOSTILE)
    playground.get_by_label("Stream").set_checked(streams)
    ask(playground)
    playground.locator("main section").get_by_text(HOSTILE).first.wait_for()
    assert nothing_ran(playground)


def test_the_name_of_a_file_and_labels_of_what_is_seen_are_text(playground: Page) -> None:
    playground.goto(f"/#/playground/{SEER}")
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    file = {"name": HOSTILE.replace("/", "-"), "mimeType": "image/png", "buffer": picture.getvalue()}
    playground.locator("input[type=file]").first.set_input_files(file)  # type: ignore[arg-type]
    playground.get_by_text("onerror").first.wait_for()
    ask(playground)
    playground.locator("main").get_by_text(f"0 {HOSTILE}").first.wait_for()
    assert playground.evaluate("window.ran === undefined")


def test_a_model_that_is_named_in_an_address_is_text(playground: Page) -> None:
    playground.evaluate(
        "name => { location.hash = `#/playground/${encodeURIComponent(name)}/x?beside=${name}` }", HOSTILE
    )
    playground.get_by_text("No model of this name was found").wait_for()
    assert nothing_ran(playground)


def test_why_a_replica_failed_and_what_it_printed_are_text(playground: Page, hostile_server: Server) -> None:
    assert hostile_server.put(BROKEN).is_success
    wait_until(lambda: [words for words in hostile_server.events(BROKEN) if RUNS in words])
    playground.goto(f"/#/clusters/{BROKEN}")
    playground.get_by_role("log").get_by_text(RUNS).first.wait_for()
    assert nothing_ran(playground)
    playground.get_by_role("button", name="Show", exact=False).first.click()
    playground.locator("pre").get_by_text(RUNS).first.wait_for()
    assert nothing_ran(playground)
