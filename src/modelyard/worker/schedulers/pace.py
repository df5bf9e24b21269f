"""How much of a prompt is read between two steps, so that rows that are being written hardly wait for it. Pure."""

from __future__ import annotations

IDLE_TOKENS = 512
"""Read at once while nothing is being written: more would only keep a request that comes meanwhile waiting, and one
that is cancelled running."""
GROUP_TOKENS = 128
"""Of several short prompts together, each in one piece, whatever is being written. Sixteen prompts of 30 tokens cost
145 ms of CPU when all are read at once, 172 in two groups, 186 in four (27M parameters, one thread): larger groups for
speed, smaller ones for the first tokens. Of sixteen clients with 32 tokens each, the first token comes after 45 to 48
ms in groups of four prompts and 97 in groups of ten, with as many tokens in a second (598 to 621, and 606)."""
UNSEEN_TOKENS = IDLE_TOKENS
"""The same while nobody streams: then only the last token counts."""
WHOLE_TOKENS = 48
"""A prompt of so few tokens is read in one piece, which costs less than two."""
FEWEST_TOKENS = 16
"""A piece has so many at least: a pass of fewer takes hardly less time."""
PAUSE_STEPS = 1.5
"""A piece may take as long as so many steps, while no more prompts wait than are being written. With the step behind it
a row then waits for two and a half, of the four that are allowed: times vary."""
NEWEST_SHARE = 0.3
"""How much the newest measurement counts, against all before it."""
MOST_RISE = 2.0
"""A token's cost rises by this factor at most with one measurement: another program may have had the processor."""
LEAST_TOKEN_SHARE = 0.1
"""Of what a pass takes, its tokens account for so much at least."""
PASS_RISE = 1.02
"""What any pass takes is the least of what passes have taken, and so much more with each that took longer."""


class Pace:
    """What passes, steps and tokens take, as measured, and what follows for the next piece."""

    def __init__(self) -> None:
        self._step_s = 0.0
        self._pass_s = 0.0
        self._token_s = 0.0

    def note_step(self, seconds: float) -> None:
        """A step of all rows has taken so long."""
        self._step_s = blend(self._step_s, seconds)
        self._note_pass(seconds)

    def note_piece(self, tokens: int, seconds: float) -> None:
        """Reading so many tokens has taken so long."""
        if tokens >= FEWEST_TOKENS:
            cost_s = max(seconds - self._pass_s, LEAST_TOKEN_SHARE * seconds) / tokens
            # A token costs more behind many others: what is dearer counts at once.
            self._token_s = max(blend(self._token_s, cost_s), min(cost_s, MOST_RISE * self._token_s))
        self._note_pass(seconds)

    def _note_pass(self, seconds: float) -> None:
        """All weights are read in any pass, however few tokens it is of."""
        self._pass_s = min(seconds, PASS_RISE * self._pass_s) if self._pass_s else seconds

    def piece_tokens(self, *, written: int, unread: int = 0) -> int:
        """Most tokens of one prompt to read next, while so many prompts are written to and so many are not read to
        their end. Where more are unread than written, a piece takes as many times longer: else fifteen would wait so
        that the first does not.
        """
        if not written:
            return IDLE_TOKENS
        if not self._step_s or not self._token_s:
            return FEWEST_TOKENS
        pause_s = PAUSE_STEPS * self._step_s * max(1.0, unread / written)
        return max(FEWEST_TOKENS, min(IDLE_TOKENS, int((pause_s - self._pass_s) / self._token_s)))

    def whole_tokens(self, *, written: int, unread: int = 0) -> int:
        """Most tokens of a prompt that is read in one piece from its beginning, alone or with others."""
        return max(WHOLE_TOKENS, self.piece_tokens(written=written, unread=unread))


def blend(before: float, newest: float) -> float:
    """The mean of what was measured, of which the newest counts most."""
    return newest if not before else before + NEWEST_SHARE * (newest - before)
