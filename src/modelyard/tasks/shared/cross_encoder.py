"""What a folder of a cross-encoder says beyond the model: how its output becomes a score, and how it wants its texts.

Owns reading those files, and nothing of the passes. Source: what CrossEncoder of sentence-transformers 6 writes and
reads, and what its earlier versions left in config.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelyard.errors import ModelRefused
from modelyard.tasks.model import Array
from modelyard.tasks.shared.scores import sigmoid
from modelyard.tasks.shared.sentence_folder import ACTIVATIONS, read_json

LIBRARY = "torch."
"""How the names of functions begin that a folder may ask for; where it asks for another, the usual one is applied."""


@dataclass(frozen=True, slots=True)
class CrossEncoder:
    """`activate`: from a model's output, (1,), to the score, (1,). `prompt`: goes before the query."""

    activate: Callable[[Array], Array] = sigmoid
    max_length: int | None = None
    lower_case: bool = False
    prompt: str = ""

    def prepare(self, text: str) -> str:
        """The text as the model wants it."""
        return text.lower() if self.lower_case else text


@lru_cache(maxsize=4)
def read_cross_encoder(folder: Path) -> CrossEncoder:
    """What the folder says. Raises ModelRefused for a function that is not known here."""
    own = read_json(folder / "config_sentence_transformers.json") or {}
    settings = read_json(folder / "sentence_bert_config.json") or {}
    name = find_activation(own, read_json(folder / "config.json") or {})
    kind = name.rsplit(".", 1)[-1] if name is not None and name.startswith(LIBRARY) else "Sigmoid"
    if kind not in {"Sigmoid", *ACTIVATIONS}:
        raise ModelRefused(f"The model's scores go through {kind}, which this server does not know.")
    return CrossEncoder(
        activate=sigmoid if kind == "Sigmoid" else ACTIVATIONS[kind],
        max_length=settings.get("max_seq_length"),
        lower_case=bool(settings.get("do_lower_case")),
        prompt=(own.get("prompts") or {}).get(own.get("default_prompt_name")) or "",
    )


def find_activation(own: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """The name of the function that makes a score of the output, where the present form or an earlier one gives it."""
    earlier = (config.get("sentence_transformers") or {}).get("activation_fn")
    return own.get("activation_fn") or earlier or config.get("sbert_ce_default_activation_function")
