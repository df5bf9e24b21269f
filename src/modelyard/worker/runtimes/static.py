"""Tables with a vector for each token, as model2vec and sentence-transformers' StaticEmbedding write them: there is no
model to run. Owns how a table lies in its files. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from transformers import PreTrainedTokenizerFast

from modelyard.errors import BootFailed, InferenceFailed, ModelRefused
from modelyard.tasks.base import Head
from modelyard.tasks.model import Array, GeneratedTokens, OnTokens
from modelyard.tasks.shared.sentence_folder import read_json, read_safetensors
from modelyard.worker.runtimes.failures import batch_errors, loading_errors
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.processors import ensure_tokenizer_pads

NAMES = ("embedding.weight", "embeddings")
"""What a table is called in its file, by sentence-transformers and by model2vec."""


def load_model(
    path: Path, heads: tuple[Head, ...], *, device: str = "auto", remote_code: bool = False, **_more: Any
) -> StaticModel:
    """The table in the folder `path`, on the CPU. `remote_code`: such folders hold none.

    Raises: ModelRefused when the files cannot be served, BootFailed when it is to lie on another device.
    """
    if device.startswith("cuda"):
        raise BootFailed(f"Device {device} was asked for, but tables of vectors stay on the CPU. Use auto or cpu.")
    if "base" not in heads:
        raise ModelRefused(f"{path.name} is a table of vectors, which offers none of: {', '.join(heads)}.")
    with loading_errors(path, "cpu"), quiet_library():
        modules = read_json(path / "modules.json")
        folder = path / modules[0]["path"] if modules else path
        table = Table(read_safetensors(folder / "model.safetensors"))
        tokenizer, max_length = read_tokenizer(folder / "tokenizer.json")
        return StaticModel(path, table, tokenizer, max_length)


def read_tokenizer(file: Path) -> tuple[Any, int | None]:
    """The tokenizer in the file, and how many tokens it reads of a text. Raises what reading it raises."""
    stored = msgspec.json.decode(file.read_bytes())
    unknown = stored["model"].get("unk_token")
    named = {} if unknown is None else {"unk_token": unknown}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), **named)
    ensure_tokenizer_pads(tokenizer)
    return tokenizer, (stored.get("truncation") or {}).get("max_length")


class Table:
    """Vectors, one for each token."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        """`tensors`: the vectors, (rows, width); where tokens share rows, which one is each token's, (tokens,); and
        where they do not count alike, how much each does, (tokens,). Raises KeyError without vectors."""
        name = next((name for name in NAMES if name in tensors), NAMES[0])
        self._vectors = tensors[name]
        self._rows = tensors.get("mapping")
        self._weights = tensors.get("weights")

    def look_up(self, tokens: Array) -> Array:
        """The vectors of ids of tokens, (..., width) float32."""
        vectors: Array = self._vectors[tokens if self._rows is None else self._rows[tokens]]
        return vectors if self._weights is None else vectors * self._weights[tokens][..., None]


class StaticModel:
    """One table; see `tasks.model.Model`."""

    def __init__(self, path: Path, table: Table, tokenizer: Any, max_length: int | None) -> None:
        """`max_length`: of a text in tokens, where its tokenizer says."""
        self.path = path
        self.config: Mapping[str, Any] = {}
        self.labels: Mapping[int, str] = {}
        self.tokenizer = tokenizer
        self.processor: Any = None
        self.max_length = max_length
        self._table = table

    def forward(self, inputs: Mapping[str, Array], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        """See `tasks.model.Model.forward`. A token's state is its vector, whatever stands around it."""
        if method != "forward" or settings:
            raise InferenceFailed(f"A table of vectors has no {method} with {settings or 'no settings'}.")
        with batch_errors(inputs):
            return {"last_hidden_state": np.asarray(self._table.look_up(inputs["input_ids"]))}

    def postprocess(self, method: str, outputs: Any, *more: Any, **options: Any) -> Any:
        """See `tasks.model.Model.postprocess`."""
        raise InferenceFailed(f"A table of vectors has no {method}.")

    def can_postprocess(self, method: str) -> bool:
        """See `tasks.model.Model.can_postprocess`."""
        return False

    def generate(
        self, inputs: Mapping[str, Array], options: Mapping[str, Any], on_tokens: OnTokens
    ) -> Sequence[Sequence[GeneratedTokens]]:
        """See `tasks.model.Model.generate`."""
        raise InferenceFailed("A table of vectors writes nothing.")
