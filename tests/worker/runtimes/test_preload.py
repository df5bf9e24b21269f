"""What forks inherit: imported, and made ready, once."""

import subprocess
import sys
from pathlib import Path

PATTERNS = 100
"""What the first load of a process compiles is ten times as many where nobody has prepared it."""
PROGRAM = """
import re._compiler, sys, threading
from pathlib import Path
import modelyard.worker.runtimes.preload
from modelyard.worker.runtimes.base import load_model

assert threading.active_count() == 1, threading.enumerate()
compiled = []
compile_pattern = re._compiler.compile

def note(*arguments):
    compiled.append(arguments)
    return compile_pattern(*arguments)

re._compiler.compile = note
load_model("transformers", Path(sys.argv[1]), ("sequence-classification",), device="cpu")
print(len(compiled))
"""


def test_a_boot_does_not_compile_the_librarys_patterns_again(model_folder) -> None:
    folder: Path = model_folder("bert_classifier")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < PATTERNS
