"""What the settings want of traces and logs, for one process."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace

from modelyard.config import JSON, Settings
from modelyard.gateway.observer import Observer
from modelyard.telemetry.exporter import ExportedLog, Exporter
from modelyard.telemetry.settings import read_telemetry_settings


def open_exporter(stack: AsyncExitStack, settings: Settings, instance_id: str) -> Exporter | None:
    """Sends this process's traces and log lines until `stack` is closed; None: they go nowhere. `instance_id`: which of
    the processes with the same name it is. Raises InvalidRequest."""
    told = read_telemetry_settings(settings.otlp_endpoint)
    if not told.sends:
        return None
    exporter = Exporter(replace(told, resource={"service.instance.id": instance_id, **told.resource}))
    exporter.start()
    handler = ExportedLog(exporter)
    if exporter.takes_logs:
        logging.getLogger().addHandler(handler)

    async def close() -> None:
        logging.getLogger().removeHandler(handler)
        await asyncio.to_thread(exporter.close)

    stack.push_async_callback(close)
    return exporter


def open_observer(settings: Settings, exporter: Exporter | None) -> Observer | None:
    """What follows inferences; None: nobody wants anything of it."""
    logs_requests = settings.log_format == JSON
    if not logs_requests and (exporter is None or not exporter.takes_traces):
        return None
    return Observer(exporter, logs_requests=logs_requests)
