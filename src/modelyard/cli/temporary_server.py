"""A server in a process of its own for as long as a context lasts. Owns its end: no process is left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.errors import Unavailable

START_S = 60.0
STOP_S = 30.0
LOOK_AGAIN_S = 0.05
LAST_LINES = 5

_LISTENING = re.compile(r"listening on (http://\S+)")


class TemporaryServer:
    """`modelyard serve` in a process of its own, on a free port, with its data in `folder`.

    Settings in the environment do not reach it. After the context neither it nor any of its workers runs.
    """

    def __init__(self, folder: Path, key: str, arguments: Sequence[str]) -> None:
        self._folder = folder
        self._key = key
        self._arguments = arguments
        self.url = ""

    def __enter__(self) -> Self:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
        environ |= {"MODELYARD_ADMIN_KEY": self._key, "NO_COLOR": "1"}
        command = [
            sys.executable, "-m", "modelyard", "serve", "--port", "0", "--data-dir", str(self._folder / "data"),
            *self._arguments,
        ]  # fmt: skip
        with self._output.open("wb") as output, self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, env=environ)
        try:
            self.url = self._wait_for_url()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self._stop()
        if left and error is None:
            raise Unavailable(f"The server left {left} processes behind, which had to be killed.")

    def last_lines(self) -> str:
        """The end of the server's log."""
        return "\n".join(self._log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:])

    def wait(self) -> None:
        """Returns once the server has ended by itself."""
        self._process.wait()

    @property
    def _output(self) -> Path:
        return self._folder / "server.out"

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _wait_for_url(self) -> str:
        give_up_at = time.monotonic() + START_S
        while time.monotonic() < give_up_at:
            ended = self._process.poll() is not None
            if found := _LISTENING.search(self._output.read_text(errors="replace")):
                return found[1]
            if ended:
                raise Unavailable(f"The server did not start:\n{self.last_lines()}")
            time.sleep(LOOK_AGAIN_S)
        raise Unavailable(f"The server did not start within {START_S:.0f} s:\n{self.last_lines()}")

    def _stop(self) -> int:
        """Ends the server and whatever it started; returns how many processes it had failed to end itself."""
        import psutil

        try:
            family = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, left = psutil.wait_procs(family, timeout=1.0)
        for process in left:
            with suppress(psutil.NoSuchProcess):  # it has ended since
                process.kill()
        return len(left)
