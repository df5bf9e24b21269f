"""What a loaded model offers to a task, whatever runtime holds it. Arrays are numpy; no framework is named here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from modelyard.protocol import FinishReason
from modelyard.tasks.shared.thinking import Thinking
from modelyard.tasks.shared.tool_calls import Offer

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

    def forward(self, inputs: Mapping[str, Any], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        """One pass. `inputs`: the model's own argument names → arrays, or lists of them, batch first; names it does
        not take are left out. `method`: another of the model's own passes, or one of its parts (`get_image_features`,
        `vision_model`); `settings`: plain arguments to it, such as `multimask_output=False`.

        Returns the model's own output names (`logits`, `last_hidden_state`, `start_logits`, ...) → float32 arrays,
        or lists and mappings of them where the model nests; a method that gives no names gives `output`.
        """

    def postprocess(self, method: str, outputs: Any, *more: Any, **options: Any) -> Any:
        """What the processor's own `method` (`post_process_object_detection`, `post_process_masks`, ...) makes of
        `outputs`: what `forward` returned, or an array or list of arrays. Numpy and plain data in and out; `more` and
        `options` are its other arguments, without those options that it does not have.
        """

    def can_postprocess(self, method: str) -> bool:
        """Whether the processor has that `method`."""

    def generate(
        self, inputs: Mapping[str, Array], options: Mapping[str, Any], on_tokens: OnTokens
    ) -> Sequence[Sequence[GeneratedTokens]]:
        """Generates for a batch. `inputs`: `input_ids` and `attention_mask`, (rows, length) int64; causal models
        want padding on the left. Models that read more take more: `pixel_values`, `input_features`, ..., one entry per
        row (arrays that are not, such as flattened patches, go with a batch of one row); encoder-decoders may have
        those alone, or in their place `encoder_outputs`, which `EncoderDecoder.encode` has given, and
        `decoder_input_ids` to start from. `options`: generation settings by the library's names, plus `seed` and
        `stop_token_ids` (ids that end a row besides the model's own). `max_length` and `min_length` count each row's
        own prompt, as if it ran alone.

        Returns, per row, `num_return_sequences` sequences.
        `on_tokens` sees each row's tokens step by step, except under beam search or several sequences per row,
        where it is called with no tokens at each step, so that it can still end the row.
        """


class EncoderDecoder(Model, Protocol):
    """A model that reads with one part, and writes with another that looks at what the first has made.

    `shows_attention`: whether `attend` can tell where it looked.
    """

    @property
    def shows_attention(self) -> bool: ...

    def encode(self, inputs: Mapping[str, Array]) -> Array:
        """What the encoder makes of `inputs`, the model's own argument names → arrays, batch first: (rows, frames,
        width) float32. As `encoder_outputs` it stands for them in `forward`, `generate` and `attend`, so that nothing
        is read twice.
        """

    def attend(self, inputs: Mapping[str, Array], heads: Sequence[tuple[int, int]]) -> Array:
        """How much each of `heads`, (layer, head), looked at each frame of `encoder_outputs` as it read each token of
        `decoder_input_ids`: (rows, heads, tokens, frames) float32. `inputs`: these two.
        """


class Emitted(NamedTuple):
    """What a transducer has emitted for one sound: tokens, blanks among them, and by how many of the encoder's frames
    it went on with each."""

    tokens: Sequence[int]
    durations: Sequence[int]


@runtime_checkable
class HasTransducer(Protocol):
    """A model that emits tokens as it goes along a sound, where its architecture does that (RNNT, TDT)."""

    def transduce(
        self, inputs: Mapping[str, Array], settings: Mapping[str, Any], cancelled: Callable[[int], bool]
    ) -> Sequence[Emitted]:
        """What is emitted for each row. `inputs`: the model's own argument names → arrays, batch first; `settings`:
        plain arguments besides. `cancelled`: asked of each row after each token; True ends it.
        """


class Said(NamedTuple):
    """A text that a model has written and said. `sound`: (samples,) float32 from -1 to 1, `rate` of them in a second;
    None: it was too short to be said, or was not waited for."""

    written: GeneratedTokens
    sound: Array | None
    rate: int


@runtime_checkable
class HasVoices(Protocol):
    """A model that says what it writes, where its architecture does that (Qwen-Omni).

    `voices`: their names, the usual one first; none where its files hold none; None where it has no part that speaks.
    """

    @property
    def voices(self) -> Sequence[str] | None: ...

    def speak(self, inputs: Mapping[str, Array], options: Mapping[str, Any], voice: str, on_tokens: OnTokens) -> Said:
        """One text in one of `voices`, its arguments as `Model.generate` has them for one row: no beams, one sequence.
        While it is said, `on_tokens` is called with no tokens at each step, so that it can still end.
        """


class TextPrompt(NamedTuple):
    """A prompt for a model that reads text. `shown`: what the answer begins with. `field`: of the request, that holds
    it. `offer`: functions that the answer may call. `thinking`: how it marks what is thought before it; None: nothing
    is."""

    text: str
    shown: str = ""
    field: str = "text"
    offer: Offer | None = None
    thinking: Thinking | None = None


class Written(NamedTuple):
    """What a model has written to a prompt: a text, without the prompt; tokens as GeneratedTokens counts them."""

    text: str
    prompt_tokens: int
    new_tokens: int
    finish_reason: FinishReason


class WritingPlan(Protocol):
    """How texts are written. `texts`: to each prompt."""

    @property
    def texts(self) -> int: ...

    def limit_tokens(self, prompt_tokens: int, context_tokens: int) -> int:
        """Most tokens to make after a prompt, at least 1."""


OnStart = Callable[[int], None]
"""Told how many tokens a prompt has, before any is written."""


@runtime_checkable
class TextModel(Protocol):
    """One loaded model whose runtime has the tokenizer, and puts together what it is asked at once.

    `path`, `tokenizer`, `processor` and `max_length` are as in Model, but that the tokenizer only has the chat template
    and its special tokens. `slots`: texts that are written at once, at most. `context_tokens`: of all of them together,
    prompts included.
    """

    path: Path
    tokenizer: Any
    processor: Any
    max_length: int | None
    slots: int
    context_tokens: int

    def refresh(self) -> None:
        """Applies new settings of the process, such as its threads. Not while anything is being written."""

    def plan(self, params: Any) -> WritingPlan:
        """How texts are written. Raises InvalidRequest for what it cannot do."""

    def most_tokens(self, prompt: TextPrompt, plan: WritingPlan) -> int:
        """At least as many tokens as prompt and answer will have, before the prompt has been read."""

    def write(
        self, prompt: TextPrompt, plan: WritingPlan, text: int, on_start: OnStart, on_piece: Callable[[str], bool]
    ) -> Written:
        """The text number `text` to a prompt. On any thread. `on_piece` gets each piece as it is made, and nothing at
        times; it returns True to end the text now. Raises InvalidRequest, also for too long a prompt; InferenceFailed.
        """

    def embed_texts(self, texts: Sequence[str], *, normalize: bool) -> Sequence[Sequence[float]]:
        """One vector for each text, scaled to length 1 where wanted. Raises InvalidRequest for too long a text, with
        its `tokens` and the `limit`."""

    def score_documents(self, query: str, documents: Sequence[str]) -> tuple[Sequence[float], int]:
        """How well each document answers the query, as the model puts it, and how many tokens were read. Raises
        InvalidRequest as `embed_texts` does."""
