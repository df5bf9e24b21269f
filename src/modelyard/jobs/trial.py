"""A worker of a model that belongs to no client, to run a benchmark on; nobody else sends it requests."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self

from modelyard.control.plane import Plane
from modelyard.control.replicas import BootSettings
from modelyard.control.routes import Routes
from modelyard.jobs.requests import Ask, ask_over


class TrialWorker:
    """Opened by `async with`: then the worker is ready. Raises what kept it from booting."""

    def __init__(
        self, plane: Plane, routes: Routes, account_id: str, model_id: str, settings: BootSettings, *, wait_s: float
    ) -> None:
        """`account_id`: whose name the ledger and the log carry. `wait_s`: for room and for the boot together."""
        self._plane = plane
        self._routes = routes
        self._account_id = account_id
        self._model_id = model_id
        self._settings = settings
        self._wait_s = wait_s
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            trial = await self._plane.start_trial(self._account_id, self._model_id, self._settings)
            stack.push_async_callback(self._plane.end_trial, trial.id)
            # One slot is held throughout, so that the worker is never taken for idle; requests go past the slots.
            self._target = await self._routes.acquire(trial.route, self._wait_s)
            stack.callback(self._routes.release, trial.route, self._target)
            self._get_figures = partial(self._plane.get_trial, trial.id)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def ask(self) -> Ask:
        """Sends it requests."""
        return ask_over(self._target)

    async def load_s(self) -> float:
        """From the worker's launch until it was ready."""
        return (await self._get_figures()).boot_s

    async def joins(self) -> bool:
        """Whether it begins requests while others run."""
        return (await self._get_figures()).joins

    async def peak_bytes(self) -> int | None:
        """The most it has said that it held; None while it has said nothing."""
        return (await self._get_figures()).peak_bytes

    async def peak_device_bytes(self) -> int:
        """The most it has said that it held on an accelerator; 0 where it uses none."""
        return (await self._get_figures()).peak_device_bytes
