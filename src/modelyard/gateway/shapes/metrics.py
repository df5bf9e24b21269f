"""How metrics are asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from modelyard.gateway.shapes.base import Shape, described


class MetricsQuery(Shape, frozen=True, kw_only=True):
    """Which metrics."""

    names: Annotated[
        Literal["modelyard", "vllm"],
        described(
            "Under whose names: our own, or those that dashboards for vLLM look for.", accepted="modelyard or vllm"
        ),
    ] = "modelyard"
