"""Folders whose weights have other names, or lie elsewhere: the same answers as from the usual layout."""

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import ModelRefused
from modelyard.records.conversions import converted_name
from modelyard.tasks.feature_extraction import TASK as EMBEDDING
from modelyard.tasks.image_feature_extraction import TASK as SEEING
from modelyard.tasks.sentence_similarity import TASK as SIMILARITY
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.pickles import convert

HEADS = ("sequence-classification",)
INPUTS = {"input_ids": np.array([[2, 7, 9, 3]]), "attention_mask": np.ones((1, 4), dtype=np.int64)}
A_FOX = {"text": "a fox", "num_inference_steps": 1, "seed": 1}
SENTENCES = {"text": "a fox", "sentences": ["a dog", "the sea"]}


@pytest.fixture
def classifier(model_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("bert_classifier"), tmp_path / "classifier"))


@pytest.fixture
def sentences(model_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A sentence-transformers folder as it was before 2023: the model in a folder of its own."""
    folder = Path(shutil.copytree(model_folder("sentence_transformer"), tmp_path / "sentences"))
    part = folder / "0_Transformer"
    part.mkdir()
    for file in [each for each in folder.iterdir() if each.is_file() and each.name != "modules.json"]:
        file.rename(part / file.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = part.name
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def logits(folder: Path) -> Any:
    return load_model("transformers", folder, HEADS).forward(INPUTS)["logits"]


def test_weights_named_after_their_type_are_loaded(classifier: Path) -> None:
    usual = logits(classifier)
    (classifier / "model.safetensors").rename(classifier / "model.fp16.safetensors")

    assert inspect_folder(classifier).problem is None
    np.testing.assert_array_equal(logits(classifier), usual)


def test_so_are_those_in_parts(classifier: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    usual = logits(classifier)
    whole = AutoModelForSequenceClassification.from_pretrained(classifier)
    (classifier / "model.safetensors").unlink()
    whole.save_pretrained(classifier, variant="fp16", max_shard_size="50KB")

    found = inspect_folder(classifier)
    assert len(found.weight_files) > 1
    assert found.problem is None
    np.testing.assert_array_equal(logits(classifier), usual)
    (classifier / found.weight_files[-1]).unlink()
    assert "are there" in (inspect_folder(classifier).problem or "")


def test_and_pickled_ones_where_they_are_allowed(classifier: Path) -> None:
    usual = logits(classifier)
    torch.save(load_file(classifier / "model.safetensors"), classifier / "pytorch_model.fp16.bin")
    (classifier / "model.safetensors").unlink()

    found = inspect_folder(classifier)
    assert (found.pickle_only, found.weight_files) == (True, ("pytorch_model.fp16.bin",))
    convert(classifier / found.weight_files[0], classifier / converted_name(found.weight_files[0]))
    np.testing.assert_allclose(logits(classifier), usual, atol=1e-6)


def test_a_sentence_transformer_may_have_its_model_in_a_folder_of_its_own(
    sentences: Path, model_folder: Callable[[str], Path], ask: Callable[..., Any]
) -> None:
    found = inspect_folder(sentences)
    assert (found.problem, found.task) == (None, "sentence-similarity")
    assert found.weight_files[0] == "0_Transformer/model.safetensors"

    answers = [
        ask(SIMILARITY, load_model("transformers", folder, ("base",)), SENTENCES)
        for folder in (sentences, model_folder("sentence_transformer"))
    ]

    assert answers[0] == answers[1]


def test_a_part_outside_of_the_folder_is_not_read(sentences: Path) -> None:
    modules = json.loads((sentences / "modules.json").read_text())
    modules[0]["path"] = "../sentences"
    shutil.copytree(sentences / "0_Transformer", sentences.parent / "elsewhere")
    modules[0]["path"] = "../elsewhere"
    (sentences / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(ModelRefused, match="names a folder outside of it"):
        load_model("transformers", sentences, ("base",))


@pytest.mark.parametrize("named", [("unet",), ("unet", "vae", "text_encoder"), ("text_encoder",)])
def test_pipelines_too_whether_all_their_parts_are_named_so_or_some(
    model_folder: Callable[[str], Path], tmp_path: Path, named: tuple[str, ...]
) -> None:
    folder = Path(shutil.copytree(model_folder("stable_diffusion"), tmp_path / "pipeline"))
    for part in named:
        for file in (folder / part).glob("*.safetensors"):
            file.rename(file.with_suffix(".fp16.safetensors"))

    assert inspect_folder(folder).problem is None
    pictures = [
        load_model("diffusers", each, ("image-pipeline",)).make(A_FOX, lambda _step, _steps: False)
        for each in (folder, model_folder("stable_diffusion"))
    ]
    assert pictures[0] is not None
    np.testing.assert_array_equal(pictures[0], pictures[1])


@pytest.fixture
def clip_sentences(model_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """CLIP as sentence-transformers publishes it."""
    folder = tmp_path / "clip-sentences"
    shutil.copytree(model_folder("clip"), folder / "0_CLIPModel")
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    (folder / "modules.json").write_text(json.dumps([module]))
    return folder


def library_features(folder: Path, text: str, **settings: Any) -> list[float]:
    """What the library called directly makes of a text."""
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", **settings)
    with torch.inference_mode():
        features: list[float] = AutoModel.from_pretrained(folder).get_text_features(**tokens).pooler_output[0].tolist()
    return features


def test_clip_as_a_sentence_transformer_embeds_texts(clip_sentences: Path, ask: Callable[..., Any]) -> None:
    found = inspect_folder(clip_sentences)
    assert (found.problem, found.task) == (None, "sentence-similarity")
    model = load_model("transformers", clip_sentences, ("base",))

    vector = ask(EMBEDDING, model, {"text": "a fox"})

    assert vector == pytest.approx(library_features(clip_sentences / "0_CLIPModel", "a fox"), abs=1e-5)
    assert len(ask(SIMILARITY, model, SENTENCES)) == 2


def test_and_images_into_the_same_space_where_its_card_says_so(clip_sentences: Path, ask: Callable[..., Any]) -> None:
    """As the library called directly, which is what sentence-transformers does."""
    from transformers import AutoImageProcessor, AutoModel

    (clip_sentences / "README.md").write_text("---\npipeline_tag: image-feature-extraction\n---\n")
    found = inspect_folder(clip_sentences)
    assert (found.problem, found.task) == (None, "image-feature-extraction")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    part = clip_sentences / "0_CLIPModel"
    inputs = AutoImageProcessor.from_pretrained(part)(Image.fromarray(pixels), return_tensors="pt")
    with torch.inference_mode():
        wanted = AutoModel.from_pretrained(part).get_image_features(**inputs).pooler_output[0].tolist()

    model = load_model("transformers", clip_sentences, ("base",))
    body = {"base64": base64.b64encode(held.getvalue()).decode(), "params": {"pool": True}}
    (vector,) = ask(SEEING, model, body)

    assert vector == pytest.approx(wanted, abs=1e-5)
    assert len(vector) == len(ask(EMBEDDING, model, {"text": "a fox"}))


@pytest.mark.parametrize(("name", "settings"), [("clip", {}), ("siglip", {"padding": "max_length"})])
def test_texts_are_embedded_by_the_tower_that_reads_them(
    name: str, settings: dict[str, str], model_folder: Callable[[str], Path], ask: Callable[..., Any]
) -> None:
    folder = model_folder(name)
    model = load_model("transformers", folder, ("base",))
    texts = ["a fox", "a dog that slept by the sea"]

    vectors = ask(EMBEDDING, model, {"text": texts})

    for text, vector in zip(texts, vectors, strict=True):
        assert vector == pytest.approx(library_features(folder, text, **settings), abs=1e-5)
