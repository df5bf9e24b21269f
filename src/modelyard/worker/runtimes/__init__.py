"""What holds a model's weights and runs them. The only package that imports torch or transformers."""

import os

from modelyard.worker.runtimes.torchvision_import import attend_to_torchvision

# Else importing onnxruntime starts a thread that reports to its makers, and a process with threads is not to fork.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Before anything here imports the model library, which imports torchvision where that is installed.
attend_to_torchvision()
