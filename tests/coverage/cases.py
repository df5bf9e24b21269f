"""What the instrument measures and what it can find: the words that every part, the results and the page share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class Status(StrEnum):
    """What became of a case."""

    EQUAL = "equal"
    DIFFERENT = "different"
    """Both have answered, otherwise."""
    REFUSED = "refused"
    """The library answers and we do not."""
    LIBRARY_FAILS = "library fails"
    NO_REFERENCE = "no reference exists"
    OTHER_HEAD = "another head is right"
    NO_TASK = "no task"
    """It reads what no task here does, or makes what is not compared."""
    NOT_BUILT = "not built"


LEFT_OUT = frozenset({Status.LIBRARY_FAILS, Status.NO_REFERENCE, Status.OTHER_HEAD})
"""Built, but with nothing to compare our answer with."""
ANSWERED = frozenset({Status.EQUAL, Status.DIFFERENT, Status.REFUSED})
"""By the library."""


@dataclass(frozen=True, slots=True)
class Case:
    """One model to build and ask.

    `family`: the architecture, as the library calls it (`bert`); `name`: the class that is built. `head`: what of it is
    asked. `form`: in which a repository would hold it.
    """

    part: str
    family: str
    name: str
    head: str
    form: str = "safetensors"

    @property
    def id(self) -> str:
        """The same in every run."""
        return f"{self.part}/{self.family}/{self.name}/{self.head}/{self.form}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found. `task`: the one that was asked, once known; `detail`: the error seen, or where answers differ."""

    status: Status
    task: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """A case, what was found, how long it took, and the library's version."""

    case: Case
    finding: Finding
    seconds: float
    version: str

    def to_plain(self) -> dict[str, Any]:
        """As one JSON object."""
        return {**asdict(self.case), **asdict(self.finding), "seconds": round(self.seconds, 2), "version": self.version}


class Part(Protocol):
    """One library's models. A module offers these; `modules` names them."""

    LIBRARY: str
    """The distribution whose version the results are of."""
    TITLE: str
    """Of its section of the page."""

    def preload(self) -> None:
        """Imports what every case needs, before processes are forked: nothing that starts a thread."""

    def list_cases(self) -> Sequence[Case]:
        """Every case there is, read from the installed library."""

    def check(self, case: Case, folder: Path) -> Finding:
        """Builds the model of `case` in the empty `folder`, asks it here and in the library, compares. May raise or
        crash: it runs in a process of its own."""
