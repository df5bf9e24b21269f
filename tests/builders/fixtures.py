"""Fixtures that hand out the tiny models, each built and loaded once per test session. Load as a pytest plugin."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import modelyard
from modelyard.protocol import Outcome
from modelyard.records.variants import VariantKind
from modelyard.tasks.base import Head, Task
from modelyard.tasks.body import read, to_call
from modelyard.tasks.model import Model
from tests.builders.kept import KEPT, fingerprint, keep

Load = Callable[[str, str], Model]
"""The fixture `load`: (family, head) → its model."""
Ask = Callable[..., Any]
"""The fixture `ask`: (task, model, *bodies, **sinks) → the answer, or the answers to several bodies."""
MultiplyInTurns = Callable[[Model], list[Any]]
"""The fixture `multiply_in_turns`: model → the layers that have multiplied by oneDNN."""

FAMILY_OF_TASK = {
    "text-generation": "gpt2",
    "chat": "llama_chat",
    "text2text-generation": "t5",
    "summarization": "bart",
    "translation": "mbart",
    "fill-mask": "bert_masked_lm",
    "text-classification": "bert_classifier",
    "token-classification": "bert_token_classifier",
    "question-answering": "bert_qa",
    "zero-shot-classification": "bert_nli",
    "feature-extraction": "bert_encoder",
    "sentence-similarity": "sentence_transformer",
    "text-ranking": "bert_ranker",
    "image-classification": "vit_classifier",
    "object-detection": "yolos",
    "image-segmentation": "segformer",
    "depth-estimation": "dpt",
    "zero-shot-image-classification": "clip",
    "zero-shot-object-detection": "owlvit",
    "image-feature-extraction": "vit_encoder",
    "mask-generation": "sam",
    "audio-classification": "wav2vec2_classifier",
    "automatic-speech-recognition": "whisper",
    "image-to-text": "vit_gpt2",
    "image-text-to-text": "llava",
    "video-classification": "videomae",
    "video-text-to-text": "llava",
    "audio-text-to-text": "qwen2_audio",
    "document-question-answering": "layoutlm_qa",
    "visual-question-answering": "vilt_vqa",
    "text-to-image": "stable_diffusion",
    "image-to-image": "image_to_image",
    "unconditional-image-generation": "ddpm",
    "text-to-video": "text_to_video_sd",
    "image-to-video": "image_to_video",
    "video-to-video": "video_to_video",
    "text-to-speech": "vits",
    "text-to-audio": "musicgen",
}
"""A family of tests.builders that serves each task."""
MAKERS = ("*.py", "media/*.py", "records/**/*.py", "tasks/**/*.py", "worker/**/*.py")
"""Sources of the package that may have a part in making a variant: the worker, and what it may import."""


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Family → the folder of its model, built the first time it is asked for."""
    folders: dict[str, Path] = {}

    def folder(family: str) -> Path:
        from tests.builders import build

        if family not in folders:
            folders[family] = build(family, tmp_path_factory.mktemp("models") / "tests" / family)
        return folders[family]

    return folder


@pytest.fixture(scope="session")
def real_models() -> Path:
    """A models folder with all-MiniLM-L6-v2, to be read only. Whoever needs SmolLM2-135M-Instruct there calls
    `real.smollm2`, which takes half a minute on a machine that has not made it yet."""
    from tests.builders import real

    return real.models_dir()


@pytest.fixture(scope="session")
def load(model_folder: Callable[[str], Path]) -> Callable[[str, Head], Any]:
    """(family, head) → its model, loaded on the CPU the first time it is asked for."""
    models: dict[tuple[str, str], Any] = {}

    def loaded(family: str, head: Head) -> Any:
        import torch

        from modelyard.worker.runtimes.base import load_model

        torch.set_num_threads(1)
        if (family, head) not in models:
            runtime = "diffusers" if head.endswith("-pipeline") else "transformers"
            models[family, head] = load_model(runtime, model_folder(family), (head,), device="cpu")
        return models[family, head]

    return loaded


@pytest.fixture(scope="session")
def variant_folder(
    model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str, VariantKind], Path]:
    """(family, task, kind) → the folder of its ONNX variant, made the first time that anybody on this machine asks for
    it with these sources."""
    folders: dict[tuple[str, str, str], Path] = {}

    def folder(family: str, task: str, kind: VariantKind) -> Path:
        key = family, task, kind
        if key not in folders:
            kept = KEPT.with_name("variants") / sources() / f"{family}.{task}.{kind}"
            if not kept.is_dir():
                keep(kept, lambda made: export(model_folder(family), family, task, kind, made))
            target = tmp_path_factory.mktemp("variants") / "tests" / f"{family}.{kind}"
            folders[key] = Path(shutil.copytree(kept, target))
        return folders[key]

    return folder


@pytest.fixture(scope="session")
def published_folder(
    model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Family → a new folder with its graphs as optimum publishes them, which the first who asks on this machine has
    exported."""

    def folder(family: str) -> Path:
        kept = KEPT.with_name("published") / f"{fingerprint()}.{version('onnx')}.{version('onnxscript')}" / family
        if not kept.is_dir():
            keep(kept, lambda made: publish(family, model_folder(family), made))
        return Path(shutil.copytree(kept, tmp_path_factory.mktemp("published") / "tests" / family))

    return folder


def publish(family: str, source: Path, target: Path) -> None:
    """Exports the model of `family` in `source`."""
    from tests.builders import published_pairs, published_vision

    if family in published_vision.GRAPHS:
        published_vision.publish_vision(family, source, target)
    else:
        published_pairs.publish_pair(family, source, target)


def export(source: Path, family: str, task: str, kind: VariantKind, target: Path) -> None:
    """Makes a variant here and now."""
    from modelyard.records.variants import ExportOrder
    from modelyard.worker.variants import make_variant

    order = ExportOrder(
        path=str(source), task=task, kind=kind, target=str(target), model_id=f"tests/{family}", revision="abc"
    )
    make_variant(order, lambda _step, _message: None)


@cache
def sources() -> str:
    """What variants are made of and by: the tiny models, and what of the package takes part."""
    digest = hashlib.sha256(fingerprint().encode())
    for library in ("onnx", "onnxruntime", "onnxscript"):
        digest.update(f"{library} {version(library)}\n".encode())
    package = Path(modelyard.__file__).parent
    for source in sorted(each for place in MAKERS for each in package.glob(place)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def output_of(answer: Any) -> Any:
    """What a client gets of a task's answer: its output, apart from what it took; an error stays what it is."""
    return answer.output if isinstance(answer, Outcome) else answer


@pytest.fixture
def ask() -> Callable[..., Any]:
    """(task, model, body, **sinks) → the answer as plain data, by way of the body as a client would send it."""
    import msgspec

    def answer(task: Task, model: Model, *bodies: dict[str, Any], **sinks: Any) -> Any:
        calls = []
        for body in bodies:
            inference = read(task, body)
            calls.append(to_call(task, inference.fields, inference.params, **sinks))
        outputs = [output_of(given) for given in task.run(model, calls)]
        answers = [given if isinstance(given, Exception) else msgspec.to_builtins(given) for given in outputs]
        return answers[0] if len(answers) == 1 else answers

    return answer


@pytest.fixture
def multiply_in_turns(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[Any]]:
    """Model of the torch runtime → the layers that have multiplied by oneDNN: in this test all of its linear layers do,
    every other time."""
    from modelyard.worker.runtimes import linear_products

    def watch(model: Any) -> list[Any]:
        by_onednn: list[Any] = []
        multiply = linear_products.multiply_by_onednn

        def noted(layer: Any, rows: Any) -> Any:
            by_onednn.append(layer)
            return multiply(layer, rows)

        monkeypatch.setattr(linear_products, "LEAST_WEIGHTS", 1)  # those of tests' models are smaller
        monkeypatch.setattr(linear_products, "SAMPLES", 10**6)  # so that both go on being compared
        monkeypatch.setattr(linear_products, "multiply_by_onednn", noted)
        monkeypatch.setattr(model, "_products", linear_products.LinearProducts(model.module))
        return by_onednn

    return watch
