"""image-feature-extraction: the pipeline's vectors, as a 2-D list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.pictures import SIZES, picture, to_base64, turned

TASK = get_task("image-feature-extraction")
FAMILIES = ["vit_encoder", "dinov2_encoder", "resnet_classifier"]


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, load: Load) -> Model:
    return load(request.param, "base")


def pipeline(model: Model) -> Any:
    return transformers.pipeline("image-feature-extraction", model=str(model.path))


@pytest.mark.parametrize("size", SIZES)
def test_the_pipelines_vectors(model: Model, ask: Ask, size: Any) -> None:
    image = picture(size)
    expected = np.array(pipeline(model)(image))[0]
    if expected.ndim == 3:  # a map: one vector per place
        expected = np.array([expected[:, y, x] for y in range(expected.shape[1]) for x in range(expected.shape[2])])
    answer = np.array(ask(TASK, model, {"base64": to_base64(image)}))
    assert answer.shape == expected.shape
    assert answer == pytest.approx(expected, abs=1e-4)


def test_pool_answers_one_vector(model: Model, ask: Ask) -> None:
    answer = ask(TASK, model, {"base64": to_base64(picture()), "params": {"pool": True}})
    expected = np.array(pipeline(model)(picture(), pool=True)).reshape(1, -1)
    assert np.array(answer) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_models_of_images_and_texts_answer_with_the_half_that_sees(load: Load, ask: Ask, family: str) -> None:
    model = load(family, "base")
    library = transformers.AutoModel.from_pretrained(model.path).vision_model.eval()
    pixels = model.processor.image_processor(picture(), return_tensors="pt")
    expected = library(**pixels).last_hidden_state[0].detach().numpy()
    assert np.array(ask(TASK, model, {"base64": to_base64(picture())})) == pytest.approx(expected, abs=1e-4)


def test_pooling_layer_that_was_never_trained_is_not_used(
    model_folder: Callable[[str], Path], ask: Ask, tmp_path: Path
) -> None:
    """The library fills missing weights with noise, and many checkpoints come without this layer."""
    from modelyard.worker.runtimes.base import load_model

    folder = model_folder("vit_encoder")
    library = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False)
    library.save_pretrained(tmp_path)
    transformers.AutoImageProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    model = load_model("transformers", tmp_path, ("base",), device="cpu")
    error = ask(TASK, model, {"base64": to_base64(picture()), "params": {"pool": True}})
    assert error.data["field"] == "params.pool"
    assert len(ask(TASK, model, {"base64": to_base64(picture())})) == 17


def test_batch_of_many_shapes_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [{"base64": to_base64(picture(size, seed))} for seed, size in enumerate([*SIZES, *SIZES])]
    for one, alone in zip(ask(TASK, model, *bodies), [ask(TASK, model, body) for body in bodies], strict=True):
        assert np.array(one) == pytest.approx(np.array(alone), abs=1e-4)


def test_exif_rotation_is_undone_before_the_model_sees_the_image(model: Model, ask: Ask) -> None:
    image = picture((41, 73))
    assert ask(TASK, model, {"base64": turned(image)}) == ask(TASK, model, {"base64": to_base64(image)})


def test_wrong_pool_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.pool"):
        read(TASK, {"base64": "AAAA", "params": {"pool": "mean"}})
