"""Encoder-decoders exported to ONNX as optimum and transformers.js publish them: one graph that reads, two that write,
and those two merged into one.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper
from transformers import (
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    DynamicCache,
    EncoderDecoderCache,
)
from transformers.models.moonshine.modeling_moonshine import MoonshineEncoderModelOutput

from tests.builders.narrowed import NARROW

SOURCES: Mapping[str, tuple[Any, torch.Tensor]] = {
    "t5": (AutoModelForSeq2SeqLM, torch.full((2, 7), 5)),
    "bart": (AutoModelForSeq2SeqLM, torch.full((2, 7), 5)),
    "marian": (AutoModelForSeq2SeqLM, torch.full((2, 7), 5)),
    "whisper": (AutoModelForSpeechSeq2Seq, torch.zeros(2, 16, 200)),
    "moonshine": (AutoModelForSpeechSeq2Seq, torch.zeros(2, 4000)),
    "vit_gpt2": (AutoModelForImageTextToText, torch.zeros(2, 3, 32, 32)),
}
"""Family → the library's class, and two rows of what it reads."""
NAMES = {2: "input_values", 3: "input_features", 4: "pixel_values"}
"""What the source is called that has so many dimensions and is no text."""
COMPILED = ("moonshine",)
"""What torch exports only once it has compiled it."""
ENCODER, FIRST, LATER, MERGED = "encoder_model", "decoder_model", "decoder_with_past_model", "decoder_model_merged"
ROWS, TOKENS, BEFORE, LENGTH = 2, 3, 5, 7
"""The sizes that graphs are traced with; all differ, so that none is taken for another."""


class Reading(torch.nn.Module):  # type: ignore[misc]  # the library is untyped
    """The encoder, from what it reads to its states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.get_encoder()

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """`tensors`: the source and, of texts, which of it is no padding."""
        source, *mask = tensors
        return self.encoder(source, **({"attention_mask": mask[0]} if mask else {}), return_dict=True).last_hidden_state


class Writing(torch.nn.Module):  # type: ignore[misc]  # the library is untyped
    """The decoder with its output layer: the first tokens without a cache, later ones with one."""

    def __init__(self, model: Any, *, later: bool, masked: bool) -> None:
        super().__init__()
        self.model = model
        self._later, self._masked = later, masked

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """`tensors`: ids, the encoder's states, the source's mask; of later tokens also the cache, four to a layer."""
        ids, states, mask, *past = tensors
        layers = [past[each : each + 4] for each in range(0, len(past), 4)]
        caches = (DynamicCache([layer[:2] for layer in layers]), DynamicCache([layer[2:] for layer in layers]))
        found = self.model(
            decoder_input_ids=ids,
            encoder_outputs=MoonshineEncoderModelOutput(states),
            past_key_values=EncoderDecoderCache(*caches) if self._later else None,
            use_cache=True,
            return_dict=True,
            **({"attention_mask": mask} if self._masked else {}),
        )
        kept = found.past_key_values
        own, of_source = kept.self_attention_cache.layers, kept.cross_attention_cache.layers
        present = []
        for text, source in zip(own, of_source, strict=True):
            present += [text.keys, text.values, *([] if self._later else [source.keys, source.values])]
        return found.logits, *present


def publish_pair(family: str, source: Path, target: Path) -> None:
    """Exports the model of `family` in `source` into `target`/onnx, with its other files beside that."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    (target / "onnx").mkdir()
    kind, example = SOURCES[family]
    reads = NAMES[example.dim()] if example.is_floating_point() else "input_ids"
    model = kind.from_pretrained(source, attn_implementation="eager").eval()
    text = reads == "input_ids"
    given = [example, torch.ones_like(example)] if text else [example]
    names = [reads, "attention_mask"] if text else [reads]
    sizes = [[0, 1] if example.dim() == 2 else [0]] * len(given)
    write(target, ENCODER, Reading(model), given, names, ["last_hidden_state"], sizes)
    with torch.inference_mode():
        states = Reading(model)(*given)
        mask = torch.ones(states.shape[:2], dtype=torch.int64)
        start = torch.ones(ROWS, TOKENS, dtype=torch.int64)
        _, *present = Writing(model, later=False, masked=text)(start, states, mask)
    layers = len(present) // 4
    parts = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")
    cache = [f"{layer}.{part}" for layer in range(layers) for part in parts]
    own = [name for name in cache if ".decoder." in name]
    plain = ["input_ids", "encoder_hidden_states", "encoder_attention_mask"]
    dynamic = [[0, 1]] * 3
    logits = ["logits"]
    write(target, FIRST, Writing(model, later=False, masked=text), [start, states, mask], plain,
          logits + [f"present.{name}" for name in cache], dynamic)  # fmt: skip
    past = [torch.randn(ROWS, each.shape[1], BEFORE if ".decoder." in name else each.shape[2], each.shape[3])
            for name, each in zip(cache, present, strict=True)]  # fmt: skip
    write(target, LATER, Writing(model, later=True, masked=text), [start[:, :2], states, mask, *past],
          [*plain, *(f"past_key_values.{name}" for name in cache)],
          logits + [f"present.{name}" for name in own], dynamic + [[0, 2]] * len(cache))  # fmt: skip
    merge(target / "onnx", "")


def narrow(folder: Path, label: str) -> None:
    """Makes the graphs in `folder` once more with weights of fewer bits."""
    for name in (ENCODER, FIRST, LATER):
        NARROW[label](folder / f"{name}.onnx", folder / f"{name}_{label}.onnx")
    merge(folder, f"_{label}")


def write(
    target: Path,
    name: str,
    module: Any,
    given: list[Any],
    inputs: list[str],
    outputs: list[str],
    dynamic: list[list[int]],
) -> None:
    """Exports one graph, without the inputs that it does not use: as optimum does, by running the model once, which is
    several times quicker than to compile it. `dynamic`: which of each input's sizes may be others."""
    file = target / "onnx" / f"{name}.onnx"
    if target.name in COMPILED:
        shapes = tuple(dict.fromkeys(sizes, torch.export.Dim.DYNAMIC) for sizes in dynamic)
        how: dict[str, Any] = {"dynamo": True, "dynamic_shapes": (shapes,), "external_data": False, "verbose": False}
    else:
        how = {"dynamo": False, "dynamic_axes": dict(zip(inputs, dynamic, strict=True))}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, tuple(given), file, input_names=inputs, output_names=outputs, **how)
    model = onnx.load(file)
    used = {each for node in model.graph.node for each in node.input}
    for value in [each for each in model.graph.input if each.name not in used]:
        model.graph.input.remove(value)
    del model.graph.value_info[:]
    onnx.save(model, file)


def merge(folder: Path, ending: str) -> None:
    """Makes one graph of the two that write, which chooses between them by `use_cache_branch`. The one that goes on
    gives nothing for the cache of the source, as in optimum's."""
    first, later = (onnx.load(folder / f"{name}{ending}.onnx") for name in (FIRST, LATER))
    inputs = {value.name: value for model in (first, later) for value in model.graph.input}
    outputs = [loose(value) for value in first.graph.output]
    names = [value.name for value in outputs]
    types = {value.name: value.type.tensor_type.elem_type for value in outputs}
    given = {value.name for value in later.graph.output}
    for name in names:
        if name not in given:
            nothing = helper.make_tensor(f"{name}.nothing", types[name], [0, 1, 1, 1], [])
            later.graph.node.append(helper.make_node("Constant", [], [name], value=nothing))
            later.graph.output.append(helper.make_tensor_value_info(name, types[name], [0, 1, 1, 1]))
    for word, model in (("then", later), ("else", first)):
        prefix(model, word, set(inputs))
        del model.graph.input[:]
        by_name = {value.name: value for value in model.graph.output}
        del model.graph.output[:]
        model.graph.output.extend(by_name[f"{word}.{name}"] for name in names)
    branch = helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1])
    node = helper.make_node("If", [branch.name], names, then_branch=later.graph, else_branch=first.graph)
    graph = helper.make_graph([node], "merged", [*inputs.values(), branch], outputs)
    opsets = {each.domain: each for model in (first, later) for each in model.opset_import}
    merged = helper.make_model(graph, opset_imports=list(opsets.values()))
    merged.ir_version = first.ir_version
    onnx.save(merged, folder / f"{MERGED}{ending}.onnx")


def loose(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """The value without its sizes, which are not the same in both branches."""
    kind = value.type.tensor_type
    return helper.make_tensor_value_info(value.name, kind.elem_type, [None] * len(kind.shape.dim))


def prefix(model: onnx.ModelProto, word: str, kept: set[str]) -> None:
    """Gives all names but `kept` that word in front, so that two graphs can be one."""

    def named(names: Sequence[str]) -> list[str]:
        return [each if not each or each in kept else f"{word}.{each}" for each in names]

    for graph_node in model.graph.node:
        graph_node.input[:], graph_node.output[:] = named(graph_node.input), named(graph_node.output)
        graph_node.name = f"{word}.{graph_node.name}"
    for value in (*model.graph.output, *model.graph.initializer):
        (value.name,) = named([value.name])
