"""Pipelines over HTTP, on replicas: Stable Diffusion in one file, and a sound made by diffusion."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import modelyard.worker.runtimes.transformers  # noqa: F401 - what it puts off, the libraries then do without

import diffusers  # isort: skip
import numpy as np
import pytest
import torch

from tests.builders import checkpoints
from tests.builders.made import png_pixels, wav_sound
from tests.coverage.pipelines.audio_families import stable_audio
from tests.coverage.pipelines.recipes import build
from tests.serving import Server, wait_until

pytestmark = [
    pytest.mark.imports_models,
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),  # by the library, to itself
]

ONE_FILE, IN_FOLDERS, SOUND = "tests/one-file", "tests/in-folders", "tests/sound"
TEXT, SEED, STEPS, SECONDS = "a calm tune on a wooden flute", 7, 3, 1.0
SIZED = {"num_inference_steps": STEPS, "height": 32, "width": 32, "seed": SEED}


@pytest.fixture(scope="module")
def server(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    parts = checkpoints.parts_of_1()
    checkpoints.save_checkpoint(models / ONE_FILE, parts)
    diffusers.StableDiffusionPipeline(**parts).save_pretrained(models / IN_FOLDERS)
    build("StableAudioPipeline", stable_audio, models / SOUND)
    with shared_server.with_models(models) as running:
        yield running


def make(server: Server, model_id: str, media_type: str, **params: object) -> dict[str, object]:
    """What the model makes of TEXT, as its file."""
    response = server.post(model_id, text=TEXT, params=params, json=False)
    assert response.status_code == 200, response.text
    return {"media_type": media_type, "data": base64.b64encode(response.content)}


def test_stable_diffusion_in_one_file_answers_as_in_folders(server: Server) -> None:
    images = []
    for model_id in (ONE_FILE, IN_FOLDERS):
        images.append(png_pixels(make(server, model_id, "image/png", **SIZED)))
        server.delete(model_id)
        wait_until(lambda: not server.workers())  # beside another, the next would compute with fewer threads
    assert np.array_equal(*images)


def test_a_sound_made_by_diffusion_is_that_of_the_library(server: Server) -> None:
    params = {"num_inference_steps": STEPS, "duration": SECONDS, "seed": SEED}
    samples, rate = wav_sound(make(server, SOUND, "audio/wav", **params))
    pipeline = diffusers.DiffusionPipeline.from_pretrained(server.models_dir / SOUND, dtype=torch.float32)
    generator = torch.Generator().manual_seed(SEED)
    (wanted,) = pipeline(
        TEXT, num_inference_steps=STEPS, audio_end_in_s=SECONDS, generator=generator, output_type="np"
    ).audios
    assert rate == 800
    assert samples.shape == wanted.T.shape
    assert np.abs(samples - wanted.T).max() < 2 / 32767
