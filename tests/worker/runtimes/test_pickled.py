"""Pickled weights: what is in them is kept, and opening a hostile one does nothing."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modelyard.errors import ModelRefused
from modelyard.records.conversions import converted_name
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.pickles import convert

CANARY = "canary"


def save(file: Path, held: Any, **settings: Any) -> Path:
    torch.save(held, file, **settings)
    return file


@pytest.mark.parametrize("is_zip", [True, False])
def test_every_type_and_shape_is_kept(tmp_path: Path, is_zip: bool) -> None:
    held: dict[str, Any] = {
        str(dtype): torch.arange(6).reshape(2, 3).to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    }
    held |= {"scalar": torch.tensor(7.0), "empty": torch.zeros(0, 3), "turned": torch.arange(6.0).reshape(2, 3).t()}
    source = save(tmp_path / "a.bin", {**held, "epoch": 3}, _use_new_zipfile_serialization=is_zip)

    convert(source, tmp_path / "a.safetensors")

    got = load_file(tmp_path / "a.safetensors")
    assert got.keys() == held.keys()
    for name, tensor in held.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor)


def test_tensors_that_share_their_values_are_each_whole(tmp_path: Path) -> None:
    table = torch.arange(12.0).reshape(4, 3)
    tied = torch.nn.Parameter(table)
    source = save(tmp_path / "a.bin", OrderedDict(embed=tied, head=tied, row=table[1]))

    convert(source, tmp_path / "a.safetensors")

    got = load_file(tmp_path / "a.safetensors")
    assert torch.equal(got["embed"], table)
    assert torch.equal(got["head"], table)
    assert torch.equal(got["row"], table[1])


@pytest.mark.parametrize(
    ("name", "converted"),
    [
        ("pytorch_model.bin", "model.safetensors"),
        ("pytorch_model-00001-of-00002.bin", "model-00001-of-00002.safetensors"),
        ("pytorch_model.fp16.bin", "model.fp16.safetensors"),
        ("unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors"),
        ("2_Dense/pytorch_model.bin", "2_Dense/model.safetensors"),
        ("weights.v2.pt", "model.safetensors"),
    ],
)
def test_files_get_the_names_that_libraries_look_for(name: str, converted: str) -> None:
    assert converted_name(name) == converted


def test_converted_weights_give_the_same_outputs(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder("bert_classifier"), folder)
    save(folder / "pytorch_model.bin", load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    heads = ("sequence-classification",)
    with pytest.raises(ModelRefused):
        load_model("transformers", folder, heads)

    convert(folder / "pytorch_model.bin", folder / "model.safetensors")

    inputs = {"input_ids": np.array([[2, 7, 9, 3]]), "attention_mask": np.ones((1, 4), dtype=np.int64)}
    got = load_model("transformers", folder, heads).forward(inputs)["logits"]
    wanted = load_model("transformers", model_folder("bert_classifier"), heads).forward(inputs)["logits"]
    np.testing.assert_array_equal(got, wanted)


class Runs:
    """Unpickling it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def hostile(tmp_path: Path) -> dict[str, Any]:
    """What to pickle."""
    canary = str(tmp_path / CANARY)
    return {
        "a command": Runs(os.system, f"touch {canary}"),
        "code": Runs(eval, f"open({canary!r}, 'w')"),
        "a file": Runs(open, canary, "w"),
        "a hidden load": Runs(torch.load, canary),
        "another pickle": Runs(pickle.loads, pickle.dumps(Runs(os.system, f"touch {canary}"))),
    }


@pytest.mark.parametrize("kind", ["a command", "code", "a file", "a hidden load", "another pickle"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_what_a_pickle_would_call_is_not_called(tmp_path: Path, kind: str, is_zip: bool) -> None:
    held = {"a": torch.ones(2), "b": hostile(tmp_path)[kind]}
    source = save(tmp_path / "pytorch_model.bin", held, _use_new_zipfile_serialization=is_zip)

    with pytest.raises(ModelRefused, match=r"pytorch_model\.bin cannot be read as weights alone"):
        convert(source, tmp_path / "model.safetensors")

    assert not (tmp_path / CANARY).exists()
    assert not (tmp_path / "model.safetensors").exists()


def plain(held: Any) -> bytes:
    return pickle.dumps(held)


def as_tar() -> bytes:
    """The oldest form, in which what is restricted was once not."""
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("pickle", "storages", "tensors"):
            data = pickle.dumps(Runs(os.system, "false"))
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def as_zip(name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, data)
    return made.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04.", b"PK\x03\x04", b"x" * 100, plain([1, 2]), plain({"a": 1}), as_tar(),
     as_zip("../../canary", b"x"), as_zip("archive/data.pkl", plain({"a": 1}))],
    ids=["nothing", "a stop", "half a zip", "no pickle", "a list", "no tensors", "a tar", "a path", "no version"],
)  # fmt: skip
def test_what_holds_no_weights_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ModelRefused, match=r"pytorch_model\.bin"):
        convert(tmp_path / "pytorch_model.bin", tmp_path / "model.safetensors")


def test_what_would_never_end_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelRefused, match=r"pytorch_model\.bin is no regular file"):
        convert(tmp_path / "pytorch_model.bin", tmp_path / "model.safetensors")


def test_a_tensor_that_says_it_is_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "pytorch_model.bin", {"a": torch.zeros(1).expand(10**12)})
    with pytest.raises(ModelRefused, match="says that it holds 4,000,000,000,000 bytes, and is far too small"):
        convert(source, tmp_path / "model.safetensors")


def test_many_names_for_one_tensor_are_refused(tmp_path: Path) -> None:
    table = torch.zeros(10**6)
    source = save(tmp_path / "pytorch_model.bin", {str(number): table for number in range(100)})
    with pytest.raises(ModelRefused, match="far too small for that"):
        convert(source, tmp_path / "model.safetensors")


def test_what_safetensors_cannot_hold_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "pytorch_model.bin", {"a": torch.ones(2, 2).to_sparse()})
    with pytest.raises(ModelRefused, match=r"pytorch_model\.bin (holds a as torch.sparse_coo|cannot be read)"):
        convert(source, tmp_path / "model.safetensors")
