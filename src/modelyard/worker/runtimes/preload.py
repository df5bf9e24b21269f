"""Imports, for its side effect, what nearly every boot needs, so that replicas forked from here need not, and has the
library make its table of names of weights.

That is all it may do: one tensor operation on several threads here, and every fork hangs.
"""

from __future__ import annotations

import importlib
import logging
import os

import numpy as np
import torch

# Whatever still starts threads must not start them here: forks inherit locks, but not the threads that hold them.
torch.set_num_threads(1)

# Forks would otherwise all draw the same random numbers. (The standard library's generator sees to itself.)
os.register_at_fork(after_in_child=torch.seed)
os.register_at_fork(after_in_child=np.random.seed)

FAMILIES = (
    "bart", "bert", "deberta_v2", "distilbert", "electra", "gemma2", "gemma3", "gpt2", "gpt_neo", "gpt_neox", "llama",
    "marian", "mistral", "mpnet", "opt", "phi", "phi3", "qwen2", "qwen3", "roberta", "t5", "xlm_roberta",
)  # fmt: skip
"""Architectures worth having in memory before anyone asks: the hub's most used ones. Any other is imported at boot.

diffusers is left to the boots that need it. Here it would save each of them 1.0 s (0.2 s instead of 1.2 s for a tiny
Stable Diffusion) and slow no fork, but hold up the first boot after a server's start by 1.0 s, and take 45 MB.
"""
FOR_EMPTY_MODELS = ("torch.fx.experimental.symbolic_shapes", "torch.utils._device")
"""What torch imports, sympy with it, when the first model of a process is built without weights: half a second."""

importlib.import_module("modelyard.worker.runtimes.transformers")
for module in FOR_EMPTY_MODELS:
    importlib.import_module(module)
for family in FAMILIES:
    try:
        importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    except ImportError as error:
        logging.getLogger(__name__).info("not preloaded: %s (%s)", family, error)

try:
    # A thousand patterns, compiled when a process loads its first weights: 70 ms, half of what a small model's boot
    # takes a core. The library keeps the table; any name has it made.
    conversions = importlib.import_module("transformers.conversion_mapping")
    conversions.get_checkpoint_conversion_mapping("bert")
except (ImportError, AttributeError) as error:  # a version of the library that does without
    logging.getLogger(__name__).info("not prepared: %s", error)
