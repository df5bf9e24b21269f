"""Variants for OpenVINO made and asked in a process of its own, as the library is no part of the environment that other
tests run in.

`python -m tests.builders.openvino ORIGINAL TASK TARGET` makes TARGET of the model in ORIGINAL, loads both as workers
do, and prints `Found` as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PACKAGES = Path(sys.prefix) / "openvino-packages"
"""Where `make setup` puts the library."""
SHAPES = ((1, 3), (2, 40), (16, 11))
"""(texts, words in each), or as many pictures."""


@dataclass(frozen=True)
class Found:
    """`difference`, `versions`: as the manifest has them; `differences`: the largest of each of SHAPES, over the
    standard deviation of the original's, with one thread and with two."""

    difference: float
    versions: dict[str, str]
    differences: list[float]


def environment() -> dict[str, str]:
    """That of a process which finds the library as if it was installed."""
    assert PACKAGES.is_dir(), f"{PACKAGES} is not there; `make setup` installs it"
    paths = [os.environ.get("PYTHONPATH", ""), str(PACKAGES)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def make(original: Path, task: str, target: Path) -> Found:
    """The variant of the model in `target`, and what it answers."""
    command = [sys.executable, "-m", __name__, str(original), task, str(target)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return Found(**json.loads(done.stdout.strip().splitlines()[-1]))


def main(original: Path, task_id: str, target: Path) -> None:
    """Runs as a program."""
    from modelyard.records.variants import ExportOrder, read_manifest
    from modelyard.tasks.registry import get_task
    from modelyard.worker.runtimes.base import load_model
    from modelyard.worker.runtimes.threads import set_threads
    from modelyard.worker.variants import make_variant

    order = ExportOrder(path=str(original), task=task_id, kind="openvino", target=str(target), model_id="tests/model")
    make_variant(order, lambda _step, _message: None)
    heads = get_task(task_id).heads
    own, variant = load_model("transformers", original, heads), load_model("openvino", target, heads)
    differences = []
    for threads in (1, 2):
        set_threads(threads)
        differences += [compare(own, variant, *shape) for shape in SHAPES]
    manifest = read_manifest(target)
    print(json.dumps(asdict(Found(manifest.difference or 0.0, manifest.versions, differences))))


def compare(own: Any, variant: Any, rows: int, words: int) -> float:
    """The largest difference of two models' answers to the same, over the standard deviation of the first one's."""
    import numpy as np

    given = inputs_of(own, rows, words)
    wanted, got = own.forward(given), variant.forward(given)
    seen = given.get("attention_mask")
    worst = 0.0
    for name, values in got.items():
        both = values, wanted[name]
        if seen is not None and values.shape[:2] == seen.shape:
            both = values[seen > 0], wanted[name][seen > 0]
        worst = max(worst, float(np.abs(both[0] - both[1]).max() / both[1].std()))
    return worst


def inputs_of(model: Any, rows: int, words: int) -> dict[str, Any]:
    """Texts of about so many words, each of another length, or pictures."""
    import numpy as np

    if model.tokenizer is not None:
        texts = [" ".join(["fox", "story", "the"][(row + at) % 3] for at in range(words + row)) for row in range(rows)]
        return dict(model.tokenizer(texts, padding=True, return_tensors="np"))
    side = model.processor.size["height"]
    pixels = np.random.default_rng(rows).standard_normal((rows, 3, side, side), dtype=np.float32)
    return {"pixel_values": pixels}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
