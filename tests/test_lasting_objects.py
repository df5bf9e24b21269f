"""What replicas leave is looked through for garbage once, and then no more."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, gc, weakref
from modelyard.lasting_objects import REPLICAS_PUT_BY, LastingObjects

class Node:
    pass

def make_garbage():
    node = Node()
    node.itself = node
    return weakref.ref(node)

async def main():
    gc.disable()
    lasting, kept, garbage = LastingObjects(), [[] for _ in range(1000)], make_garbage()
    for number in range(1, REPLICAS_PUT_BY + 1):
        lasting.note_ready()
        await asyncio.sleep(0)
        if number >= REPLICAS_PUT_BY - 1:
            print(garbage() is None, any(each is kept for each in gc.get_objects()))

asyncio.run(main())
"""


def test_what_many_replicas_have_left_is_looked_through_once_and_then_no_more() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False True", "True False"]
