"""From a model on torch to an ONNX graph whose batch and length may be anything. Owns what goes in, what comes out, and
which models can be exported at all; compares nothing and shrinks nothing.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from modelyard.errors import ModelRefused
from modelyard.records.variants import Cache
from modelyard.tasks.base import Head
from modelyard.worker.runtimes.failures import first_line, is_out_of_memory
from modelyard.worker.runtimes.onnx_generation import IDS, MASK, POSITIONS, cache_names, positions_of
from modelyard.worker.runtimes.transformers import TransformersModel

log = logging.getLogger(__name__)

TEXT_INPUTS = (IDS, MASK, "token_type_ids")
PIXELS = "pixel_values"
EXPORT_ROWS, EXPORT_LENGTH, EXPORT_PAST = 2, 11, 5
"""The sizes the graph is traced with. Neither may be 1: a size of 1 is taken for a constant."""
ANY = torch.export.Dim.DYNAMIC


@dataclass(frozen=True, slots=True)
class Export:
    """How one model is exported, and asked in the same way before and after.

    `module`: takes `inputs` in this order and gives `outputs` in this order, all tensors. `cache`: of a model that
    generates. `example`: makes inputs of (rows, length), the same for the same seed; one row is padded where rows
    can be. `image_size`: a fixed height and width, where the model sees images.
    """

    head: Head
    module: torch.nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Callable[[int, int, int], list[torch.Tensor]]
    dynamic: tuple[dict[int, Any], ...]
    cache: Cache | None = None
    image_size: tuple[int, int] | None = None


def plan_export(model: TransformersModel, head: Head) -> Export:
    """How `model`, loaded under `head`, is exported. Raises ModelRefused when there is no way."""
    if model.config.get("is_encoder_decoder") and head != "base":
        raise ModelRefused(f"{kind_of(model)} models read with one half and write with the other; only models of one "
                           "part can be exported. Use the original.")  # fmt: skip
    if head == "causal-lm":
        return plan_causal(model)
    accepted = inspect.signature(model.module.forward).parameters
    if model.tokenizer is not None and IDS in accepted:
        return plan_text(model, head, tuple(name for name in TEXT_INPUTS if name in accepted))
    if model.processor is not None and PIXELS in accepted:
        return plan_images(model, head)
    raise ModelRefused(f"{kind_of(model)} models read neither text nor images alone; such a model cannot be exported. "
                       "Use the original.")  # fmt: skip


def kind_of(model: TransformersModel) -> str:
    """What to call the architecture."""
    return str(model.config.get("model_type", "such"))


def plan_text(model: TransformersModel, head: Head, inputs: tuple[str, ...]) -> Export:
    """A model that reads text in one pass."""
    names = tuple(inputs)
    if "token_type_ids" in names and "token_type_ids" not in model.tokenizer.model_input_names:
        names = tuple(name for name in names if name != "token_type_ids")

    def example(rows: int, length: int, seed: int) -> list[torch.Tensor]:
        ids, mask = random_text(model, rows, length, seed)
        segments = (torch.arange(length) > length // 2).long().expand(rows, -1) * mask
        if int(model.config.get("type_vocab_size") or 0) < 2:
            segments = torch.zeros_like(ids)
        given = {IDS: ids, MASK: mask, "token_type_ids": segments}
        return [given[name] for name in names]

    outputs = find_outputs(model, names, example(EXPORT_ROWS, EXPORT_LENGTH, 0))
    return Export(
        head, OnePass(model.module, names, outputs), names, outputs, example, ({0: ANY, 1: ANY},) * len(names)
    )


def plan_images(model: TransformersModel, head: Head) -> Export:
    """A model that sees images, at the one size that its processor makes of them."""
    sizes = {prepared_size(model, height, width) for height, width in ((48, 64), (80, 60))}
    if len(sizes) > 1:
        raise ModelRefused("The model's processor keeps images at their own shape; only models that see images of one "
                           "size can be exported. Use the original.")  # fmt: skip
    channels, height, width = sizes.pop()

    def example(rows: int, length: int, seed: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(rows, channels, height, width, generator=generator)]

    outputs = find_outputs(model, (PIXELS,), example(EXPORT_ROWS, 0, 0))
    return Export(
        head,
        OnePass(model.module, (PIXELS,), outputs),
        (PIXELS,),
        outputs,
        example,
        ({0: ANY},),
        image_size=(height, width),
    )


def prepared_size(model: TransformersModel, height: int, width: int) -> tuple[int, int, int]:
    """The (channels, height, width) that the processor makes of an image of this size."""
    pixels = model.processor(images=[np.zeros((height, width, 3), np.uint8)], return_tensors="np")[PIXELS]
    if pixels.ndim != 4:
        raise ModelRefused("The model's processor cuts images into parts; such a model cannot be exported. "
                           "Use the original.")  # fmt: skip
    return tuple(pixels.shape[1:])


def plan_causal(model: TransformersModel) -> Export:
    """A causal language model, with its cache as inputs and outputs."""
    accepted = inspect.signature(model.module.forward).parameters
    if "past_key_values" not in accepted or MASK not in accepted:
        raise ModelRefused(f"{kind_of(model)} models keep no cache of keys and values, which a variant that generates "
                           "needs. Use the original.")  # fmt: skip
    cache = measure_cache(model)
    names = (IDS, MASK, *((POSITIONS,) if POSITIONS in accepted else ()), *cache_names("past", cache.layers))

    def example(rows: int, length: int, seed: int) -> list[torch.Tensor]:
        return causal_inputs(model, cache, rows, length, EXPORT_PAST, seed, positions=POSITIONS in accepted)

    plain, layers = names[: -2 * cache.layers], 2 * cache.layers
    dynamic = (*({0: ANY, 1: ANY} for _ in plain), *({0: ANY, 2: ANY} for _ in range(layers)))
    outputs = ("logits", *cache_names("present", cache.layers))
    return Export("causal-lm", CausalStep(model.module, names), names, outputs, example, dynamic, cache=cache)


def measure_cache(model: TransformersModel) -> Cache:
    """The shape of the cache, seen after one token. Raises ModelRefused for caches that are not keys and values."""
    with torch.inference_mode():
        token = torch.ones(1, 1, dtype=torch.int64)
        found = model.module(input_ids=token, attention_mask=token, use_cache=True).past_key_values
    layers = getattr(found, "layers", ())
    shapes = {tuple(part.shape) for layer in layers for part in (layer.keys, layer.values) if part is not None}
    if len(shapes) != 1 or any(layer.keys is None for layer in layers) or len(next(iter(shapes))) != 4:
        raise ModelRefused(f"{kind_of(model)} models keep more than keys and values of one shape between tokens; such "
                           "a model cannot be exported yet. Use the original.")  # fmt: skip
    _, heads, _, width = shapes.pop()
    return Cache(len(layers), heads, width)


def causal_inputs(
    model: TransformersModel, cache: Cache, rows: int, new: int, past: int, seed: int, *, positions: bool = True
) -> list[torch.Tensor]:
    """Inputs of one step, `past` tokens after the start; beyond one row, the first is padded on the left."""
    ids, _ = random_text(model, rows, new, seed)
    mask = torch.ones(rows, past + new, dtype=torch.int64)
    if rows > 1:
        mask[0, : (past + new) // 3] = 0
    given = [ids, mask, *([positions_of(mask, new)] if positions else [])]
    return [*given, *random_cache(cache, rows, past, seed)]


def random_cache(cache: Cache, rows: int, tokens: int, seed: int) -> list[torch.Tensor]:
    """Keys and values that no model made: key, value, key, value, ..."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, cache.heads, tokens, cache.width)
    return [torch.randn(shape, generator=generator) for _ in range(2 * cache.layers)]


def random_text(model: TransformersModel, rows: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (rows, length); beyond one row, the last is padded on the right by a third."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, int(model.config["vocab_size"]), (rows, length), generator=generator)
    padding = model.tokenizer.pad_token_id
    ids[ids == padding] = (padding + 1) % int(model.config["vocab_size"])
    mask = torch.ones(rows, length, dtype=torch.int64)
    if rows > 1:
        mask[-1, length - length // 3 :] = 0
    return torch.where(mask.bool(), ids, padding), mask


def find_outputs(model: TransformersModel, names: Sequence[str], inputs: Sequence[torch.Tensor]) -> tuple[str, ...]:
    """The names of the model's outputs that are arrays, as its tasks get them."""
    given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return tuple(name for name, value in model.forward(given).items() if isinstance(value, np.ndarray))


class OnePass(torch.nn.Module):  # type: ignore[misc]  # the library is untyped
    """A model with plain tensors in a fixed order in and out."""

    def __init__(self, model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._more = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One pass."""
        found = self.model(**dict(zip(self._inputs, tensors, strict=True)), **self._more, return_dict=True)
        return tuple(found[name] for name in self._outputs)


class CausalStep(torch.nn.Module):  # type: ignore[misc]
    """One step of a causal language model: logits of the last position, and the cache with the new tokens in it."""

    def __init__(self, model: Any, inputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self._inputs = tuple(name for name in inputs if name in (IDS, MASK, POSITIONS))
        keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._more = {"logits_to_keep": 1} if keeps else {}

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One step."""
        plain = dict(zip(self._inputs, tensors, strict=False))
        cache: DynamicCache = to_export_cache(tensors[len(self._inputs) :])
        found = self.model(**plain, past_key_values=cache, use_cache=True, return_dict=True, **self._more)
        present = [part for layer in found.past_key_values.layers for part in (layer.keys, layer.values)]
        return (found.logits[:, -1:], *present)


def to_export_cache(tensors: Sequence[torch.Tensor]) -> DynamicCache:
    """The library's cache around the graph's inputs."""
    return DynamicCache(list(zip(tensors[::2], tensors[1::2], strict=True)))


def write_graph(export: Export, file: Path) -> None:
    """Exports, and writes the graph to `file` and its weights beside it. Raises ModelRefused."""
    try:
        with quiet_exporter(), torch.inference_mode():
            program = torch.onnx.export(
                export.module,
                tuple(export.example(EXPORT_ROWS, EXPORT_LENGTH, 0)),
                dynamo=True,
                dynamic_shapes=(export.dynamic,),  # one argument: the tuple of all tensors
                input_names=list(export.inputs),
                output_names=list(export.outputs),
                verbose=False,
            )
            program.save(str(file), external_data=True)
    except MemoryError:
        raise
    except Exception as error:  # the exporter raises dozens of kinds, as varied as the models
        log.exception("the export failed")
        if is_out_of_memory(error):
            raise MemoryError(first_line(error)) from error
        raise ModelRefused(f"The model cannot be exported: {reason(error)} Use the original.") from error


def reason(error: BaseException) -> str:
    """Why an export failed, from the first cause, in one line with a full stop."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = first_line(error)[:300].rstrip(".")
    return f"{type(error).__name__}: {line}."


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keeps the exporter's notes to its own developers off the log."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
