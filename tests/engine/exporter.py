"""A program that makes variants without a model library: the original's configuration, facts, and something in place of
weights are all they have."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EXPORTER = (sys.executable, __file__)
"""The command that LocalEngine takes as `exporter`."""
MADE_UP = {"parameters": 1, "logit_error": 0.0, "bound": 1.0, "difference": 0.0}


def copy_config(order: Mapping[str, Any], target: Path) -> dict[str, Any]:
    """Makes a variant in `target`, which must not be there; its facts. Raises FileNotFoundError without a config."""
    config = Path(order["path"]) / "config.json"
    manifest = {"variant_of": order["model_id"], "kind": order["kind"], "task": order["task"], "head": "base"}
    content = config.read_bytes()
    target.mkdir(parents=True)
    (target / config.name).write_bytes(content)
    for name in ("model.onnx", "model.onnx.data"):
        (target / name).write_bytes(b"weights")
    made_of = {"original_mark": order["mark"], "versions": {}}
    (target / "variant.json").write_text(json.dumps({**manifest, **MADE_UP, **made_of}))
    return MADE_UP


def main() -> None:
    """Reads an order from standard input and writes its steps and facts, one JSON object a line."""
    order = json.load(sys.stdin)
    config = Path(order["path"]) / "config.json"
    if not config.is_file():
        print(json.dumps({"failed": f"{order['model_id']} has no config.json"}))
        sys.exit(1)
    print(json.dumps({"step": "exporting", "message": f"Copying with {order['threads']} threads"}), flush=True)
    print(json.dumps({"done": copy_config(order, Path(order["target"]))}))


if __name__ == "__main__":
    main()
