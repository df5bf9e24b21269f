"""Models exported to ONNX, as optimum and transformers.js publish them: made of the variants that are made here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx

PAST = {"past.": "past_key_values."}


def publish(
    variant: Path,
    target: Path,
    name: str = "onnx/model.onnx",
    renamed: Mapping[str, str] = PAST,
    *,
    branch: bool = False,
    half_cache: bool = False,
) -> Path:
    """Puts the graph of `variant` into `target` under `name`, its weights beside it, with the files of the original.

    `renamed`: how names of inputs and outputs begin → what stands there instead. `branch`: with the input by which a
    merged decoder is told whether it has a cache. `half_cache`: with caches in 16 bits.
    """
    shutil.copytree(variant, target, ignore=shutil.ignore_patterns("variant.json", "*.onnx*"), dirs_exist_ok=True)
    model = onnx.load(variant / "model.onnx")
    graph = model.graph
    names = {
        value.name: new + value.name.removeprefix(old)
        for value in (*graph.input, *graph.output)
        for old, new in renamed.items()
        if value.name.startswith(old)
    }
    for node in graph.node:
        for each in (node.input, node.output):
            each[:] = [names.get(value, value) for value in each]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    if half_cache:
        keep_cache_in_half(graph)
    if branch:
        graph.input.append(onnx.helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1]))
    file = target / name
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, file, save_as_external_data=True, location=f"{file.name}_data", size_threshold=1024)
    return target


def keep_cache_in_half(graph: onnx.GraphProto) -> None:
    """Has the graph take and give its cache in 16 bits; in between it computes in 32."""
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for value in graph.input:
        if value.name.startswith("past"):
            value.type.tensor_type.elem_type = half
            for node in graph.node:
                node.input[:] = [f"{each}.wide" if each == value.name else each for each in node.input]
            graph.node.insert(0, onnx.helper.make_node("Cast", [value.name], [f"{value.name}.wide"], to=full))
    for value in graph.output:
        if value.name.startswith("present"):
            value.type.tensor_type.elem_type = half
            for node in graph.node:
                for each in (node.input, node.output):
                    each[:] = [f"{name}.wide" if name == value.name else name for name in each]
            graph.node.append(onnx.helper.make_node("Cast", [f"{value.name}.wide"], [value.name], to=half))
