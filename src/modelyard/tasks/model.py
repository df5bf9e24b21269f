"""What a loaded model offers to a task, whatever runtime holds it. Arrays are numpy; no framework is named here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from modelyard.protocol import FinishReason

Array = np.ndarray[Any, np.dtype[Any]]
OnTokens = Callable[[int, Sequence[int]], bool]
"""Called on the model's thread as tokens are made: (row in the batch, that row's new token ids).

Returns True to end that row now.
"""


class GeneratedTokens(NamedTuple):
    """One sequence that a model has made.

    `tokens`: its ids, without the prompt, padding and the end token. `new_tokens`: how many were made, the end token
    included, as servers of OpenAI's shape count them. `finish_reason`: STOP for an end token, CANCELLED where
    `on_tokens` ended it, LENGTH also where the end token was forced at the most length.
    """

    tokens: Sequence[int]
    new_tokens: int
    finish_reason: FinishReason


class Model(Protocol):
    """One loaded model.

    `path` is its folder, `config` its config.json with the library's defaults filled in, `labels` its id2label,
    `tokenizer` the library's tokenizer (call it with return_tensors="np"; None when the folder has none),
    `processor` the library's processor, image processor or feature extractor (the same; None for text models),
    `max_length` the longest input in tokens when the architecture has a limit.
    """

    path: Path
    config: Mapping[str, Any]
    labels: Mapping[int, str]
    tokenizer: Any
    processor: Any
    max_length: int | None

    def forward(self, inputs: Mapping[str, Array], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        """One pass. `inputs`: the model's own argument names → arrays, batch first; names it does not take are left
        out. `method`: another of the model's own passes, or one of its parts (`get_image_features`, `vision_model`);
        `settings`: plain arguments to it, such as `multimask_output=False`.

        Returns the model's own output names (`logits`, `last_hidden_state`, `start_logits`, ...) → float32 arrays,
        or lists and mappings of them where the model nests; a method that gives no names gives `output`.
        """

    def postprocess(self, method: str, outputs: Any, *more: Any, **options: Any) -> Any:
        """What the processor's own `method` (`post_process_object_detection`, `post_process_masks`, ...) makes of
        `outputs`: what `forward` returned, or an array or list of arrays. Numpy and plain data in and out; `more` and
        `options` are its other arguments.
        """

    def can_postprocess(self, method: str) -> bool:
        """Whether the processor has that `method`."""

    def generate(
        self, inputs: Mapping[str, Array], options: Mapping[str, Any], on_tokens: OnTokens
    ) -> Sequence[Sequence[GeneratedTokens]]:
        """Generates for a batch. `inputs`: `input_ids` and `attention_mask`, (rows, length) int64; causal models
        want padding on the left. Models that read more take more: `pixel_values`, `input_features`, ..., one entry per
        row (arrays that are not, such as flattened patches, go with a batch of one row); encoder-decoders may have
        those alone, and `decoder_input_ids` to start from. `options`: generation settings by the library's names,
        plus `seed` and `stop_token_ids` (ids that end a row besides the model's own). `max_length` and `min_length`
        count each row's own prompt, as if it ran alone.

        Returns, per row, `num_return_sequences` sequences.
        `on_tokens` sees each row's tokens step by step, except under beam search or several sequences per row,
        where it is called with no tokens at each step, so that it can still end the row.
        """
