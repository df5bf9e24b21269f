"""The demo's console in a browser, which is any program that takes an address."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cli.conftest import DEADLINE_S, Terminal
from tests.serving import wait_until

OWN_PAGE = {"x-modelyard-console": "1", "sec-fetch-site": "same-origin"}


def browser(folder: Path, *, opens: bool) -> tuple[Path, Path]:
    """A program that takes note of the address, and the file that will hold it."""
    program, opened = folder / "browser", folder / "opened"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}"\nexit {0 if opens else 1}\n')
    program.chmod(0o755)
    return program, opened


@pytest.mark.parametrize("opens", [pytest.param(False, marks=pytest.mark.verify(part="console")), True])
def test_the_demos_console_is_opened_signed_in_until_the_demo_is_ended(
    terminal: Terminal, tmp_path: Path, opens: bool
) -> None:
    program, opened = browser(tmp_path, opens=opens)
    shown_nowhere = {name: value for name, value in terminal.environ.items() if "DISPLAY" not in name}
    process = Terminal({**shown_nowhere, "BROWSER": str(program)}).start("demo", "--open")
    try:
        wait_until(lambda: (opened.exists() and opened.read_text()) or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        url, _, code = opened.read_text().partition("/#/sign-in?code=")
        family = psutil.Process(process.pid).children(recursive=True)
        for status in (200, 401):
            told = httpx.post(f"{url}/console/session", json={"code": code}, headers=OWN_PAGE)
            assert told.status_code == status, told.text
        process.send_signal(signal.SIGTERM)
        shown, said = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert f"The console is at {url} " in shown
    assert re.search(r"export KEY=demo-\S+", shown)
    assert ("It is open in your browser" in shown, "No browser could be opened here" in shown) == (opens, not opens)
    assert code not in shown
    _, left = psutil.wait_procs(family, timeout=DEADLINE_S)
    assert left == []
