"""A program that makes variants without a model library: the original's configuration is all it copies."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

EXPORTER = (sys.executable, __file__)
"""The command that LocalEngine takes as `exporter`."""


def main() -> None:
    """Reads an order from standard input and writes its steps and facts, one JSON object a line."""
    order = json.load(sys.stdin)
    config = Path(order["path"]) / "config.json"
    if not config.is_file():
        print(json.dumps({"failed": f"{order['model_id']} has no config.json"}))
        sys.exit(1)
    print(json.dumps({"step": "exporting", "message": f"Copying with {order['threads']} threads"}), flush=True)
    target = Path(order["target"])
    target.mkdir(parents=True)
    shutil.copyfile(config, target / config.name)
    print(json.dumps({"done": {"parameters": 1}}))


if __name__ == "__main__":
    main()
