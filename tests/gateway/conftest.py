"""The one inference with all its real parts, and a destination that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelyard.accounts.administration import Administration
from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.accounts.keys import Authenticator
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rates import RateLimiter
from modelyard.catalog.provided import Provided
from modelyard.clock import SteadyClock
from modelyard.gateway.admission import OwnAdmission
from modelyard.gateway.closed_models import ClosedModels
from modelyard.gateway.destinations.base import Destination, OnPiece, OnSpent
from modelyard.gateway.inference import Inferences
from modelyard.gateway.kept_files import KeptFiles
from modelyard.gateway.kept_responses import KeptResponses, ResponseLimits
from modelyard.gateway.metering import Metering, OwnBooks
from modelyard.gateway.metrics import InferenceTallies
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.request_memory import MemoryLimits, RequestMemory
from modelyard.gateway.slow_readers import SlowReaders
from modelyard.gateway.surfaces.base import Surface
from modelyard.gateway.surfaces.every import open_surfaces
from modelyard.gateway.surfaces.v1.inference import V1Inference
from modelyard.gateway.surfaces.v2.inference import V2Inference
from modelyard.media.artefacts import Artefacts
from modelyard.media.fetch import Fetcher, FetchLimits
from modelyard.protocol import Outcome, Usage
from modelyard.records.instances import Tariff
from modelyard.records.providers import read_providers
from modelyard.records.requests import RequestRecord
from tests.catalog.models import model, write
from tests.control.control_plane import SMALL, ControlPlane, MakeControl, make_models
from tests.gateway.http_client import HttpClient

IMAGES = "tiny/images"
CHAT = "tiny/chat"
MAX_BODY_BYTES = 1024**2
PRICE_PER_GB_S = 0.0000166667

Answering = Callable[[ModelRequest, OnPiece | None], Any]


class FakeDestination(Destination):
    """Answers as `answering` says, on instance in_1, in 1.5 s; keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []
        self.answering: Answering = answer_with("done")
        self.cancelled = False
        self.tries: list[tuple[str, int]] = [("in_1", 1_500_000)]

    async def run(self, request: ModelRequest, on_piece: OnPiece | None, on_spent: OnSpent) -> Outcome:
        self.requests.append(request)
        try:
            output = await self.answering(request, on_piece)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            for instance_id, took_us in self.tries:
                on_spent(instance_id, Usage(took_us=took_us))
        return Outcome(output, Usage(took_us=self.tries[-1][1]))


def answer_with(output: Any, *pieces: str) -> Answering:
    """An answer, after pieces where the request streams."""

    async def answering(request: ModelRequest, on_piece: OnPiece | None) -> Any:
        for piece in pieces if on_piece else ():
            await on_piece(piece)  # type: ignore[misc]
        return output

    return answering


MEMORY = MemoryLimits(request_bytes=4 * MAX_BODY_BYTES, account_bytes=8 * MAX_BODY_BYTES, server_bytes=2**30)


class Gateway:
    """What the tests speak to."""

    def __init__(self, control: ControlPlane, folder: Path) -> None:
        self.control = control
        self.destination = FakeDestination()
        self.administration = Administration(control.store, control.clock)
        self.key = self.administration.create_key("laptop", "ada").secret
        ledger_clock = SteadyClock(control.clock)
        self.tallies = InferenceTallies()
        self.aliases = Aliases(control.store.aliases)
        self.funds = Funds(control.store, ledger_clock)
        self.quotas = Quotas(control.store.accounts.list_with_quota)
        books = OwnBooks(control.store, control.journal, self.funds)
        self.inferences = Inferences(
            OwnAdmission(
                Authenticator(control.store, control.clock),
                books,
                RateLimiter(0, control.clock),
                self.funds,
                self.quotas,
            ),
            self.aliases,
            control.plane,
            self.destination,
            Fetcher(FetchLimits(max_bytes=MAX_BODY_BYTES, total_s=5.0, allow_private=False)),
            Metering(books, ledger_clock, Tariff(0), 60, control.server_id),
            RequestMemory(MEMORY),
            SlowReaders(60.0),
            self.tallies,
            ClosedModels(Provided(read_providers([]), {}), {}),
            price_per_gb_s=PRICE_PER_GB_S,
            timeout_s=60.0,
        )
        artefacts = Artefacts(folder / "artefacts", 60, control.clock)
        artefacts.open()
        kept = KeptResponses(control.store.responses, control.clock, ResponseLimits(hours=1, most=3, most_bytes=10_000))
        self.surfaces = open_surfaces(artefacts, kept, MAX_BODY_BYTES, "")
        self.v1 = V1Inference(MAX_BODY_BYTES)
        self.v2 = V2Inference(KeptFiles(artefacts, ""), MAX_BODY_BYTES)

    async def ask(self, client: HttpClient, surface: Surface | None = None, model_id: str | None = SMALL) -> HttpClient:
        """Serves the client's request to its end; by default over v2."""
        await self.inferences.serve(client.http, surface or self.v2, model_id)
        return client

    async def record(self) -> RequestRecord | None:
        """What was written down of the latest request that reached the destination."""
        await self.control.journal.flush()
        return self.control.store.requests.find(self.destination.requests[-1].id)


@pytest.fixture(scope="session")
def served_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that writes texts, one that answers conversations and one that reads images."""
    root = make_models(tmp_path_factory.mktemp("served-models"))
    template = {"chat_template": "{{ messages[0].content }}"}
    write(root / CHAT, model("LlamaForCausalLM", "llama", tokenizer=template))
    write(root / IMAGES, model("ViTForImageClassification", "vit", preprocessor_config__json=b"{}"))
    return root


@pytest.fixture
def make_control(tmp_path: Path, served_models: Path, database: Path) -> MakeControl:
    """Makes a control plane over the same models."""
    return partial(ControlPlane, tmp_path, served_models, database)


@pytest.fixture
async def gateway(tmp_path: Path, make_control: MakeControl) -> AsyncIterator[Gateway]:
    async with make_control() as control:
        gateway = Gateway(control, tmp_path)
        await gateway.funds.open()
        gateway.quotas.read()
        yield gateway
