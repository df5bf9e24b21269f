"""The runtime with models that see: processors, other passes than forward, the library's last steps in plain data."""

import json
import shutil

import numpy as np
import pytest

from modelyard.errors import InferenceFailed, ModelRefused
from modelyard.worker.runtimes.base import load_model
from tests.builders.pictures import picture


@pytest.fixture
def detector(load):
    return load("yolos", "object-detection")


def seen(model):
    return dict(model.processor(picture(), return_tensors="np"))


def test_image_models_have_a_processor_and_text_models_a_tokenizer(load):
    vit, bert, clip = (
        load(family, head)
        for family, head in (
            ("vit_classifier", "image-classification"),
            ("bert_classifier", "sequence-classification"),
            ("clip", "zero-shot-image-classification"),
        )
    )
    assert (vit.processor is None, vit.tokenizer is None, vit.max_length) == (False, True, None)
    assert (bert.processor is None, bert.tokenizer is None) == (True, False)
    assert (clip.processor is None, clip.tokenizer is None, clip.max_length) == (False, False, 64)


def test_image_model_without_its_processor_is_refused_by_name(model_folder, tmp_path):
    folder = tmp_path / "blind"
    shutil.copytree(model_folder("vit_classifier"), folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelRefused, match=r"blind has no preprocessor_config\.json"):
        load_model("transformers", folder, ("image-classification",), device="cpu")


def test_processor_nobody_can_load_is_refused_with_the_reason(model_folder, tmp_path):
    folder = tmp_path / "strange"
    shutil.copytree(model_folder("vit_classifier"), folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "NoSuchProcessor"}))
    (folder / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ModelRefused, match="strange"):
        load_model("transformers", folder, ("image-classification",), device="cpu")


def test_arguments_the_architecture_does_not_take_are_left_out(load):
    vit = load("vit_classifier", "image-classification")
    with_more = vit.forward({**seen(vit), "pixel_mask": np.ones((1, 32, 32))})
    assert np.array_equal(with_more["logits"], vit.forward(seen(vit))["logits"])


def test_other_passes_and_parts_run_by_name(load):
    clip = load("clip", "zero-shot-image-classification")
    pixels = dict(clip.processor.image_processor(picture(), return_tensors="np"))
    assert clip.forward(pixels, method="vision_model")["last_hidden_state"].shape == (1, 17, 32)
    with pytest.raises(InferenceFailed, match="clip models have no audio_model"):
        clip.forward(pixels, method="audio_model")


def test_nested_outputs_are_mappings_and_lists_of_arrays(load):
    clip = load("clip", "zero-shot-image-classification")
    text = dict(clip.tokenizer(["a fox"], return_tensors="np"))
    pixels = dict(clip.processor.image_processor(picture(), return_tensors="np"))
    outputs = clip.forward({**text, **pixels}, output_hidden_states=True)
    assert isinstance(outputs["vision_model_output"]["pooler_output"], np.ndarray)
    assert all(isinstance(layer, np.ndarray) for layer in outputs["vision_model_output"]["hidden_states"])


def test_postprocessing_takes_and_gives_plain_data(detector):
    assert detector.can_postprocess("post_process_object_detection")
    assert not detector.can_postprocess("post_process_masks")
    (found,) = detector.postprocess(
        "post_process_object_detection", detector.forward(seen(detector)), threshold=0.0, target_sizes=[(48, 64)]
    )
    assert {name: type(value) for name, value in found.items()} == dict.fromkeys(
        ("scores", "labels", "boxes"), np.ndarray
    )
    assert found["boxes"].shape == (10, 4)
