"""Models that emit tokens as they go along a sound, RNNT and TDT: the library's loop, which ends when nobody waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from modelyard.tasks.model import Emitted


class Cancelled(StoppingCriteria):  # type: ignore[misc]  # the library is untyped
    """Ends the rows whose client has left."""

    def __init__(self, cancelled: Callable[[int], bool]) -> None:
        self._cancelled = cancelled

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """(rows,): which are to end."""
        return torch.tensor([self._cancelled(row) for row in range(len(input_ids))], device=input_ids.device)


def transduce(
    model: Any, defaults: Any, arguments: Mapping[str, Any], cancelled: Callable[[int], bool]
) -> Sequence[Emitted]:
    """What `model` emits for each row. `defaults`: its generation settings. The first token, which it starts from, is
    left out."""
    made = model.generate(**arguments, generation_config=defaults, stopping_criteria=[Cancelled(cancelled)])
    rows = zip(made.sequences[:, 1:].tolist(), made.durations[:, 1:].tolist(), strict=True)
    return [Emitted(tokens, durations) for tokens, durations in rows]
