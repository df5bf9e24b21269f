"""Makes one batch of token rows that differ in length."""

import torch

from .training_loop import Batch

IGNORED_LABEL = -100  # the label that the loss functions of transformers leave out


def padded(rows: list[list[int]], labels: list[list[int]], pad_token_id: int) -> Batch:
    """The rows, filled up at the end to the length of the longest; the filling is masked and not learned."""
    length = max(len(row) for row in rows)

    def filled(values: list[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (length - len(row)) for row in values])

    return {
        "input_ids": filled(rows, pad_token_id),
        "attention_mask": filled([[1] * len(row) for row in rows], 0),
        "labels": filled(labels, IGNORED_LABEL),
    }
