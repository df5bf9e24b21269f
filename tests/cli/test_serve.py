"""What `modelyard serve` says at its beginning, and its end, whatever its threads do."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from modelyard.cli.serve import example_line
from modelyard.records.models import Listing
from modelyard.serving.server import Started

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


async def no_models(most: int) -> tuple[list[Listing], int]:
    return [], 0


def test_the_line_to_paste_calls_the_smallest_model_that_can_be_called() -> None:
    started = Started("http://here", Path("/data"), "my-key", no_models)
    models = [
        Listing(name, "folder", datetime.now(UTC), task, memory_bytes=memory_bytes)
        for name, task, memory_bytes in (
            ("a/untold", "chat", None), ("a/huge", "chat", 80), ("a/odd", "no-such-task", 1), ("a/small", "chat", 2),
        )
    ]  # fmt: skip
    assert (example_line(models, started) or "").startswith("curl http://here/models/v2/a/small -H")
    assert example_line(models[2:3], started) is None
