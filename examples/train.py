"""Trains the example models from nothing and writes them as Hugging Face-format model folders.

Run `python examples/train.py` for all three (about 20 minutes on one CPU core) or
`python examples/train.py --only tiny-reviews` for one of them.
"""

import argparse
import time
from pathlib import Path

import torch
from transformers.utils import logging

from training import chat_model, reviews_model, stories_model

BUILDERS = {model.NAME: model.build for model in (stories_model, chat_model, reviews_model)}
DEFAULT_OUT = Path(__file__).parent / "models" / "modelyard"
# One thread makes the sums, and so the weights, independent of how many cores the machine has.
THREADS = 1


def main() -> None:
    """Train the models that the command line asks for."""
    arguments = _parse_arguments()
    torch.set_num_threads(THREADS)
    logging.set_verbosity_error()  # its advice on padding and loss types does not concern these models
    logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    names = [arguments.only] if arguments.only else list(BUILDERS)
    for name in names:
        print(f"{name}: training with seed {arguments.seed}", flush=True)
        started = time.monotonic()
        BUILDERS[name](arguments.out, arguments.seed)
        print(f"{name}: done in {time.monotonic() - started:.0f} s", flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train the example models from nothing, on text that grammars in examples/training generate."
    )
    parser.add_argument("--only", choices=BUILDERS, metavar="NAME", help=f"train one model: {', '.join(BUILDERS)}")
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="folder that gets one folder per model (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and the weights (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
