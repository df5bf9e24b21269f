"""The program that makes variants: what it says, what it leaves, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import ModelRefused
from modelyard.records.variants import ExportOrder, VariantKind, read_manifest
from modelyard.worker.environment import QUIET_LIBRARIES
from modelyard.worker.variants import make_variant
from tests.serving import wait_until

DEADLINE_S = 400.0
COMMAND = (sys.executable, "-m", "modelyard.worker.variants")


def order(path: Path, target: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "task": "text-classification", "kind": "onnx", "target": str(target),
            "model_id": "tests/model", "revision": "abc", "threads": 1, **more}  # fmt: skip


def start(wanted: Mapping[str, Any]) -> subprocess.Popen[str]:
    """The program at work."""
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **QUIET_LIBRARIES},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(wanted))
    process.stdin.close()
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
    """Its exit code and the lines it still said, every one of them JSON."""
    assert process.stdout is not None
    with process.stdout:
        lines = [json.loads(line) for line in process.stdout]
    return process.wait(DEADLINE_S), lines


def kill_during(process: subprocess.Popen[str], step: str, making: Path) -> None:
    """kill -9 as soon as it has said that it is at that step, and has something in the folder."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("step") == step:
            break
    wait_until(lambda: process.poll() is not None or (making.is_dir() and any(making.iterdir())))
    process.kill()
    process.wait()
    process.stdout.close()


def run_here(wanted: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The steps and the facts of a run in this process, which has imported the libraries."""
    steps: list[str] = []
    return steps, make_variant(ExportOrder(**wanted), lambda step, _message: steps.append(step))


def run_program(wanted: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The steps and the facts that the program tells."""
    code, said = finish(start(wanted))
    assert code == 0
    return [line["step"] for line in said[:-1]], said[-1]["done"]


@pytest.mark.parametrize(
    ("step", "run"),
    [("exporting", run_here), pytest.param("folding", run_program, marks=pytest.mark.verify(part="variants"))],
)
def test_killed_halfway_there_is_no_variant_and_the_next_run_makes_a_whole_one(
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    step: str,
    run: Callable[[Mapping[str, Any]], tuple[list[str], dict[str, Any]]],
) -> None:
    source, target = model_folder("bert_classifier"), tmp_path / "made" / "model.onnx"
    making = target.with_name(".model.onnx.making")
    kill_during(start(order(source, target)), step, making)
    assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == [making.name]

    steps, done = run(order(source, target))

    assert steps == ["exporting", "folding", "checking"]
    assert done["parameters"] == 33219
    assert done["logit_error"] <= done["bound"] == 1e-3
    assert done["weight_bytes"] == sum(file.stat().st_size for file in target.glob("model.onnx*"))
    assert "3 × 57" in done["shapes"]
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]
    manifest = read_manifest(target)
    assert (manifest.variant_of, manifest.kind, manifest.revision) == ("tests/model", "onnx", "abc")
    assert manifest.logit_error == done["logit_error"]
    kept = {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in target.iterdir()} == {*kept, "variant.json", "model.onnx", "model.onnx.data"}


def test_an_architecture_without_a_plain_cache_fails_with_the_reason(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=420, hidden_size=16, state_size=4, num_hidden_layers=1)
    MambaForCausalLM(config).save_pretrained(tmp_path / "mamba")
    AutoTokenizer.from_pretrained(model_folder("gpt2")).save_pretrained(tmp_path / "mamba")

    with pytest.raises(ModelRefused, match=r"mamba models keep.*Use the original"):
        run_here(order(tmp_path / "mamba", tmp_path / "out", task="text-generation"))

    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out*")) == []


def test_more_memory_than_allowed_is_said_so(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    from tests.builders import tokenizers

    config = BertConfig(vocab_size=60_000, hidden_size=512, num_hidden_layers=1, num_attention_heads=2)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "wide")
    tokenizers.wordpiece().save_pretrained(tmp_path / "wide")

    code, said = finish(start(order(tmp_path / "wide", tmp_path / "out", memory_limit_bytes=64 * 1024**2)))

    assert code == 1
    assert "needs more memory than the 0.1 GiB" in said[-1]["failed"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "task", "words", "kind"),
    [
        ({"config.json": "{}"}, "object-detection", "variants are made for .*text-classification", "onnx"),
        ({"config.json": "{}", "model_index.json": "{}"}, "text-classification", "diffusers pipeline", "onnx"),
        ({"config.json": '{"auto_map": {}}'}, "text-classification", "Python code from its own repository", "onnx"),
        ({"config.json": "{}", "variant.json": "{}"}, "text-classification", "variant itself", "onnx"),
        ({}, "text-classification", "no config.json", "onnx"),
        ({"config.json": "{}"}, "text-generation", "takes many passes.*Ask for .onnx", "openvino"),
    ],
)
def test_what_no_variant_is_made_of_is_refused_at_once(
    tmp_path: Path, files: Mapping[str, str], task: str, words: str, kind: VariantKind
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelRefused, match=words):
        make_variant(
            ExportOrder(path=str(tmp_path), task=task, kind=kind, target=str(tmp_path / "out"), model_id="tests/model"),
            lambda _step, _message: pytest.fail("it began"),
        )


def test_models_that_read_with_one_half_and_write_with_the_other_are_refused(
    model_folder: Callable[[str], Path],
) -> None:
    from modelyard.worker.runtimes.export import plan_export
    from modelyard.worker.runtimes.transformers import load_model

    model = load_model(model_folder("t5"), ("seq2seq-lm",), device="cpu")
    with pytest.raises(ModelRefused, match="t5 models read with one half"):
        plan_export(model, "seq2seq-lm")


def test_folders_of_modules_and_the_card_are_kept(variant_folder: Callable[..., Path]) -> None:
    folder = variant_folder("sentence_transformer", "sentence-similarity", "onnx")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors", "variant.json"} <= names
    assert "model.safetensors" not in names
