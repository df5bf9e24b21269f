"""Our command, run in the test's own process: for what does not depend on its having one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from modelyard.cli.main import app

COMMAND: Any = get_command(app)
"""With all that it consists of. To make it takes 20 ms of CPU time, and typer's own runner does so for each run."""


def run_command(
    words: Sequence[str], typed: str = "", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Its end, called with `words`. `typed`: its standard input; `environ`: what is added to the environment."""
    with CliRunner().isolation(typed, environ) as (stdout, stderr, _):
        with pytest.raises(SystemExit) as ended:
            COMMAND.main(args=words, prog_name="modelyard")
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.CompletedProcess(words, int(ended.value.code or 0), text_of(stdout), text_of(stderr))


def text_of(output: BytesIO) -> str:
    return output.getvalue().decode().replace("\r\n", "\n")
