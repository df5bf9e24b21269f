"""Graphs that others have exported to ONNX, held by ONNX Runtime: what goes in and comes out is told by its names.

Owns the names that are in use. Models that answer in one pass need no torch; those that generate are in
`onnx_generation`, which does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig

from modelyard.errors import ModelRefused
from modelyard.records.onnx_graphs import ENCODER
from modelyard.tasks.base import Head
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.sentence_folder import read_head
from modelyard.worker.runtimes.failures import loading_errors
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.onnx import OnnxModel, check_on_cpu
from modelyard.worker.runtimes.onnx_session import Session
from modelyard.worker.runtimes.processors import ensure_tokenizer_pads, load_parts

STATES, SENTENCE = ("last_hidden_state", "token_embeddings"), ("sentence_embedding", "image_embeds", "pooler_output")
"""Names of what an encoder gives: a vector for each place, or one for all."""
PAST = "past_key_values"
"""How the inputs of a cache are called: `past_key_values.0.key`, ..."""
NEEDED: Mapping[Head, tuple[str, ...]] = {
    "base": (*STATES, *SENTENCE),
    "question-answering": ("start_logits",),
    "object-detection": ("pred_boxes",),
    "zero-shot-image-classification": ("logits_per_image",),
}
"""Head → outputs of which a graph has one at least, where that is not `logits`."""


def load_model(
    file: Path, heads: tuple[Head, ...], *, context_tokens: int | None, device: str = "auto", slots: int | None = None
) -> Model:
    """The graph in `file`, or that encoder with its decoder, on the CPU, under the first of `heads`. `context_tokens`:
    that a text may have, where the model reads it in one pass. `slots`: of no use to it.

    Raises: ModelRefused when the files cannot be served, BootFailed when loading failed.
    """
    check_on_cpu(device, "ONNX files")
    folder = find_folder(file)
    with loading_errors(folder, "cpu"), quiet_library():
        if "causal-lm" in heads:
            from modelyard.worker.runtimes.onnx_generation import load_published_generator

            return load_published_generator(folder, file)
        if file.name.startswith(ENCODER):
            from modelyard.worker.runtimes.onnx_seq2seq import load_published_seq2seq

            return load_published_seq2seq(folder, file, heads[0])
        if "object-detection" in heads:
            from modelyard.worker.runtimes.onnx_detection import load_published_detector

            return load_published_detector(folder, file)
        head: Head = "ctc" if "ctc" in heads else heads[0]
        return load_one_pass(folder, file, head, context_tokens)


def find_folder(file: Path) -> Path:
    """The folder with the model's other files: that of the graph, or the one above."""
    return file.parent if (file.parent / "config.json").is_file() else file.parent.parent


def load_one_pass(
    folder: Path, file: Path, head: Head, max_length: int | None, kind: type[PublishedOnnxModel] | None = None
) -> PublishedOnnxModel:
    """A model that answers in one pass, of that `kind`. Raises ModelRefused, and what the libraries raise."""
    session = Session(file)
    needed = NEEDED.get(head, ("logits",))
    if not set(needed).intersection(session.outputs):
        raise ModelRefused(
            f"{file.name} gives {', '.join(session.outputs)}, and {head} needs {' or '.join(needed)}. "
            "Take a graph that was exported for this task.",
            path=str(folder),
        )
    if head == "base" and not set(STATES).intersection(session.outputs) and read_head(folder).layers:
        raise ModelRefused(
            f"{file.name} gives no vector for each token, which this model's own layers after it read. "
            "Take its original weights.",
            path=str(folder),
        )
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    tokenizer, processor = load_parts(folder, head, config, remote_code=False)
    if tokenizer is not None:
        ensure_tokenizer_pads(tokenizer)
    return (kind or PublishedOnnxModel)(folder, max_length, config, session, tokenizer, processor)


class PublishedOnnxModel(OnnxModel):
    """One graph without a cache; see `tasks.model.Model`."""

    def forward(self, inputs: Mapping[str, Array], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        """See `tasks.model.Model.forward`. What an encoder gives is called as transformers calls it."""
        return name_outputs(super().forward(inputs, method=method, **settings))

    def assume(self, name: str, inputs: Mapping[str, Array]) -> Array:
        """What stands for an input that the task does not give: of a decoder, places and nothing before the text."""
        ids = inputs.get("input_ids")
        if ids is not None and name == "position_ids":
            mask = inputs.get("attention_mask", np.ones_like(ids))
            places: Array = np.maximum(mask.cumsum(1) - 1, 0)
            return places
        if ids is not None and name.startswith(f"{PAST}."):
            return np.zeros(shape_of_nothing(self._session.shapes[name], len(ids)), np.float32)
        return super().assume(name, inputs)


def name_outputs(outputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """The outputs under transformers' names, in 32 bits where they are floats."""
    wide = {name: widen(array) for name, array in outputs.items()}
    for ours, others in (("last_hidden_state", STATES), ("pooler_output", SENTENCE)):
        found = next((name for name in others if name in wide), None)
        if found is not None:
            wide.setdefault(ours, wide[found])
    return wide


def widen(array: Array) -> Array:
    """Half floats in 32 bits, anything else as it is."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def shape_of_nothing(shape: Sequence[int | str | None], rows: int) -> tuple[int, ...]:
    """The shape of a cache, (rows, heads, tokens, width), that holds nothing yet. Raises ModelRefused for others."""
    if len(shape) != 4 or not isinstance(shape[1], int) or not isinstance(shape[3], int):
        raise ModelRefused(f"The graph's cache has the shape {list(shape)}, which is not (rows, heads, tokens, width).")
    return rows, shape[1], 0, shape[3]
