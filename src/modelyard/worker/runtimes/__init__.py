"""What holds a model's weights and runs them. The only package that imports torch or transformers."""

import os

# Else importing onnxruntime starts a thread that reports to its makers, and a process with threads is not to fork.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
