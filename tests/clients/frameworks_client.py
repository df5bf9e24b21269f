"""Runs programs beside this file one after another in this process, which imports once what they share; prints what
each has printed, by its name, as JSON.

Standard input: the server's URL, the key and the cases wanted of each program, as JSON.
"""

from __future__ import annotations

import io
import json
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

given = json.load(sys.stdin)
told = {}
for program, cases in given["cases"].items():
    sys.stdin = io.StringIO(json.dumps({**given, "cases": cases}))
    with redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(Path(__file__).with_name(program)))
    told[program] = json.loads(printed.getvalue())
print(json.dumps(told))
