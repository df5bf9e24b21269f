"""From an exported graph to one that runs faster: folded, and with weights of 8 bits. Judges nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from modelyard.records.variants import DATA_FILE

MULTIPLICATIONS = ("MatMul", "Gemm")
EMBEDDINGS = ("Gather",)
SMALL_TENSOR_BYTES = 1024
"""Smaller tensors stay in the graph."""


def fold(source: Path, target: Path) -> None:
    """Computes once what does not depend on the inputs. Without it a weight that is used transposed, as GPT-2's
    output layer is, does not look like a weight to the quantiser."""
    quant_pre_process(
        str(source),
        str(target),
        skip_symbolic_shape=True,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        external_data_location=target.name + ".data",
        external_data_size_threshold=SMALL_TENSOR_BYTES,
    )


def quantise(source: Path, target: Path, *, embeddings: bool) -> None:
    """Weights of multiplications as 8 bits, one scale per channel; activations are scaled as they come.

    `embeddings`: those too, with one scale per table; they are most of a small model.
    """
    model = onnx.load(source)
    # The shapes noted in the graph are the exported ones; the quantiser would believe them at every other shape.
    del model.graph.value_info[:]
    quantize_dynamic(
        model,
        str(target),
        op_types_to_quantize=[*MULTIPLICATIONS, *(EMBEDDINGS if embeddings else ())],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
    )


def store(source: Path, folder: Path, name: str) -> None:
    """Writes the graph into `folder` under `name`, its weights in one file beside it."""
    onnx.save(
        onnx.load(source),
        folder / name,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=DATA_FILE,
        size_threshold=SMALL_TENSOR_BYTES,
    )
