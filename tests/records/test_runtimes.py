"""The operator's word about runtimes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from modelyard.errors import InvalidRequest
from modelyard.records.models import Form, Measurement
from modelyard.records.runtimes import read_runtimes

CHOSEN = Measurement(1, form=Form("onnx", "twice as fast"))
REJECTED = Measurement(1, form=Form(None, "half as fast"))


@pytest.mark.parametrize(
    ("values", "measurement", "variant"),
    [
        ([], CHOSEN, "onnx"),
        ([], REJECTED, None),
        ([], Measurement(1), None),
        ([], None, None),
        (["fastest"], CHOSEN, "onnx"),
        (["original"], CHOSEN, None),
        (["a/m=original"], CHOSEN, None),
        (["a/other=original"], CHOSEN, "onnx"),
        (["a/m=onnx"], REJECTED, "onnx"),
        (["a/m=onnx"], None, "onnx"),
        (["a/m=openvino"], CHOSEN, "openvino"),
        (["original", "a/m=fastest"], CHOSEN, "onnx"),
        (["a/m=original", "a/m=onnx"], None, "onnx"),
    ],
)
def test_what_is_loaded(values: Sequence[str], measurement: Measurement | None, variant: str | None) -> None:
    assert read_runtimes(values).variant_of("a/m", measurement) == variant


@pytest.mark.parametrize(
    "value", ["", "onnx", "openvino", "quickest", "a/m", "a/m=", "a/m=torch", "=onnx", "m=onnx", "a/b/c=onnx"]
)
def test_what_is_no_choice_is_refused_with_those_there_are(value: str) -> None:
    with pytest.raises(InvalidRequest):
        read_runtimes([value])
