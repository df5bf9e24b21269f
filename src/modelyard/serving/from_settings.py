"""What settings become: limits, rules and parts that need nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelyard.catalog.cache_space import SpaceRules
from modelyard.catalog.space import KEPT_FREE_BYTES
from modelyard.config import ENGINES, RAY, Settings
from modelyard.control.policy import Policy
from modelyard.engine.base import Engine, Fetch
from modelyard.engine.devices import MachineDevices
from modelyard.engine.local import LocalEngine
from modelyard.engine.log_limits import LogLimits
from modelyard.engine.machine import usable_memory_bytes
from modelyard.engine.ray.finder import RayFinder
from modelyard.engine.remote.engine import RemoteEngine
from modelyard.errors import InvalidRequest
from modelyard.gateway.kept_responses import ResponseLimits
from modelyard.gateway.request_memory import MemoryLimits
from modelyard.http.connections import ConnectionLimits, bound_connections, raise_open_files
from modelyard.media.fetch import Fetcher, FetchLimits
from modelyard.tls import load_tls
from modelyard.units import GIB, MIB
from modelyard.worker.sandbox.levels import ensure_level

LOGS_FOLDER = "logs"
DAY_S = 86_400


def policy_of(settings: Settings) -> Policy:
    """The numbers of the control loop that are settings."""
    return Policy(
        boot_s=settings.boot_deadline_s,
        boots_at_once=settings.boots_at_once,
        drain_s=settings.drain_s,
        stable_window_s=settings.stable_window_s,
        idle_timeout_s=settings.default_timeout_s,
        cold_start_gb_s=settings.cold_start_gb_s,
    )


def connection_limits_of(settings: Settings) -> ConnectionLimits:
    """What connections may take. The process may open as many files as the system lets it from now on."""
    return ConnectionLimits(
        most=bound_connections(settings.max_connections, raise_open_files()),
        header_s=settings.header_timeout_s,
        body_s=settings.body_timeout_s,
        body_bytes_per_s=settings.body_bytes_per_s,
        keep_alive_s=settings.keep_alive_s,
    )


def memory_limits_of(settings: Settings) -> MemoryLimits:
    """What requests may bring into this process."""
    request = settings.max_request_mb * MIB
    server = settings.requests_memory_mb * MIB or max(4 * request, memory_for_replicas(settings) // 16)
    account = settings.account_requests_mb * MIB or server // 2
    return MemoryLimits(request_bytes=request, account_bytes=account, server_bytes=server)


def share_of_gateway(settings: Settings) -> Settings:
    """One gateway's part of what is bounded for all of them together: connections, and the memory of requests, which
    holds the largest request in any case."""
    count, memory = settings.gateways, memory_limits_of(settings)
    largest = memory.request_bytes
    return replace(
        settings,
        max_connections=max(1, connection_limits_of(settings).most // count),
        requests_memory_mb=max(largest, memory.server_bytes // count) // MIB,
        account_requests_mb=max(largest, memory.account_bytes // count) // MIB,
    )


def response_limits_of(settings: Settings) -> ResponseLimits:
    """What is kept of responses."""
    return ResponseLimits(settings.response_hours, settings.response_limit, settings.response_mb * MIB)


def memory_for_replicas(settings: Settings) -> int:
    """The bytes that all replicas together may hold."""
    return int(settings.memory_gb * GIB) if settings.memory_gb else usable_memory_bytes()


def open_fetcher(settings: Settings) -> Fetcher:
    """The fetcher these settings describe; no fetch outlasts the wait that a request has."""
    limits = FetchLimits(
        max_bytes=settings.max_media_mb * MIB,
        total_s=min(settings.fetch_timeout_s, settings.queue_wait_s),
        allow_private=settings.allow_private_media,
    )
    return Fetcher(limits)


def logs_of(settings: Settings) -> tuple[Path, LogLimits]:
    """Where replicas' logs are, and how large and old they may become."""
    limits = LogLimits(settings.log_mb * MIB, settings.logs_mb * MIB, settings.log_days * DAY_S)
    return settings.data_dir / LOGS_FOLDER, limits


def space_rules_of(settings: Settings) -> SpaceRules:
    """What downloads must keep to in the hub's cache, and what may be removed for them."""
    return SpaceRules(
        cache_bytes=int(settings.cache_gb * GIB) if settings.cache_gb else None,
        kept_free_bytes=max(KEPT_FREE_BYTES, settings.min_free_mb * MIB),
        removes=settings.cache_removes,
    )


def shares_database(settings: Settings) -> bool:
    """Whether several servers may use the database, of which one leads: where replicas outlive each of them."""
    return settings.engine == RAY and not settings.store_url.startswith("sqlite")


def open_engine(settings: Settings, fetch: Fetch) -> Engine:
    """The engine these settings name. `fetch` downloads models. May block for seconds. Raises InvalidRequest."""
    if settings.engine not in ENGINES:
        raise InvalidRequest(field="engine", got=settings.engine, accepted=" or ".join(ENGINES))
    if settings.engine == RAY:
        return RemoteEngine(RayFinder(settings.ray_address), fetch=fetch, tls=load_tls(settings))
    memory = memory_for_replicas(settings)
    ensure_level(settings.sandbox)
    devices = MachineDevices(settings.device_memory)
    return LocalEngine(
        memory,
        devices=devices.found,
        free_on=devices.free_bytes,
        log_dir=settings.data_dir / LOGS_FOLDER,
        fetch=fetch,
        sandbox=settings.sandbox,
        allow_network=settings.allow_network,
        is_shared=settings.gateways > 1,
    )
