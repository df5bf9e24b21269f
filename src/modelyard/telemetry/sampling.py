"""Which traces are kept: the samplers that OpenTelemetry's settings name.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.telemetry.context import TraceContext

PARENT_BASED = "parentbased_"
"""Begins the name of a sampler that decides only where no caller has."""
ALWAYS_ON, ALWAYS_OFF, BY_RATIO = "always_on", "always_off", "traceidratio"
SAMPLERS = tuple(prefix + name for prefix in (PARENT_BASED, "") for name in (ALWAYS_ON, ALWAYS_OFF, BY_RATIO))
DEFAULT_SAMPLER = PARENT_BASED + ALWAYS_ON
_IDS = 2**64


@dataclass(frozen=True, slots=True)
class Sampler:
    """`name`: one of SAMPLERS. `ratio`: the part of traces, 0 to 1, that `traceidratio` keeps."""

    name: str = DEFAULT_SAMPLER
    ratio: float = 1.0

    def keeps(self, trace_id: str, caller: TraceContext | None) -> bool:
        """Whether a trace is kept. `caller`: the span that has asked; None: the trace begins here."""
        if caller is not None and self.name.startswith(PARENT_BASED):
            return caller.is_sampled
        match self.name.removeprefix(PARENT_BASED):
            case "always_on":
                return True
            case "always_off":
                return False
        # By the id's last 64 bits, as OpenTelemetry's libraries do: services with one ratio keep the same traces.
        return int(trace_id[16:], 16) < self.ratio * _IDS
