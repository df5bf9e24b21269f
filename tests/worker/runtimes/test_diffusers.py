"""Pipelines on diffusers: what is loaded, what is refused, what is kept off the log."""

import json
import pickle
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from modelyard.errors import BootFailed, InferenceFailed, InvalidRequest, ModelRefused
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.diffusers import find_dtype, load_processors
from tests.builders.pictures import picture

HEADS = ("image-pipeline",)


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder("ddpm"), tmp_path / "ddpm")


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def go_on(done, total):
    return False


def test_each_runtime_refuses_the_others_tasks(model_folder):
    with pytest.raises(ModelRefused, match="causal-lm"):
        load_model("diffusers", model_folder("ddpm"), ("causal-lm",), device="cpu")
    with pytest.raises(ModelRefused, match="image-pipeline"):
        load_model("transformers", model_folder("gpt2"), HEADS, device="cpu")


def test_a_text_model_is_no_voice(model_folder):
    with pytest.raises(ModelRefused, match=r"gpt2 models are not served; .*vits, speecht5, .*musicgen"):
        load_model("transformers", model_folder("gpt2"), ("text-to-waveform",), device="cpu")


def test_cuda_that_is_not_there_is_said(model_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BootFailed, match="CUDA"):
        load_model("diffusers", model_folder("ddpm"), HEADS, device="cuda")


def test_pickled_weights_are_not_read(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.with_suffix(".bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelRefused, match="safetensors"):
        load_model("diffusers", folder, HEADS, device="cpu")


@pytest.mark.parametrize("missing", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
def test_a_folder_that_is_not_whole_is_refused(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        load_model("diffusers", folder, HEADS, device="cpu")


def test_truncated_weights_are_refused(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        load_model("diffusers", folder, HEADS, device="cpu")


@pytest.mark.parametrize(
    ("part", "file"),
    [("unet", "diffusion_pytorch_model"), ("text_encoder", "model"), ("vae", "diffusion_pytorch_model")],
)
def test_missing_weights_are_not_made_up(model_folder, tmp_path, part, file):
    folder = shutil.copytree(model_folder("stable_diffusion"), tmp_path / "sd")
    weights = folder / part / f"{file}.safetensors"
    tensors = load_file(weights)
    del tensors[min(tensors)]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ModelRefused, match="not complete"):
        load_model("diffusers", folder, HEADS, device="cpu")


def test_a_processor_reads_texts_and_images_also_where_there_is_no_torchvision(model_folder, tmp_path):
    shutil.copytree(model_folder("qwen2_vl"), tmp_path / "processor")
    index = {"_class_name": "QwenImageEditPipeline", "processor": ["transformers", "Qwen2VLProcessor"]}
    found = load_processors(tmp_path, {**index, "tokenizer": ["transformers", "Qwen2Tokenizer"]})
    inputs = found["processor"](text=["<|image_pad|> a fox"], images=[picture(size=(48, 32))], return_tensors="pt")
    images = transformers.Qwen2VLImageProcessorPil.from_pretrained(tmp_path / "processor")
    assert list(found) == ["processor"]
    assert torch.equal(inputs["pixel_values"], images([picture(size=(48, 32))], return_tensors="pt")["pixel_values"])
    seen = (inputs["input_ids"] == found["processor"].image_token_id).sum()
    assert seen == inputs["image_grid_thw"].prod() / images.merge_size**2


def test_a_processor_that_cannot_be_loaded_is_named(tmp_path):
    (tmp_path / "tiny" / "processor").mkdir(parents=True)
    with pytest.raises(ModelRefused, match=r"^tiny's processor cannot be loaded: "):
        load_processors(tmp_path / "tiny", {"processor": ["transformers", "PixtralProcessor"]})


def test_code_of_the_repository_is_not_run(folder, tmp_path):
    proof = tmp_path / "ran"
    code = f"open({str(proof)!r}, 'w')\n"
    (folder / "pipeline.py").write_text(code)
    (folder / "unet" / "mine.py").write_text(code)
    for changes in ({"_class_name": ["pipeline", "Mine"]}, {"unet": ["mine", "Mine"]}):
        edit(folder / "model_index.json", **changes)
        with pytest.raises(ModelRefused, match="its own code"):
            load_model("diffusers", folder, HEADS, device="cpu")
        shutil.copy(folder / "model_index.json", tmp_path)
    assert not proof.exists()


def test_a_pipeline_of_another_kind_is_told_apart(model_folder):
    model = load_model("diffusers", model_folder("ddpm"), ("video-pipeline",), device="cpu")
    with pytest.raises(InferenceFailed, match="DDPMPipeline does not make frames"):
        model.make({"num_inference_steps": 1}, go_on)


def test_a_pipeline_without_sound_has_no_rate(model_folder):
    with pytest.raises(ModelRefused, match="samples a second"):
        load_model("diffusers", model_folder("ddpm"), ("audio-pipeline",), device="cpu")


def test_no_progress_bars_on_the_log(model_folder, capfd):
    folder = model_folder("stable_diffusion")
    capfd.readouterr()
    model = load_model("diffusers", folder, HEADS, device="cpu")
    model.make({"text": "a fox", "num_inference_steps": 2}, go_on)
    assert capfd.readouterr() == ("", "")


def test_half_precision_is_kept_for_cuda_and_widened_on_the_cpu(model_folder, tmp_path):
    from diffusers import DDPMPipeline

    DDPMPipeline.from_pretrained(model_folder("ddpm"), dtype=torch.float16).save_pretrained(tmp_path / "half")
    assert find_dtype(tmp_path / "half") is torch.float16
    assert find_dtype(model_folder("ddpm")) is torch.float32
    model = load_model("diffusers", tmp_path / "half", HEADS, device="cpu")
    assert model.make({"num_inference_steps": 1, "seed": 0}, go_on).shape == (16, 16, 3)


def test_arguments_that_a_pipeline_cannot_follow_are_the_clients_error(model_folder):
    model = load_model("diffusers", model_folder("stable_diffusion"), HEADS, device="cpu")
    with pytest.raises(InvalidRequest, match=r"params: .*divisible by 8"):
        model.make({"text": "a fox", "height": 20, "width": 32}, go_on)


def test_more_steps_than_the_schedule_has_are_named(model_folder, folder):
    edit(folder / "scheduler" / "scheduler_config.json", num_train_timesteps=10)
    for path, most in ((folder, 10), (model_folder("stable_diffusion"), 999)):
        model = load_model("diffusers", path, HEADS, device="cpu")
        with pytest.raises(
            InvalidRequest, match=rf"params\.num_inference_steps: got {most + 1}; accepted: at most {most}"
        ):
            model.make({"num_inference_steps": most + 1}, go_on)


def test_out_of_memory_says_what_to_do(model_folder):
    model = load_model("diffusers", model_folder("ddpm"), HEADS, device="cpu")

    def exhaust(done, total):
        raise MemoryError

    with pytest.raises(InferenceFailed, match="smaller or shorter"):
        model.make({"num_inference_steps": 1}, exhaust)


def test_pipelines_that_clean_their_texts_have_what_they_need_for_it():
    """Wan and others import ftfy where it is there, and use it where it is not."""
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    assert prompt_clean("caf\u00c3\u00a9 &amp; bar ") == "café & bar"
