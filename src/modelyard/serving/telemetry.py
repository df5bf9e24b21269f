"""What the settings want of traces and logs, for one process."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace

from modelyard.config import JSON, Settings
from modelyard.gateway.observer import Observer
from modelyard.telemetry.exporter import ExportedLog, Exporter
from modelyard.telemetry.replica_lines import LISTENERS
from modelyard.telemetry.settings import read_telemetry_settings


def open_exporter(stack: AsyncExitStack, settings: Settings, instance_id: str) -> Exporter | None:
    """Sends this process's traces and log lines, and lines of replicas' logs, until `stack` is closed; None: they go
    nowhere. `instance_id`: which of the processes with the same name it is. Raises InvalidRequest."""
    told = read_telemetry_settings(settings.otlp_endpoint)
    if not told.sends:
        return None
    exporter = Exporter(replace(told, resource={"service.instance.id": instance_id, **told.resource}))
    exporter.start()
    stack.push_async_callback(asyncio.to_thread, exporter.close)
    if exporter.takes_logs:
        handler = ExportedLog(exporter)
        logging.getLogger().addHandler(handler)
        stack.callback(logging.getLogger().removeHandler, handler)
        LISTENERS.append(exporter.add_line)
        stack.callback(LISTENERS.remove, exporter.add_line)
    return exporter


def open_observer(settings: Settings, exporter: Exporter | None) -> Observer | None:
    """What follows inferences; None: nobody wants anything of it."""
    logs_requests = settings.log_format == JSON
    if not logs_requests and (exporter is None or not exporter.takes_traces):
        return None
    return Observer(exporter, logs_requests=logs_requests)
