"""The end of `modelyard serve`, whatever its threads do."""

from __future__ import annotations

import subprocess
import sys

STUCK = """
import threading
from modelyard.cli import serve
serve.STOP_S = 0.2
serve.end_within_deadline()
threading.Event().wait()
"""


def test_a_process_with_a_stuck_thread_ends_and_says_where_it_was() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "<string>" in ended.stderr
