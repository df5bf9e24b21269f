"""The playground: for every task a form, and its answer drawn, by a browser, of models that answer."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modelyard.tasks.base import Task
from modelyard.tasks.fields import inputs_of, meanings_of
from modelyard.tasks.registry import OURS
from tests.builders.pictures import picture
from tests.clients.programs import node
from tests.console.browser import NARROW, WIDE, console, violations
from tests.console.steps import ANSWER_MS, open_playground, run, set_to
from tests.serving import ENDLESS, KEY, Server, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.verify(part="console")

HOSTILE = '<img src=x onerror="window.harmed=1">'
FINDS_ANYTHING = {"object-detection": ("threshold", "0"), "zero-shot-object-detection": ("threshold", "0")}
"""A setting with which a model of random weights answers something."""
UNPLAYABLE = ("text-to-audio",)
"""The zoo's model of it makes sounds of 800 values a second, browsers play from 3000 on; they can be fetched still."""


@pytest.fixture(scope="module")
def playground_server(zoo: Path, task_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves a model of every task, the zoo, and a classifier whose labels want to be markup."""
    hostile = task_zoo / "odd" / "hostile"
    shutil.copytree(zoo / "tiny" / "classifier", hostile)
    config = json.loads((hostile / "config.json").read_text())
    config["id2label"] = {number: f"{HOSTILE}{number}" for number in config["id2label"]}
    config["label2id"] = {label: int(number) for number, label in config["id2label"].items()}
    (hostile / "config.json").write_text(json.dumps(config))
    with Server(tmp_path_factory.mktemp("playground"), zoo, "--models-dir", str(task_zoo)) as running:
        yield running


@pytest.fixture
def page(browser: Browser, playground_server: Server) -> Iterator[Page]:
    """The console, its operator signed in. The server refuses what is filled in wrongly, and does not know yet what a
    request took that was stopped a moment ago."""
    with console(browser, playground_server, refused=(404, 422)) as page:
        yield page


def drawn_of(task: Task) -> str:
    """What shows an answer of a task, as a selector."""
    means = {each["means"] for each in meanings_of(task).values()}
    if task.makes is not None:
        return {"image": "img", "audio": "audio", "video": "video"}[task.makes]
    if "feature" in task.id or task.id == "sentence-similarity":
        return "canvas"
    for meaning, shown in {"box": ".stage .box", "mask": ".stage .mask", "image": ".pair img", "score": ".bar"}.items():
        if meaning in means:
            return shown
    return ".text"


@pytest.mark.parametrize("task", OURS, ids=lambda task: task.id)
def test_every_task_has_a_form_and_its_answer_is_drawn(page: Page, task: Task) -> None:
    model = f"tasks/{task.id}"
    open_playground(page, model)
    if task.id in FINDS_ANYTHING:
        set_to(page, *FINDS_ANYTHING[task.id])
    if task.generation is not None:
        set_to(page, "max_new_tokens", "8")
    answer = run(page, model)
    assert answer.get_by_role("alert").count() == 0
    if task.id in UNPLAYABLE:
        answer.get_by_text("The browser cannot show this file").wait_for()
    else:
        answer.locator(drawn_of(task)).first.wait_for(state="attached")
    if "start" in {each["means"] for each in meanings_of(task).values()}:
        answer.locator("mark").first.wait_for()
    answer.get_by_text("Cost").wait_for()
    if task.makes is not None and task.id not in UNPLAYABLE:
        wait_until(lambda: answer.locator(drawn_of(task)).evaluate("e => e.naturalWidth || e.duration || 0") > 0)
    assert violations(page) == []


def test_a_narrow_page_holds_every_kind_of_form(page: Page) -> None:
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    for task in OURS:
        open_playground(page, f"tasks/{task.id}")
        page.locator("summary", has_text="The same call in code").click()
        page.locator("pre").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], task.id
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def test_a_conversation_goes_on_and_is_stopped(page: Page, playground_server: Server) -> None:
    open_playground(page, "tiny/chat")
    set_to(page, "max_new_tokens", "5")
    run(page, "tiny/chat")
    page.get_by_label("Message").fill(HOSTILE)
    with page.expect_request(lambda request: request.method == "POST") as asked:
        run(page, "tiny/chat")
    said = asked.value.post_data_json["messages"]
    assert [each["role"] for each in said] == ["system", "user", "assistant", "user"]
    assert said[-1]["content"] == HOSTILE
    page.get_by_text(HOSTILE).first.wait_for()
    model, params = ENDLESS
    open_playground(page, model)
    for name in ("max_new_tokens", "min_new_tokens"):
        set_to(page, name, str(params[name]))
    page.get_by_role("button", name="Run").click()
    page.get_by_text("streaming", exact=True).wait_for(timeout=ANSWER_MS)
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("stopped", exact=True).wait_for()
    wait_until(lambda: playground_server.load() == (0, 0))


def test_labels_and_file_names_stay_text(page: Page, tmp_path: Path) -> None:
    open_playground(page, "odd/hostile")
    answer = run(page, "odd/hostile")
    answer.get_by_text(f"{HOSTILE}0", exact=True).wait_for()
    open_playground(page, "tasks/image-classification")
    named = {"name": f"{HOSTILE}.png", "mimeType": "image/png", "buffer": png(tmp_path)}
    page.locator("input[type=file]").set_input_files(named)  # type: ignore[arg-type]
    page.get_by_text(f"{HOSTILE}.png").wait_for()
    page.locator("summary", has_text="The same call in code").click()
    page.get_by_text("base64 -w0").wait_for()
    assert page.evaluate("window.harmed") is None


def png(folder: Path) -> bytes:
    path = folder / "picture.png"
    picture().save(path)
    return path.read_bytes()


def test_what_is_wrong_stands_beside_its_field(page: Page) -> None:
    open_playground(page, "tiny/classifier")
    set_to(page, "top_k", "0")
    page.get_by_role("button", name="Run").click()
    wrong = page.locator(".field", has=page.locator("[aria-invalid]"))
    wrong.get_by_role("alert").get_by_text("params.top_k: got 0").wait_for(timeout=ANSWER_MS)
    set_to(page, "top_k", "many")
    page.get_by_role("button", name="Run").click()
    wrong.get_by_text("not a number").wait_for()
    set_to(page, "top_k", "1")
    assert run(page, "tiny/classifier").locator(".bar").count() == 1


def test_two_models_are_asked_the_same(page: Page) -> None:
    open_playground(page, "tiny/gpt2", beside="tasks/text-generation")
    set_to(page, "max_new_tokens", "5")
    run(page, "tiny/gpt2")
    page.get_by_label("Answer of tasks/text-generation").get_by_text("done", exact=True).wait_for(timeout=ANSWER_MS)
    page.get_by_role("combobox", name="Beside it").press("ArrowDown")
    options = page.get_by_role("listbox", name="Beside it").get_by_role("option")
    options.first.wait_for()
    offered = options.all_inner_texts()
    assert all("text-generation" in each for each in offered)


@pytest.mark.parametrize("model", ["tiny/classifier", "tasks/image-classification", "tiny/chat"])
def test_the_code_that_is_shown_makes_the_same_call(page: Page, model: str, tmp_path: Path) -> None:
    open_playground(page, model)
    if page.get_by_label("Stream").count():
        page.get_by_label("Stream").uncheck()
        set_to(page, "max_new_tokens", "5")
        set_to(page, "seed", "1")
    (tmp_path / "example.png").write_bytes(png(tmp_path))
    shown = page.locator("details", has_text="The same call in code")
    shown.locator("summary").click()
    answers = []
    for language, program in {"curl": ["bash"], "Python": [sys.executable], "JavaScript": javascript()}.items():
        shown.get_by_role("button", name=language, exact=True).click()
        script = tmp_path / "call.mjs"
        script.write_text(shown.locator("pre").inner_text())
        environ = {**os.environ, "MODELYARD_KEY": KEY}
        done = subprocess.run([*program, script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
        answers.append(done.stdout)
    said = json.loads(answers[0])
    assert said["error"] is None
    assert answers[1].strip() == str(said["output"])
    assert json.loads(answers[2]) == said["output"]


def javascript() -> list[str]:
    """Node, which writes what a program logs as JSON."""
    log = "console.log = (told) => process.stdout.write(JSON.stringify(told))"
    return [node(), "--import", f"data:text/javascript,{log}"]


def test_a_camera_a_microphone_and_a_brush_fill_in_forms(page: Page) -> None:
    open_playground(page, "tasks/image-classification")
    page.get_by_role("button", name="Camera").click()
    page.get_by_role("button", name="Take the picture").click()
    page.get_by_text("camera.png").wait_for()
    run(page, "tasks/image-classification")
    for kind, device, file, media_type in (
        ("audio", "Microphone", "recording.wav", "audio/wav"),
        ("video", "Camera", "recording.webm", "video/webm"),
    ):
        open_playground(page, f"tasks/{kind}-classification")
        page.get_by_role("button", name=device).click()
        page.get_by_role("button", name="Record", exact=True).click()
        page.get_by_text("Recording: 1 of").wait_for()
        page.get_by_role("button", name="Stop recording").click()
        page.get_by_text(file).first.wait_for()
        page.locator("summary", has_text="The same call in code").click()
        page.get_by_text(f"data:{media_type};base64,").wait_for()
        run(page, f"tasks/{kind}-classification")
    open_playground(page, "tasks/mask-generation")
    page.locator(".pad").first.click(position={"x": 10, "y": 10})
    body = sent_by(page, "tasks/mask-generation")
    assert len(body["params"]["input_points"]) == 2
    open_playground(page, "tasks/image-to-image")
    page.get_by_text("Optional fields").click()
    page.get_by_role("group", name="mask").get_by_role("button", name="Paint over the image").click()
    page.get_by_label("Paint here").click(position={"x": 20, "y": 20})
    page.get_by_role("button", name="Use it").click()
    body = sent_by(page, "tasks/image-to-image")
    assert body["mask"].startswith("data:image/png;base64,")


def sent_by(page: Page, model: str) -> Any:
    """The body that the form sends; whether the model reads all of it is its own affair."""
    with page.expect_request(lambda request: request.method == "POST" and model in request.url) as asked:
        page.get_by_role("button", name="Run").click()
    page.get_by_label(f"Answer of {model}").get_by_text(re.compile("^(done|failed)$")).wait_for(timeout=ANSWER_MS)
    return asked.value.post_data_json


def test_a_page_that_is_left_keeps_no_file_and_no_request(browser: Browser, playground_server: Server) -> None:
    keep = """window.made = 0; window.kept = new Set();
        const [make, revoke] = [URL.createObjectURL.bind(URL), URL.revokeObjectURL.bind(URL)];
        URL.createObjectURL = (blob) => { const url = make(blob); made++; kept.add(url); return url; };
        URL.revokeObjectURL = (url) => { kept.delete(url); revoke(url); };"""
    with console(browser, playground_server, refused=(404,)) as page:
        page.evaluate(keep)
        for task in OURS:
            if any(field["kind"] in ("image", "audio", "video") for field in inputs_of(task)):
                page.goto(f"/#/playground/tasks/{task.id}")
                page.locator("form").first.wait_for()
        model, params = ENDLESS
        open_playground(page, model)
        for name in ("max_new_tokens", "min_new_tokens"):
            set_to(page, name, str(params[name]))
        page.get_by_role("button", name="Run").click()
        page.get_by_text("streaming", exact=True).wait_for(timeout=ANSWER_MS)
        page.goto("/#/models")
        wait_until(lambda: playground_server.load() == (0, 0))
        assert page.evaluate("made") > 10
        wait_until(lambda: page.evaluate("kept.size") == 0)
