"""Graphs exported to ONNX in the catalogue: which files make a model, what it is, and what is fetched for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.hub import Hub
from modelyard.catalog.inspection import inspect_folder
from modelyard.catalog.onnx_files import choose_onnx_model, find_onnx_models
from modelyard.errors import UnknownModel
from modelyard.records.replicas import ReplicaSpec
from tests.catalog.models import Files, model, text, write
from tests.hub.server import HubServer, Repo

WHISPER = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["model.onnx"], ["fp32"]),
        (["onnx/model.onnx", "onnx/model_quantized.onnx", "onnx/model_q4f16.onnx"], ["fp32", "q4f16", "q8"]),
        (["onnx/model_O4.onnx", "onnx/model_qint8_avx512_vnni.onnx"], ["o4", "qint8_avx512_vnni"]),
        (["onnx/decoder_model_merged.onnx", "onnx/decoder_model_merged_quantized.onnx"], ["fp32", "q8"]),
        (["onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"], ["fp32"]),
        (["onnx/encoder_model_fp16.onnx", "onnx/decoder_model_merged_q4.onnx", "onnx/encoder_model.onnx"], []),
        (
            [f"onnx/{name}_int8.onnx" for name in ("encoder_model", "decoder_model", "decoder_with_past_model")],
            ["int8"],
        ),
        (["onnx/encoder_model.onnx", "onnx/decoder_model.onnx"], []),
        (["onnx/decoder_model.onnx", "onnx/decoder_with_past_model.onnx"], []),
        (["onnx/decoder_model.onnx", "onnx/model.onnx"], ["fp32"]),
        (["onnx/vision_model.onnx", "onnx/text_model.onnx"], []),
        (["voice.onnx", "unet/model.onnx"], []),
    ],
)
def test_graphs_are_told_apart_by_the_type_of_their_weights(names: list[str], labels: list[str]) -> None:
    assert [each.label for each in find_onnx_models(dict.fromkeys(names, 1))] == labels


def test_an_encoder_and_its_decoder_are_one_model() -> None:
    pair = ["encoder_model_q4.onnx", "decoder_model_merged_q4.onnx"]
    data = ["encoder_model_q4.onnx_data", "decoder_model_merged_q4.onnx_data"]
    two = ["decoder_model_q4.onnx", "decoder_with_past_model_q4.onnx"]
    found = find_onnx_models({f"onnx/{name}": 10 for name in (*pair, *data, *two, "model_q4.onnx", "model.onnx")})
    assert [(each.label, each.writes) for each in found] == [("fp32", False), ("q4", True)]
    assert found[1].files == tuple(f"onnx/{name}" for name in (*pair, *data))
    assert (found[1].size_bytes, found[1].dtype) == (40, "Q4")


def test_a_graphs_weights_lie_beside_it() -> None:
    names = ["model.onnx", "model.onnx_data", "model.onnx_data_1", "model_fp16.onnx", "model_fp16.onnx.data", "x.onnx"]
    found = {each.label: each for each in find_onnx_models({f"onnx/{name}": 10 for name in names})}
    assert found["fp32"].files == tuple(f"onnx/{name}" for name in names[:3])
    assert found["fp16"].files == tuple(f"onnx/{name}" for name in names[3:5])
    assert (found["fp32"].size_bytes, found["fp16"].dtype) == (30, "F16")


@pytest.mark.parametrize(
    ("labels", "asked", "chosen"),
    [
        (["quantized", "fp16"], None, "q8"),
        (["q4", "fp16"], None, "fp16"),
        (["O2"], None, "o2"),
        (["q4", "fp16"], "Q4", "q4"),
        (["q4", "fp16"], "q8", None),
    ],
)
def test_a_label_chooses_in_any_case_and_none_means_the_preferred(
    labels: list[str], asked: str | None, chosen: str | None
) -> None:
    found = choose_onnx_model(find_onnx_models({f"onnx/model_{label}.onnx": 1 for label in labels}), asked)
    assert (found and found.label) == chosen


def exported(*names: str, **more: bytes) -> Files:
    """A repository of a classifier with graphs of these names, and no other weights."""
    files = {**model("BertForSequenceClassification", "bert"), **more}
    del files["model.safetensors"]
    return files | {f"onnx/{name}": b"graph" for name in names}


def test_what_it_is_follows_from_the_files_beside_it(root: Path) -> None:
    folder = write(root / "acme" / "m", exported("model.onnx", "model.onnx_data", "model_quantized.onnx"))

    found = inspect_folder(folder)

    assert (found.task, found.library, found.runtime, found.problem) == ("text-classification", "onnx", "onnx", None)
    assert (found.weight_bytes, found.dtype, found.labels) == (10, "F32", ("fp32", "q8"))
    assert found.weight_files == ("onnx/model.onnx", "onnx/model.onnx_data")


async def test_a_replica_is_told_which_file_to_load(root: Path) -> None:
    write(root / "acme" / "m", exported("model.onnx", "model_quantized.onnx"))
    catalog = Catalog(Folders([root]))

    card = await catalog.get("acme/m:q8")
    await catalog.aclose()

    assert ReplicaSpec.of("r", card, card.path).weights == "onnx/model_quantized.onnx"


async def test_safetensors_come_first_and_a_label_still_chooses(root: Path) -> None:
    files = {**model("BertForSequenceClassification", "bert"), "onnx/model_int8.onnx": b"graph"}
    write(root / "acme" / "m", files)
    catalog = Catalog(Folders([root]))

    whole, small = await catalog.get("acme/m"), await catalog.get("acme/m:int8")
    with pytest.raises(UnknownModel, match="acme/m has no file q4; there are int8"):
        await catalog.get("acme/m:q4")
    await catalog.aclose()

    assert (whole.inspection.runtime, small.inspection.runtime) == ("transformers", "onnx")


def test_graphs_come_before_pickles_where_they_can_be_served(root: Path) -> None:
    served = write(root / "acme" / "m", {**exported("model.onnx"), "pytorch_model.bin": b"x"})
    whisper = {"config.json": text(WHISPER)}
    unserved = write(root / "acme" / "w", {**exported("model.onnx"), **whisper, "pytorch_model.bin": b"x"})

    assert (inspect_folder(served).runtime, inspect_folder(served).pickle_only) == ("onnx", False)
    assert inspect_folder(unserved).pickle_only


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (exported("encoder_model.onnx", "decoder_model_merged.onnx"), "in several graphs (onnx/encoder_model.onnx"),
        (exported("decoder_model.onnx", "decoder_with_past_model.onnx"), "in several graphs (onnx/decoder_model.onnx"),
        ({"onnx/model.onnx": b"graph"}, "has no config.json"),
        (
            {**exported("model.onnx"), "config.json": text({"model_type": "no-such-type"})},
            "is of type 'no-such-type', which transformers",
        ),
        (
            {**exported("model.onnx"), "config.json": text({"model_type": "own", "auto_map": {"AutoConfig": "a.B"},
                                                            "architectures": ["OwnForSequenceClassification"]})},
            "needs Python code from its own repository, which is not run beside an ONNX graph",
        ),
        (
            {**exported("model.onnx"), "preprocessor_config.json": b"{}",
             "config.json": text({"model_type": "dpt", "architectures": ["DPTForDepthEstimation"]})},
            "is an ONNX graph for depth-estimation, which is not served from ONNX files",
        ),
        (
            {**exported("model.onnx"), "config.json": text(WHISPER), "preprocessor_config.json": b"{}"},
            "is one ONNX graph for automatic-speech-recognition, which takes an encoder and a decoder",
        ),
        (
            {**exported("text_model.onnx", "vision_model.onnx"), "preprocessor_config.json": b"{}",
             "config.json": text({"model_type": "clip", "architectures": ["CLIPModel"]})},
            "in several graphs (onnx/text_model.onnx is one), which are not served",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_by_name(root: Path, files: Files, problem: str) -> None:
    assert problem in (inspect_folder(write(root / "acme" / "m", files)).problem or "")


async def test_of_a_repository_only_the_chosen_graph_and_its_weights_are_fetched(server: HubServer, hub: Hub) -> None:
    files = exported("model.onnx", "model.onnx_data", "model_quantized.onnx", "model_quantized.onnx_data")
    server.repos["acme/m"] = Repo({**files, "onnx/quantize_config.json": b"{}", "x.png": b"x"})

    folder = await hub.fetch("acme/m:q8")

    got = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    graph = {"onnx/model_quantized.onnx", "onnx/model_quantized.onnx_data"}
    assert got == {"config.json", "tokenizer.json", "tokenizer_config.json", *graph}
