"""Variants: the model and the kind that a name means, and the manifest in a variant's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import ModelRefused
from modelyard.records.variants import MANIFEST_FILE, read_manifest, split_variant


@pytest.mark.parametrize(
    ("model_id", "meant"),
    [
        ("org/name", ("org/name", None)),
        ("org/name.onnx", ("org/name", "onnx")),
        ("org/name.onnx.8-bit", ("org/name", "onnx.8-bit")),
        ("org/name.openvino", ("org/name", "openvino")),
        ("org/name.8-bit", ("org/name.8-bit", None)),
        ("org/.onnx", ("org/.onnx", None)),
    ],
)
def test_a_name_means_a_model_or_a_variant_of_it(model_id: str, meant: tuple[str, str | None]) -> None:
    assert split_variant(model_id) == meant


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b'{"kind": 3}', b"\xff\xfe"])
def test_a_manifest_that_is_none_names_its_folder_and_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ModelRefused, match=r"cannot be read .*; make the variant again") as refused:
        read_manifest(tmp_path)
    assert refused.value.message.startswith(f"{tmp_path.name}: {MANIFEST_FILE} ")
