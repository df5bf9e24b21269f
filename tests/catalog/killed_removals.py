"""Kills removals of a model from the hub's cache, each at another step, and reads the cache with the hub's own tools
after each; prints how many there were. A program of its own, since it forks.

    python -m tests.catalog.killed_removals FOLDER
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from huggingface_hub import scan_cache_dir, try_to_load_from_cache

from modelyard.catalog.hub_cache import HubCache
from tests.catalog.models import write_cached

CHANGES = ("os.rename", "os.remove", "os.rmdir")
SIZE_BYTES = 10


def remove_killed(cache: Path, after: int) -> bool:
    """Removes a model in a process that dies in place of the change after so many; whether it got to its end."""
    if not (child := os.fork()):
        left = after

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in CHANGES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        HubCache(cache).remove("org/a")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def check(cache: Path) -> None:
    """What was killed is whole or not to be found, and the hub's tools tell of all that is left."""
    found = scan_cache_dir(cache)
    repositories = {each.repo_id for each in found.repos}
    assert "org/b" in repositories
    if found.warnings:  # nothing is left of the one but its empty folder
        assert repositories == {"org/b"}
        assert not os.listdir(cache / "models--org--a"), found.warnings
    for name in ("weights", "more"):
        path = try_to_load_from_cache("org/a", name, cache_dir=cache)
        assert not isinstance(path, str) or Path(path).read_bytes() == b"x" * SIZE_BYTES


def main() -> None:
    cache = Path(sys.argv[1])
    write_cached(cache, "org/b", SIZE_BYTES)
    killed = 0
    while True:
        HubCache(cache).remove("org/a")
        for name in ("weights", "more"):
            write_cached(cache, "org/a", SIZE_BYTES, name)
        HubCache(cache).write_mark("org/a", "mark")
        if remove_killed(cache, killed):
            break
        check(cache)
        killed += 1
    assert set(HubCache(cache).model_ids()) == {"org/b"}
    print(killed)


main()
