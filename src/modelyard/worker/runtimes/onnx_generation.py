"""Causal language models in ONNX format: the graph in the shape of one of the library's models, so that everything
about generation (batches, streams, stops, sampling, beams, penalties) is the torch runtime's own, unchanged.

The graph reads the cache as inputs and gives it back, grown, as outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer, DynamicCache, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast

from modelyard.errors import ModelRefused
from modelyard.records.variants import MODEL_FILE, Cache
from modelyard.worker.runtimes.onnx_published import PAST, shape_of_nothing
from modelyard.worker.runtimes.onnx_session import Session
from modelyard.worker.runtimes.processors import load_parts
from modelyard.worker.runtimes.transformers import TransformersModel, ensure_pad_token

IDS, MASK, POSITIONS = "input_ids", "attention_mask", "position_ids"
BRANCH, KEPT = "use_cache_branch", "num_logits_to_keep"
"""Of graphs that others export: whether there is a cache already, and of how many positions they give logits."""


def load_generator(path: Path, cache: Cache) -> TransformersModel:
    """The causal language model in the folder `path`. Raises what the libraries raise."""
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(path, config=config, local_files_only=True)
    module = CausalGraph(config, Session(path / MODEL_FILE, gives_back=False), cache)
    if (path / "generation_config.json").is_file():
        module.generation_config = GenerationConfig.from_pretrained(path, local_files_only=True)
    ensure_pad_token(tokenizer, module)
    return TransformersModel(path, module.eval(), tokenizer)


def load_published_generator(folder: Path, file: Path) -> TransformersModel:
    """The causal language model in `folder` by a graph that others have exported. Raises ModelRefused, and what the
    libraries raise."""
    session = Session(file, gives_back=False)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    tokenizer, _ = load_parts(folder, "causal-lm", config, remote_code=False)
    module = CausalGraph(config, session, find_cache(session, file), PAST)
    if (folder / "generation_config.json").is_file():
        module.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    ensure_pad_token(tokenizer, module)
    return TransformersModel(folder, module.eval(), tokenizer)


def find_cache(session: Session, file: Path) -> Cache:
    """The cache that a graph keeps by its own names. Raises ModelRefused when it has none, or one of another kind."""
    layers = sum(name.startswith(f"{PAST}.") for name in session.inputs) // 2
    names = {*cache_names(PAST, layers), *cache_names("present", layers)}
    unknown = [name for name in session.inputs if name not in {*names, IDS, MASK, POSITIONS, BRANCH, KEPT}]
    if not layers or unknown or not names.issubset({*session.inputs, *session.outputs}):
        what = f"has the inputs {', '.join(unknown)}" if unknown else "keeps no cache of keys and values"
        raise ModelRefused(
            f"{file.name} {what}, so that it cannot generate here. Take a graph with {PAST}, or the original weights.",
            path=str(file.parent),
        )
    _, heads, _, width = shape_of_nothing(session.shapes[f"{PAST}.0.key"], 1)
    return Cache(layers, heads, width)


def cache_names(prefix: str, layers: int) -> list[str]:
    """The graph's names for the cache: `past` going in, `present` coming out; a key and a value per layer."""
    return [f"{prefix}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


class CausalGraph(PreTrainedModel, GenerationMixin):  # type: ignore[misc]  # the library is untyped
    """A causal language model without weights: `forward` runs the graph.

    Its logits are those of the last position only, which is all that generation reads.
    """

    main_input_name = IDS
    _supports_cache_class = True

    def __init__(self, config: Any, session: Session, cache: Cache, past: str = "past") -> None:
        """`past`: how the graph calls the cache that it is given."""
        super().__init__(config)
        self._session = session
        self._past = cache_names(past, cache.layers)
        self._present = cache_names("present", cache.layers)
        self._kind = torch.from_numpy(np.empty(0, session.types[self._past[0]] or np.float32)).dtype
        self._empty = (cache.heads, 0, cache.width)

    @property
    def device(self) -> torch.device:
        """Where its inputs have to be."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return torch.float32

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """One step. `input_ids`: (rows, new tokens); `attention_mask`: (rows, tokens so far and new).

        Returns logits, (rows, 1, vocabulary), and the cache with the new tokens in it.
        """
        layers = [] if past_key_values is None else filled(past_key_values)
        rows, new = input_ids.shape
        before = layers[0].keys.shape[2] if layers else 0
        if attention_mask is None:
            attention_mask = torch.ones(rows, before + new, dtype=torch.int64)
        if position_ids is None:
            position_ids = positions_of(attention_mask, new)
        cache = [part for layer in layers for part in (layer.keys, layer.values)]
        if not cache:
            cache = [torch.empty((rows, *self._empty), dtype=self._kind)] * len(self._past)
        given = {
            IDS: input_ids,
            MASK: attention_mask,
            POSITIONS: position_ids.expand(rows, -1),
            BRANCH: torch.tensor([bool(layers)]),
            KEPT: torch.tensor(1),
            **dict(zip(self._past, cache, strict=True)),
        }
        arrays = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in given.items()}
        given_back = self._session.run({name: arrays[name] for name in self._session.inputs})
        outputs = dict(zip(self._session.outputs, given_back, strict=True))
        present = [torch.from_numpy(outputs[name]) for name in self._present]
        return CausalLMOutputWithPast(
            logits=torch.from_numpy(outputs["logits"][:, -1:]).float(),
            past_key_values=to_cache(present) if use_cache is not False else None,
        )


def filled(cache: Any) -> list[Any]:
    """The cache's layers that hold something; none before the first step."""
    return [layer for layer in cache.layers if layer.is_initialized and layer.get_seq_length()]


def positions_of(attention_mask: torch.Tensor, new: int) -> torch.Tensor:
    """The positions of the newest tokens, (rows, new), counted from each row's first that is not padding."""
    return (attention_mask.cumsum(1) - 1).clamp(min=0)[:, -new:]


def to_cache(present: list[torch.Tensor]) -> DynamicCache:
    """The library's cache around what the graph gave, without copying it: key, value, key, value, ..."""
    cache = DynamicCache()
    for key, value in zip(present[::2], present[1::2], strict=True):
        layer = DynamicLayer()
        layer.keys, layer.values = key, value
        layer.dtype, layer.device, layer.is_initialized = layer.keys.dtype, layer.keys.device, True
        cache.layers.append(layer)
    return cache
