"""Imports, for its side effect, what models without torch need, and sees to it that nothing imports torch.

For the second nursery; importing is all it may do, as in `preload`. The model library works without torch, as long as
it does not find it: then it offers configs, tokenizers and processors, which is all that is wanted here.
"""

from __future__ import annotations

import importlib
import importlib.util
import os

import modelyard.worker.runtimes.without_torch  # noqa: F401 - first of all

import numpy as np  # isort: skip

# Forks would otherwise all draw the same random numbers. (The standard library's generator sees to itself.)
os.register_at_fork(after_in_child=np.random.seed)

importlib.import_module("modelyard.worker.runtimes.listed_once")  # before the rest of the library
importlib.import_module("modelyard.worker.runtimes.onnx")
importlib.import_module("modelyard.worker.runtimes.static")
if importlib.util.find_spec("xllamacpp") is not None:  # an optional part
    importlib.import_module("modelyard.worker.runtimes.gguf")
if importlib.util.find_spec("openvino") is not None:  # another one
    importlib.import_module("modelyard.worker.runtimes.openvino").map_libraries()
importlib.import_module("transformers.tokenization_utils_tokenizers")
