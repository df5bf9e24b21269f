"""A process like those that replicas are forked from: imports what they do, loads and asks models, and writes down as
JSON what it found. What it says until it is told so is nothing; later words go to a file of their own.

argv: where the facts go, where later words go, an adapter, its base, and pairs of a model's folder and its head.
"""

import importlib
import json
import os
import re._compiler
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

TEXT = "The quick brown fox"
"""What the adapter goes on with."""
CLASSIFIER = "sequence-classification"
NEEDLESS = ("torch._dynamo.config", "torch._inductor", "torch.distributed.tensor")
"""What nothing imports until somebody asks for the compiler."""
found: dict[str, Any] = {}


def load_first(folder: Path) -> None:
    """Loads a model, and notes what that compiled and imported."""
    from modelyard.worker.runtimes.base import load_model

    compile_pattern, compiled = re._compiler.compile, []

    def note(*arguments: Any) -> Any:
        compiled.append(arguments)
        return compile_pattern(*arguments)

    re._compiler.compile = note
    inherited = set(sys.modules)
    load_model("transformers", folder, (CLASSIFIER,), device="cpu")
    found["patterns"] = len(compiled)
    found["imported"] = [name for name in sys.modules if name not in inherited and not name.startswith("modelyard.")]
    re._compiler.compile = compile_pattern


def ask(folder: Path, head: str) -> None:
    """Loads a model and asks it."""
    import numpy as np

    from modelyard.worker.runtimes.base import load_model

    model = load_model("transformers", folder, (head,), device="cpu")
    inputs = {"input_ids": np.array([[5, 6]]), "attention_mask": np.array([[1, 1]])}
    if head == "base":
        model.forward(inputs)
    else:
        model.generate(inputs, {"max_new_tokens": 3}, lambda _row, _tokens: False)


def look_at_scipy() -> None:
    """Who imports how much of it."""
    found["scipy"] = "scipy" in sys.modules
    importlib.import_module("modelyard.worker.runtimes.diffusers")
    from diffusers import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_lms_discrete import integrate
    from transformers.utils.import_utils import create_import_structure_from_path

    found["folders_read"] = create_import_structure_from_path.cache_info().misses
    found["needless"] = [name for name in NEEDLESS if name in sys.modules]
    found["parts_of_scipy"] = [name for name in ("scipy.stats", "scipy.integrate") if name in sys.modules]
    scheduler = DPMSolverMultistepScheduler(use_beta_sigmas=True)
    with warnings.catch_warnings(action="ignore"):
        scheduler.set_timesteps(5)
    found["sigmas"] = scheduler.sigmas.tolist()
    found["integral"] = integrate.quad(lambda value: value, 0, 2)[0]
    from transformers.models.fnet.modeling_fnet import linalg

    found["linalg"] = linalg.__name__


def merge(adapter: Path, base: Path) -> None:
    """Asks a base with an adapter in its weights."""
    from modelyard.worker.runtimes.adapters import load_adapted_model

    model = load_adapted_model(adapter, base, ("causal-lm",))
    inputs = dict(model.tokenizer(TEXT, return_tensors="np"))
    options = {"do_sample": False, "max_new_tokens": 12}
    found["adapted"] = list(model.generate(inputs, options, lambda _row, _tokens: False)[0][0].tokens)


def compile_something() -> None:
    """Puts the compiler's marks on something, and then asks for the compiler."""
    import torch

    layer = torch.nn.Linear(2, 2)
    found["taken_for_compiled"] = isinstance(layer, torch._dynamo.eval_frame.OptimizedModule)

    @torch.compiler.disable
    def marked(x: int) -> int:
        return x + 1

    @torch.compiler.disable(recursive=False)
    def marked_with_a_reason(x: int) -> int:
        return x + 1

    found["marked"] = [marked(1), marked_with_a_reason(1)]

    import torch._dynamo.config as named

    found["one_config"] = named is sys.modules["torch._dynamo.config"] and named is torch._dynamo.config
    fast = torch.compile(layer, backend="eager", fullgraph=True)
    found["compiled_alike"] = torch.equal(fast(torch.ones(2)), layer(torch.ones(2)))
    found["known_as_compiled"] = isinstance(fast, torch._dynamo.eval_frame.OptimizedModule)
    graph = torch.export.export(layer, (torch.ones(2),)).module()
    found["exported_alike"] = torch.equal(graph(torch.ones(2)), layer(torch.ones(2)))


def main() -> None:
    """See above."""
    facts, words, adapter, base, first, _, *others = sys.argv[1:]
    importlib.import_module("modelyard.worker.runtimes.preload")
    found["threads"] = [each.name for each in threading.enumerate()]
    load_first(Path(first))
    for folder, head in zip(others[::2], others[1::2], strict=True):
        ask(Path(folder), head)
    later = os.open(words, os.O_WRONLY | os.O_CREAT)
    for output in (sys.stdout, sys.stderr):
        output.flush()
        os.dup2(later, output.fileno())
    look_at_scipy()
    merge(Path(adapter), Path(base))
    compile_something()
    Path(facts).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
