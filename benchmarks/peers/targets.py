"""What a row's figures are held against. Owns how ratios of a run are taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.peers.load import Figures
from benchmarks.peers.peers import OWN, Peer


@dataclass(frozen=True, slots=True)
class Case:
    """How a server is asked: by so many clients at once, for answers in pieces or whole."""

    clients: int
    streams: bool = False

    def __str__(self) -> str:
        return f"{self.clients} client{'s' * (self.clients > 1)}{', streamed' * self.streams}"


Medians = Mapping[tuple[str, Case], Figures]
"""By server and case."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at. `figure`: a ratio or difference. `most`: it may be no larger than `bound`, else no smaller."""

    words: str
    figure: Callable[[Medians], float]
    bound: float
    most: bool = False

    def is_met(self, medians: Medians) -> bool:
        """Whether this run met it."""
        figure = self.figure(medians)
        return figure <= self.bound if self.most else figure >= self.bound


def own(medians: Medians, case: Case) -> Sequence[Figures]:
    """Our figures in one case, of each of our settings: as with the peers, the better one counts."""
    return [medians[name, case] for name in OWN if (name, case) in medians]


def own_rate(medians: Medians, case: Case) -> float:
    """Our rate."""
    return max(figures.rate for figures in own(medians, case))


def own_p50_ms(medians: Medians, case: Case) -> float:
    """Our median."""
    return min(figures.p50_ms for figures in own(medians, case))


def theirs_of(medians: Medians, peers: Sequence[Peer], case: Case) -> Sequence[Figures]:
    """The figures of those of the peers that answered."""
    return [medians[peer.name, case] for peer in peers if (peer.name, case) in medians]


def rate_ratio(server: str, case: Case, theirs: Case | None = None) -> Callable[[Medians], float]:
    """Our rate as a multiple of a server's; `theirs`: the case that it is compared with, if it is another one."""
    return lambda medians: own_rate(medians, case) / medians[server, theirs or case].rate


def best_rate_ratio(peers: Sequence[Peer], case: Case) -> Callable[[Medians], float]:
    """Our rate as a multiple of the best of those peers'."""
    return lambda medians: own_rate(medians, case) / max(figures.rate for figures in theirs_of(medians, peers, case))


def rate_of_one(name: str, peers: Sequence[Peer], case: Case) -> Callable[[Medians], float]:
    """The rate of one of our settings, by its name, as a multiple of the best of those peers'."""
    return lambda medians: medians[name, case].rate / max(figures.rate for figures in theirs_of(medians, peers, case))


def p50_above(server: str, case: Case) -> Callable[[Medians], float]:
    """By how many milliseconds the median with us is above that with a server."""
    return lambda medians: own_p50_ms(medians, case) - medians[server, case].p50_ms


def best_p50_ratio(peers: Sequence[Peer], case: Case) -> Callable[[Medians], float]:
    """The median with us as a multiple of that with the best of those peers."""
    return lambda medians: (
        own_p50_ms(medians, case) / min(figures.p50_ms for figures in theirs_of(medians, peers, case))
    )


def p99_ratio(server: str, case: Case) -> Callable[[Medians], float]:
    """The 99th percentile with us as a multiple of that with a server."""
    return lambda medians: min(each.p99_ms for each in own(medians, case)) / medians[server, case].p99_ms


def first_ratio(server: str, case: Case, theirs: Case | None = None) -> Callable[[Medians], float]:
    """The median until the first token with us as a multiple of that with a server."""
    return lambda medians: min(map(first_ms, own(medians, case))) / first_ms(medians[server, theirs or case])


def first_ms(figures: Figures) -> float:
    """Milliseconds until the first token, of a case that streams."""
    assert figures.first_ms is not None
    return figures.first_ms
