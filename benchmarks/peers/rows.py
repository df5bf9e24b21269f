"""What is compared: each row's model and request, and the servers with their settings. Owns the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import cache_dir
from benchmarks.peers.load import Figures

BATCH = 32
"""As many as this server runs at once, and what each peer may put into one batch."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server of others. `name`: with its setting; `environment`: of whose packages; `batch`: requests in one."""

    name: str
    environment: str
    path: str
    batch: int = 1

    @property
    def program(self) -> Path:
        """What runs it."""
        return Path(__file__).parent / "servers" / f"{self.environment}_server.py"


MOSEC = Peer("mosec", "mosec", "/inference")
MOSEC_BATCHES = Peer("mosec, batches", "mosec", "/inference", BATCH)
LITSERVE = Peer("LitServe", "litserve", "/predict")
LITSERVE_BATCHES = Peer("LitServe, batches", "litserve", "/predict", BATCH)

OURS = "Modelyard"
ALONE = "in process"
"""The same model called in a loop, and in batches for many clients: what no server can surpass."""

Medians = Mapping[tuple[str, int], Figures]
"""By server and number of clients."""


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


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `family`: of the model, as the test builders know it; none: a task without a model. `workers`:
    how many processes each server has for it."""

    name: str
    what: str
    text: str
    peers: tuple[Peer, ...]
    targets: tuple[Target, ...]
    model: str
    make: Callable[[Path], None] | None = None
    workers: int = 1

    @property
    def folder(self) -> Path:
        """Where its model is."""
        return cache_dir() / self.model


def nano(folder: Path) -> None:
    """BERT of 2 layers × 64, which takes less than a millisecond."""
    make_classifier(folder, layers=2, width=64)


def classify(folder: Path) -> None:
    """BERT of 4 layers × 256."""
    make_classifier(folder, layers=4, width=256)


def make_classifier(folder: Path, layers: int, width: int) -> None:
    """A BERT that tells yes from no, with random weights."""
    from tests.builders.sized import text_classifier

    text_classifier(
        folder,
        vocab_size=400,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
    )


def rate_ratio(server: str, clients: int) -> Callable[[Medians], float]:
    """Our requests per second as a multiple of a server's."""
    return lambda medians: medians[OURS, clients].rate / medians[server, clients].rate


def p50_above(server: str) -> Callable[[Medians], float]:
    """By how many milliseconds one client's median with us is above that with a server."""
    return lambda medians: medians[OURS, 1].p50_ms - medians[server, 1].p50_ms


def best_ratio(peers: tuple[Peer, ...], clients: int) -> Callable[[Medians], float]:
    """Our requests per second as a multiple of the best peer's."""
    return lambda medians: medians[OURS, clients].rate / max(medians[peer.name, clients].rate for peer in peers)


def best_p50_ratio(peers: tuple[Peer, ...]) -> Callable[[Medians], float]:
    """One client's median with us as a multiple of that with the best peer."""
    return lambda medians: medians[OURS, 1].p50_ms / min(medians[peer.name, 1].p50_ms for peer in peers)


CLASSIFIERS = (MOSEC, MOSEC_BATCHES, LITSERVE, LITSERVE_BATCHES)
SENTENCE = "the cat sat on the mat and looked at the dog"
PARAGRAPH = " ".join([SENTENCE] * 3)
ROWS = (
    Row(
        name="ECHO",
        what="the text itself: what the server costs; 1 worker",
        text=SENTENCE,
        model="bench/echo",
        peers=(MOSEC, MOSEC_BATCHES, LITSERVE),
        targets=(
            Target("64 clients, requests/s as a multiple of mosec's", rate_ratio(MOSEC.name, 64), 1.0),
            Target(
                "64 clients, p99 as a multiple of mosec's",
                lambda medians: medians[OURS, 64].p99_ms / medians[MOSEC.name, 64].p99_ms,
                2.0,
                most=True,
            ),
            Target("1 client, p50 above mosec's in ms", p50_above(MOSEC.name), 0.15, most=True),
        ),
    ),
    Row(
        name="NANO",
        what="a BERT of 2 layers × 64; 1 worker of 1 thread",
        text=SENTENCE,
        model="bench/nano",
        make=nano,
        peers=CLASSIFIERS,
        targets=(
            Target("64 clients, requests/s as a multiple of mosec's", rate_ratio(MOSEC_BATCHES.name, 64), 1.0),
            Target("1 client, p50 above the one in process in ms", p50_above(ALONE), 0.7, most=True),
        ),
    ),
    Row(
        name="CLASSIFY",
        what="a BERT of 4 layers × 256 on some 30 tokens; 2 workers of 1 thread",
        text=PARAGRAPH,
        model="bench/classify",
        make=classify,
        workers=2,
        peers=CLASSIFIERS,
        targets=(
            Target("1 client, p50 as a multiple of the best peer's", best_p50_ratio(CLASSIFIERS), 0.5, most=True),
            Target("64 clients, requests/s as a multiple of the best peer's", best_ratio(CLASSIFIERS, 64), 1.0),
            Target("64 clients, requests/s as a multiple of two processes' of their own", rate_ratio(ALONE, 64), 0.92),
        ),
    ),
)  # fmt: skip
