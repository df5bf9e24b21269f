"""Which traces each sampler keeps."""

from __future__ import annotations

import pytest

from modelyard.telemetry.context import TraceContext, new_trace_id
from modelyard.telemetry.sampling import Sampler

LOW, HIGH = "f" * 16 + "1" + "0" * 15, "0" * 16 + "e" + "0" * 15
CALLERS = {"kept": TraceContext(LOW, "1" * 16, True), "left": TraceContext(LOW, "1" * 16, False), "none": None}


@pytest.mark.parametrize(
    ("name", "ratio", "caller", "trace_id", "keeps"),
    [
        ("always_on", 1.0, "left", LOW, True),
        ("always_off", 1.0, "kept", LOW, False),
        ("parentbased_always_on", 1.0, "none", LOW, True),
        ("parentbased_always_on", 1.0, "left", LOW, False),
        ("parentbased_always_off", 1.0, "none", LOW, False),
        ("parentbased_always_off", 1.0, "kept", LOW, True),
        ("traceidratio", 0.5, "left", LOW, True),
        ("traceidratio", 0.5, "kept", HIGH, False),
        ("traceidratio", 0.0, "none", LOW, False),
        ("traceidratio", 1.0, "none", "f" * 32, True),
        ("parentbased_traceidratio", 0.5, "none", HIGH, False),
        ("parentbased_traceidratio", 0.5, "kept", HIGH, True),
    ],
)
def test_a_sampler_keeps(name: str, ratio: float, caller: str, trace_id: str, *, keeps: bool) -> None:
    assert Sampler(name, ratio).keeps(trace_id, CALLERS[caller]) is keeps


def test_a_ratio_is_kept_of_many() -> None:
    kept = sum(Sampler("traceidratio", 0.25).keeps(new_trace_id(), None) for _ in range(4000))
    assert 800 < kept < 1200
