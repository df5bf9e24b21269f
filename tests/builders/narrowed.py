"""ONNX graphs with weights of fewer bits, made of those with 32 by ONNX Runtime's own tools, as transformers.js and
optimum publish them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx

BLOCK = 32
"""Values that share a scale. transformers.js publishes such blocks."""


def dynamic(kind: str) -> Callable[[Path, Path], None]:
    """Weights of 8 bits, activations rounded as they come. `kind`: of QuantType."""

    def narrow(whole: Path, file: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        model = onnx.load(whole)
        del model.graph.value_info[:]  # shapes within, of which some are those before weights were folded
        quantize_dynamic(model, str(file), weight_type=QuantType[kind])

    return narrow


def half(whole: Path, file: Path) -> None:
    """Everything in 16 bits."""
    onnx.save(in_half(onnx.load(whole)), file)


def blocks(whole: Path, file: Path) -> None:
    """Matrices in 4 bits, with a scale for each block."""
    onnx.save(in_blocks(onnx.load(whole)), file)


def blocks_half(whole: Path, file: Path) -> None:
    """The same, the rest in 16 bits."""
    onnx.save(in_half(in_blocks(onnx.load(whole))), file)


def normal_floats(whole: Path, file: Path) -> None:
    """Matrices in 4 bits of bitsandbytes' kind (nf4)."""
    from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer

    quantiser = MatMulBnb4Quantizer(onnx.load(whole), quant_type=MatMulBnb4Quantizer.NF4, block_size=BLOCK)
    quantiser.process()
    onnx.save(quantiser.model.model, file)


def in_half(model: Any) -> Any:
    """The model in 16 bits, inputs and outputs included."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=False, disable_shape_infer=True)


def in_blocks(model: Any) -> Any:
    """The model with matrices in blocks of 4 bits."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantiser = MatMulNBitsQuantizer(model, block_size=BLOCK, is_symmetric=True)
    quantiser.process()
    return quantiser.model.model


NARROW: Mapping[str, Callable[[Path, Path], None]] = {
    "fp16": half,
    "int8": dynamic("QInt8"),
    "uint8": dynamic("QUInt8"),
    "q4": blocks,
    "q4f16": blocks_half,
    "bnb4": normal_floats,
}
"""Label → what makes such a graph of one in 32 bits: (whole, narrow)."""
