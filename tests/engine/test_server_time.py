"""How busy the server itself is."""

from __future__ import annotations

import subprocess
import sys

from modelyard.engine.server_time import ServerTime, children, seconds_of

BUSY = "import time\nwhile time.process_time() < 0.2: pass\nprint('computed', flush=True)\ninput()"


def test_what_this_process_and_those_it_started_compute_counts() -> None:
    server = ServerTime()
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"computed\n"
        assert child.pid in children()
        assert seconds_of(child.pid) >= 0.15
        busy = server.cores_since()
        child.communicate(b"\n")
    assert busy > 0
    assert seconds_of(child.pid) == 0.0
