"""A task that another package adds by its entry point, without a line of ours: installed, listed, served."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console.browser import console, violations
from tests.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ECHO = Path(__file__).parents[2] / "benchmarks" / "echo"


@pytest.fixture(scope="module")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in whose environment the package is installed, with a folder that names its task."""
    folder = tmp_path_factory.mktemp("added")
    shutil.copytree(ECHO, folder / "echo")  # building leaves files behind
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(folder / "site"), str(folder / "echo")], check=True)
    model = folder / "models" / "bench" / "echo"
    model.mkdir(parents=True)
    (model / "README.md").write_text("---\npipeline_tag: echo\n---\n")
    path = os.pathsep.join([str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    with Server(folder, folder / "models", PYTHONPATH=path) as running:
        yield running


def test_the_added_task_is_listed_and_described(echo_server: Server):
    assert "echo" in echo_server.client.get("/models/v2/list/tasks").json()["output"]
    described = echo_server.client.get("/models/v2/list/tasks/echo").json()["output"]
    assert described["params"]["properties"]["times"]["maximum"] == 100
    (text,) = described["fields"]
    assert (text["name"], text["kind"], text["required"]) == ("text", "text", True)
    (times,) = described["settings"]
    assert (times["kind"], times["minimum"], times["maximum"], times["default"]) == ("integer", 1, 100, 1)
    (model,) = echo_server.client.get("/models/v2/list/models?task=echo").json()["output"]
    assert (model["modelId"], model["task"], model["error"]) == ("bench/echo", "echo", None)


def test_the_added_task_is_served_and_streamed(echo_server: Server):
    assert echo_server.run("bench/echo", input="hello", params={"times": 3}) == "hellohellohello"
    body = {"text": "hello", "params": {"times": 3}, "stream": True}
    with echo_server.client.stream("POST", "/models/v2/bench/echo", json=body) as response:
        assert b"".join(response.iter_raw()) == b"hellohellohello"


def test_the_added_task_has_a_form_in_the_console(echo_server: Server, browser: Browser):
    with console(browser, echo_server, refused=(422,)) as page:
        page.get_by_role("heading", name="Models").wait_for()
        page.goto("/#/playground/bench/echo")
        page.get_by_label("text (required)").fill("<b>hello</b>")
        page.get_by_label("times", exact=True).fill("3")
        page.get_by_role("button", name="Run").click()
        answer = page.get_by_label("Answer of bench/echo")
        answer.get_by_text("<b>hello</b>" * 3, exact=True).wait_for()
        answer.get_by_text("done", exact=True).wait_for()
        page.get_by_label("times", exact=True).fill("1000")
        page.get_by_role("button", name="Run").click()
        page.locator(".field", has=page.get_by_label("times")).get_by_text("params.times: got 1000").wait_for()
        assert violations(page) == []


def test_its_wrong_params_are_named(echo_server: Server):
    response = echo_server.post("bench/echo", text="hello", params={"times": 1000})
    assert response.status_code == 422
    assert "params.times" in response.json()["error"]
