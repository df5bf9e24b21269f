"""What a loaded model offers to a scheduler whose rows come and go between any two tokens. No framework is named here.

A row is a prompt and what was written to it. It is opened, read (its tokens go through the model, a piece at a time),
then stepped (one token at a time), and released.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from modelyard.protocol import CacheUse


class TokenPlan(Protocol):
    """How tokens are chosen for one request. `sequences`: rows to each prompt. `ends`: ids that end a row.
    `forces_end`: the last token at the most length is an end token, whatever the model wanted. `max_time_s`: after
    which a row ends.
    """

    @property
    def sequences(self) -> int: ...
    @property
    def ends(self) -> frozenset[int]: ...
    @property
    def forces_end(self) -> bool: ...
    @property
    def max_time_s(self) -> float | None: ...

    def limit_tokens(self, prompt_tokens: int) -> int:
        """Most tokens to write after a prompt, at least 1."""


class TokenRow(Protocol):
    """One row. `unread`: tokens of it that are yet to be read before it can be stepped; 0 once it is stepped. `spared`:
    tokens of its prompt that were not read for it, since another row had begun with the same."""

    @property
    def unread(self) -> int: ...
    @property
    def spared(self) -> int: ...


Rows = Sequence[TokenRow]
"""The rows of one prompt, which are read and stepped together."""


class TokenScore(NamedTuple):
    """How likely a token was by the model itself, before settings changed that: natural logarithms. `top`: the
    likeliest tokens at its place and theirs, best first."""

    logprob: float
    top: Sequence[tuple[int, float]] = ()


class Chosen(NamedTuple):
    """The token that was chosen for a row, which is part of it from now on; or the error that the row met alone.
    `score`: where it was asked for."""

    row: TokenRow
    token: int = -1
    error: Exception | None = None
    score: TokenScore | None = None


class Failed(NamedTuple):
    """Rows that went through the model together and met an error, which may be any one's. They have been set back: what
    was read of them is forgotten, and they are to be read again."""

    rows: Sequence[TokenRow]
    error: Exception


class TokenModel(Protocol):
    """The rows of one model. On the model's thread only, but for `cache_use`."""

    def cache_use(self) -> CacheUse | None:
        """What rows have of the memory for their caches; None before any was read. On any thread, where it may be of
        the moment before."""

    def find_plan(self, options: Mapping[str, Any]) -> TokenPlan | None:
        """How tokens are chosen by these settings, which are those of `Model.generate`; None: not for rows that come
        and go. Raises InvalidRequest.

        One more than there: `logprobs`, how many of the likeliest tokens a `TokenScore` has.
        """

    def open_rows(self, ids: Sequence[int], plan: TokenPlan, model: Any = None) -> Rows:
        """The rows of one prompt. Nothing is computed yet. `model`: whose answer they are, this one's with an
        adapter beside its weights; None: its own."""

    def has_room(self, prompts: Sequence[Rows]) -> bool:
        """Whether what these rows will hold once they were read fits beside what is held. Always true of one prompt
        where nothing is held."""

    def is_being_read(self, rows: Rows) -> bool:
        """Whether much of a prompt that is not read at all is just being read for another one, and need not be again
        once that has been read."""

    def read(self, prompts: Sequence[Rows], most_tokens: int) -> Sequence[Chosen | Failed]:
        """Reads on in rows that are not stepped yet: of one prompt at most so many tokens, of several all of each.

        Returns the first tokens of those that were read to their end; they are stepped from now on.
        """

    def step(self) -> Iterable[Chosen | Failed]:
        """Chooses the next token of every row that was read. Each is there as soon as its rows have been through the
        model, which others may still have before them; rows may be released meanwhile."""

    def can_step(self) -> bool:
        """Whether the next step fits into the memory that there is for all rows. True of one prompt's rows alone."""

    def set_back(self, rows: Rows) -> None:
        """Forgets what was read of rows, which are to be read again. Of those that hold nothing: does nothing."""

    def release(self, rows: Sequence[TokenRow]) -> None:
        """Ends rows, in whatever state they are. What was read of them may be kept for prompts that begin alike."""


@runtime_checkable
class HasTokenModel(Protocol):
    """A loaded model that may be written with token by token."""

    def find_token_model(self, reserved_bytes: int | None = None) -> TokenModel | None:
        """Its rows; None where its architecture does not allow them to come and go. `reserved_bytes`: what is set aside
        for the process, weights included, which their caches stay within; None: not told."""
