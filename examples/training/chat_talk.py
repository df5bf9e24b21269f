"""What every topic of tiny-chat works with: the state of one talk, and words that nobody knows."""

from dataclasses import dataclass
from random import Random

Exchange = tuple[str, str]  # what the user says and what the assistant answers

SYLLABLES = (
    "ka", "ri", "mo", "ten", "zu", "lo", "vin", "da", "mar", "si", "bel", "no", "ger", "pa", "tis", "un", "wel",
    "fro", "ash", "cor", "ly", "der", "gri", "nt", "ous", "ex", "ion", "ph", "qua", "sta", "th", "ing", "al", "ck",
    "jo", "el",
)  # fmt: skip


@dataclass
class Talk:
    """What the two speakers have told each other so far."""

    rng: Random
    own_name: str
    user_name: str | None = None

    def pick(self, *choices: str) -> str:
        """One of the wordings, by chance."""
        return self.rng.choice(choices)


def invented_word(rng: Random) -> str:
    """A word that looks like one and means nothing."""
    return "".join(rng.choices(SYLLABLES, k=rng.randint(2, 3)))
