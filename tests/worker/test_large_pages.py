"""Memory that forks inherit in large pages: the same bytes, in fewer entries of the page table."""

from __future__ import annotations

import json
import subprocess
import sys

LARGE = 2 * 1024**2
PROGRAM = """
import json, sys
from modelyard.worker.large_pages import gather_in_large_pages, own_memory

data = bytearray(64 * 1024**2)
for place in range(0, len(data), 4096):
    data[place] = place // 4096 % 251
ranges = list(own_memory())
gathered = gather_in_large_pages()
kept = all(data[place] == place // 4096 % 251 for place in range(0, len(data), 4096))
(large,) = [int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages")]
print(json.dumps([ranges, gathered, kept, large * 1024]))
"""


def test_what_is_gathered_in_large_pages_keeps_its_bytes() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ranges, gathered, kept, large = json.loads(done.stdout)
    assert kept
    assert sum(size for _, size in ranges) >= 31 * LARGE
    assert all(start % LARGE == size % LARGE == 0 for start, size in ranges)
    # A kernel without large pages, or that has none free, leaves all as it is.
    assert gathered == 0 or large >= gathered - LARGE
