import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from modelyard.catalog.safetensors_header import CorruptWeights, add_headers, parse_header, read_header
from tests.catalog.models import weights


def framed(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return path


def test_counts_parameters_and_bytes_by_dtype(tmp_path: Path) -> None:
    content = save({"a": np.ones((3, 4), "float32"), "b": np.ones(20, "float16"), "c": np.array(1, "int64")})

    header = read_header(written(tmp_path, content))

    assert dict(header.parameters) == {"F32": 12, "F16": 20, "I64": 1}
    assert header.data_bytes == 48 + 40 + 8
    assert header.dtype == "F16"


def test_headers_of_shards_add_up(tmp_path: Path) -> None:
    header = read_header(written(tmp_path, weights(100)))

    total = add_headers([header, header])

    assert total.parameters == {"F32": 200}
    assert total.data_bytes == 800


def test_a_file_without_tensors_is_valid(tmp_path: Path) -> None:
    header = read_header(written(tmp_path, framed({"__metadata__": {"format": "pt"}})))

    assert header.dtype is None
    assert header.data_bytes == 0


@pytest.mark.parametrize("kept", [0, 5, 8, 100])
def test_a_truncated_file_is_found_wherever_it_ends(tmp_path: Path, kept: int) -> None:
    with pytest.raises(CorruptWeights, match="cut off"):
        read_header(written(tmp_path, weights()[:kept]))


def test_one_missing_byte_is_found(tmp_path: Path) -> None:
    with pytest.raises(CorruptWeights, match=r"cut off: its header promises [\d,]+ bytes, the file has [\d,]+"):
        read_header(written(tmp_path, weights()[:-1]))


def test_one_byte_too_many_is_found(tmp_path: Path) -> None:
    with pytest.raises(CorruptWeights, match="damaged"):
        read_header(written(tmp_path, weights() + b"x"))


def test_an_unfetched_lfs_pointer_is_named_as_such(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 1234\n"

    with pytest.raises(CorruptWeights, match="git lfs pull"):
        read_header(written(tmp_path, pointer))


def test_a_web_page_is_not_taken_for_weights(tmp_path: Path) -> None:
    with pytest.raises(CorruptWeights, match="not a safetensors file"):
        read_header(written(tmp_path, b"<!DOCTYPE html><html>" * 100))


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (b"{not json}", "format asks"),
        (b"\xff\xfe", "format asks"),
        ([], "format asks"),
        ({"a": "text"}, "format asks"),
        ({"a": {**F32, "shape": [-2]}}, "format asks"),
        ({"a": {**F32, "shape": None}}, "format asks"),
        ({"a": {**F32, "data_offsets": [0]}}, "format asks"),
        ({"a": {**F32, "dtype": "F1"}}, "unknown type 'F1'"),
        ({"a": {**F32, "shape": [3]}}, "8 bytes for 3 values of F32"),
        ({"a": {**F32, "data_offsets": [8, 0]}}, "bytes for 2 values"),
        ({"a": F32, "b": F32}, "overlap"),
        ({"a": F32, "b": {**F32, "data_offsets": [12, 20]}}, "holes"),
    ],
)
def test_a_header_that_breaks_the_format_is_found(header: object, complaint: str) -> None:
    content = framed(header, bytes(8))

    with pytest.raises(CorruptWeights, match=complaint):
        parse_header(content[8:-8], len(content))


def test_widths_below_a_byte_are_counted() -> None:
    text = json.dumps({"a": {"dtype": "F4", "shape": [6], "data_offsets": [0, 3]}}).encode()

    assert parse_header(text, 8 + len(text) + 3).parameters == {"F4": 6}
