"""From an exported graph to one that runs faster: folded, and with weights of 8 bits. Judges nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from modelyard.records.variants import DATA_FILE
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.onnx_session import Session

MULTIPLICATIONS = ("MatMul", "Gemm")
EMBEDDINGS = ("Gather",)
SMALL_TENSOR_BYTES = 1024
"""Smaller tensors stay in the graph."""
STEPS_8_BIT = 255
BLOCK = 64
"""Values that share a scale, where those of a whole row or channel cannot. Half as many: no nearer, a tenth slower."""
INT8_PRODUCTS = 4
"""What the library calls the kind of product where both sides are of 8 bits."""


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


def measure_coarseness(source: Path, inputs: Iterable[Mapping[str, Array]]) -> dict[str, float]:
    """Of each multiplication by weights, how coarse 8 bits are for what it multiplies: the error of rounding, squared,
    as a share of a token's mean square, the median token's of each of the graph's `inputs`, averaged over them.

    All tokens share one scale, so that a single large value makes all others coarse; trained models have such values
    in few places. Above 0.01 the result is off by a tenth.
    """
    model = onnx.load(source, load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    read = {
        node.name: node.input[0]
        for node in model.graph.node
        if node.op_type in MULTIPLICATIONS and node.input[1] in weights and node.name
    }
    outputs = len(model.graph.output)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(read.values()))
    tapped = source.with_name(f"tapped-{source.name}")  # beside the weights
    onnx.save(model, tapped)
    session = Session(tapped)
    found: dict[str, list[float]] = {name: [] for name in session.outputs[outputs:]}
    for given in inputs:
        for name, values in zip(
            found, session.run({name: given[name] for name in session.inputs})[outputs:], strict=True
        ):
            found[name].append(coarseness(values))
    tapped.unlink()
    return {node: float(np.mean(found[name])) for node, name in read.items()}


def coarseness(values: Array) -> float:
    """The squared error of rounding values, (..., tokens, width), to 8 bits, as a share of the median token's."""
    step = (max(float(values.max()), 0.0) - min(float(values.min()), 0.0)) / STEPS_8_BIT
    typical = float(np.median(np.square(values).mean(axis=-1)))
    return step**2 / 12 / typical if typical else 0.0


def plan_blocks(coarseness: Mapping[str, float], most: float) -> frozenset[str]:
    """The multiplications that need scales for blocks: the coarsest, until what the others have is `most` in all.

    The errors of one layer are the next one's inputs, so they add up.
    """
    left = sum(coarseness.values())
    blocks = set()
    for name, coarse in sorted(coarseness.items(), key=lambda each: -each[1]):
        if left <= most:
            break
        blocks.add(name)
        left -= coarse
    return frozenset(blocks)


def quantise(source: Path, target: Path, *, blocks: Collection[str] = ()) -> None:
    """Weights as 8 bits: of multiplications, with a scale per channel, while what they multiply gets one as it comes;
    of embeddings, with one per table. Those named in `blocks` have scales for BLOCK values on both sides instead."""
    model = onnx.load(source)
    # The shapes noted in the graph are the exported ones; the quantiser would believe them at every other shape.
    del model.graph.value_info[:]
    quantize_dynamic(
        model,
        str(target),
        op_types_to_quantize=[*MULTIPLICATIONS, *EMBEDDINGS],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
        nodes_to_exclude=sorted(blocks),
    )
    if blocks:
        quantise_blocks(target)


def quantise_blocks(file: Path) -> None:
    """Gives every multiplication by weights of 32 bits in `file` weights of 8 bits in blocks."""
    with kept_logging():
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    model = onnx.load(file)
    quantiser = MatMulNBitsQuantizer(model, bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_PRODUCTS)
    quantiser.process()
    for old in (file, file.with_name(f"{file.name}.data")):
        old.unlink(missing_ok=True)  # its weights would be added to, not replaced
    quantiser.model.save_model_to_file(str(file), use_external_data_format=True)


@contextmanager
def kept_logging() -> Iterator[None]:
    """Undoes what an import does to the log: the library's module makes every logger of the process tell everything."""
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


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
