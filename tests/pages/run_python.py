"""Runs the examples of one page, one after the other, as if they were one program. argv: the page; standard input: a
JSON list of [first line, text]."""

from __future__ import annotations

import json
import os
import sys

names = {"KEY": os.environ["KEY"], "__name__": "__main__"}
for line, text in json.load(sys.stdin):
    exec(compile("\n" * (line - 1) + text, sys.argv[1], "exec"), names)
