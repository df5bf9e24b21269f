"""The model of a task that needs none: a folder, and a refusal to compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from modelyard.errors import InferenceFailed
from modelyard.tasks.model import Array, GeneratedTokens, OnTokens


class NoModel:
    """A folder without a model: has a `path` and knows nothing. A task that asks it to compute is a bug."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: Mapping[str, Any] = {}
        self.labels: Mapping[int, str] = {}
        self.tokenizer: Any = None
        self.processor: Any = None
        self.max_length: int | None = None

    def forward(self, inputs: Mapping[str, Array], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        refuse()

    def postprocess(self, method: str, outputs: Any, *more: Any, **options: Any) -> Any:
        refuse()

    def can_postprocess(self, method: str) -> bool:
        return False

    def generate(
        self, inputs: Mapping[str, Array], options: Mapping[str, Any], on_tokens: OnTokens
    ) -> Sequence[Sequence[GeneratedTokens]]:
        refuse()


def refuse() -> NoReturn:
    """Raises InferenceFailed."""
    raise InferenceFailed("This task has no model to run.")
