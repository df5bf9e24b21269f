"""Traces from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import InvalidRequest
from modelyard.simulation.csv_traces import read_trace
from modelyard.units import GIB


def test_a_file_is_read_in_order_of_time(tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text("model,at_s,duration_s,memory_gb,account\nb,5,1,2,ada\na,1.5,0.25,,\nb,3,1,,\n")
    trace = read_trace(file)
    assert trace.at_s.tolist() == [1.5, 3, 5]
    assert [trace.models[number].model_id for number in trace.model] == ["a", "b", "b"]
    assert trace.duration_s.tolist() == [0.25, 1, 1]
    assert [(each.memory_bytes, each.account) for each in trace.models] == [(2 * GIB, "ada"), (GIB, "account-1")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "columns, line 1: got nothing; accepted: at_s, model, duration_s"),
        ("at_s,model\n1,a\n", "columns, line 1: got at_s, model; accepted: at_s, model, duration_s"),
        ("at_s,model,duration_s,size\n", "columns, line 1: got at_s, model, duration_s, size"),
        ("at_s,model,duration_s\n", "trace: got 'no request'"),
        ("at_s,model,duration_s\n1,a,1\nsoon,a,1\n", "at_s, line 3: got soon; accepted: a number from 0 to"),
        ("at_s,model,duration_s\n-1,a,1\n", "at_s, line 2: got -1"),
        ("at_s,model,duration_s\nnan,a,1\n", "at_s, line 2: got nan"),
        ("at_s,model,duration_s\n1,a\n", "duration_s, line 2: got nothing"),
        ("at_s,model,duration_s\n1, ,1\n", "model, line 2: got  ; accepted: a name"),
        ("at_s,model,duration_s,memory_gb\n1,a,1,0\n", "memory_gb, line 2: got 0; accepted: a number from 0.001"),
        ("at_s,model,duration_s,memory_gb\n1,a,1,2\n2,a,1,3\n", "memory_gb, line 3: got 3; accepted: 2, as in"),
        ("at_s,model,duration_s,account\n1,a,1,x\n2,a,1,y\n", "account, line 3: got y; accepted: x, as in"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "day.csv"
    file.write_text(text)
    with pytest.raises(InvalidRequest) as raised:
        read_trace(file)
    assert words in str(raised.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")
    (tmp_path / "picture").write_bytes(b"\x89PNG")
    with pytest.raises(InvalidRequest, match="not text in UTF-8: byte 0 is 0x89"):
        read_trace(tmp_path / "picture")
