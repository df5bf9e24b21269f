"""What forks inherit: imported, and made ready, once; and what is not imported until it is asked for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers

PATTERNS = 100
"""What the first load of a process compiles is ten times as many where nobody has prepared it."""
PROGRAM = """
import json, re._compiler, sys, threading
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
inherited = set(sys.modules)
load_model("transformers", Path(sys.argv[1]), ("sequence-classification",), device="cpu")
found = {"patterns": len(compiled)}
found["imported"] = [name for name in sys.modules if name not in inherited and not name.startswith("modelyard.")]

import modelyard.worker.runtimes.diffusers
import torch
from transformers.utils.import_utils import create_import_structure_from_path
found["folders_read"] = create_import_structure_from_path.cache_info().misses
NOT_NEEDED = ("torch._dynamo.config", "torch._inductor", "torch.distributed.tensor")
found["needless"] = [name for name in NOT_NEEDED if name in sys.modules]

layer = torch.nn.Linear(2, 2)
found["taken_for_compiled"] = isinstance(layer, torch._dynamo.eval_frame.OptimizedModule)

@torch.compiler.disable
def marked(x):
    return x + 1

@torch.compiler.disable(recursive=False)
def marked_with_a_reason(x):
    return x + 1

found["marked"] = [marked(1), marked_with_a_reason(1)]

import torch._dynamo.config as named
found["one_config"] = named is sys.modules["torch._dynamo.config"] and named is torch._dynamo.config
fast = torch.compile(layer, backend="eager", fullgraph=True)
found["compiled_alike"] = torch.equal(fast(torch.ones(2)), layer(torch.ones(2)))
found["known_as_compiled"] = isinstance(fast, torch._dynamo.eval_frame.OptimizedModule)
graph = torch.export.export(layer, (torch.ones(2),)).module()
found["exported_alike"] = torch.equal(graph(torch.ones(2)), layer(torch.ones(2)))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(model_folder) -> dict[str, Any]:
    """What a process found that has imported what forks inherit, and then loaded, compiled and exported a model."""
    folder: Path = model_folder("bert_classifier")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_a_boot_does_not_compile_the_librarys_patterns_again(found) -> None:
    assert found["patterns"] < PATTERNS


def test_a_boot_imports_nothing_of_the_libraries(found) -> None:
    assert found["imported"] == []


def test_the_librarys_models_are_listed_once(found) -> None:
    models = Path(transformers.__file__).parent / "models"
    assert found["folders_read"] < 1.5 * len(list(models.iterdir()))


def test_no_boot_imports_the_compiler(found) -> None:
    assert found["needless"] == []
    assert not found["taken_for_compiled"]
    assert found["marked"] == [2, 2]


def test_what_asks_for_the_compiler_gets_it(found) -> None:
    assert found["one_config"]
    assert found["compiled_alike"]
    assert found["known_as_compiled"]
    assert found["exported_alike"]
