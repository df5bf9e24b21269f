"""What a job measures is what its worker really held, for models of five kinds, one of them an 8-bit variant.

The truth is taken from outside: what the server's processes hold together, that worker at the peak that the kernel
keeps of it, less what they hold without it. Whoever else runs on the machine does not change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard.units import GIB
from modelyard.worker.memory import start_ticks
from tests.e2e.jobs import listed, request, until_over
from tests.peaks import Watch, total_bytes
from tests.processes import Processes
from tests.serving import Server

WITHIN = 0.10


def text(folder: Path) -> None:
    """BERT, 57 million parameters.

    So many that what its variant's library shares with other workers on the machine, some 6 MB, is a small part.
    """
    from tests.builders.sized import text_classifier

    text_classifier(folder, hidden_size=768, num_hidden_layers=8, num_attention_heads=12, intermediate_size=3072)


def image(folder: Path) -> None:
    """ViT, 11 million parameters."""
    from tests.builders.sized import image_classifier

    image_classifier(folder, hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1536)


def audio(folder: Path) -> None:
    """Wav2Vec2, 8 million parameters."""
    from tests.builders.sized import sound_classifier

    sizes = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 1024}
    sound_classifier(folder, **sizes, conv_dim=(96,) * 7)


def diffusion(folder: Path) -> None:
    """A DDPM of 14 million parameters that paints 64 × 64 pixels."""
    import diffusers

    unet = diffusers.UNet2DModel(
        sample_size=64,
        block_out_channels=(64, 128, 256),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    diffusers.DDPMPipeline(unet=unet, scheduler=diffusers.DDPMScheduler()).save_pretrained(folder)


TEXT = "kinds/text"
KINDS: dict[str, Callable[[Path], None]] = {
    TEXT: text,
    "kinds/image": image,
    "kinds/audio": audio,
    "kinds/diffusion": diffusion,
}
"""Model id → what builds it."""
VARIANT_KIND = ".onnx.8-bit"
VARIANT = f"{TEXT}{VARIANT_KIND}"
in_verify = pytest.mark.verify(part="memory")


def ensure_model(models: Path, model_id: str) -> None:
    """Builds the model, or the original of a variant, if no test has done so before."""
    original_id = model_id.removesuffix(VARIANT_KIND)
    if not (models / original_id).exists():
        KINDS[original_id](models / original_id)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "kinds").mkdir()
    return folder


@pytest.fixture(scope="module")
def own_server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that measures for longer."""
    with Server(tmp_path_factory.mktemp("measured"), models, "--job-benchmark-s", "4") as running:
        yield running


def hold_to_what_a_replica_holds(server: Server, model_id: str) -> None:
    """Has the model measured: what is told is what its worker held."""
    watch = Watch(lambda: pids(server))
    watch.start()
    request(server.client, model_id)
    job = until_over(server.client, model_id)
    assert job["status"] == "done", job["message"]
    real = watch.finish() - total_bytes(pids(server))
    measured = listed(server, model_id)["ramRequired"] * GIB
    assert measured == pytest.approx(real, rel=WITHIN), (
        f"measured {measured / 2**20:.0f} MB, real {real / 2**20:.0f} MB"
    )


def test_the_measured_memory_is_what_a_replica_holds(shared_server: Server, models: Path) -> None:
    ensure_model(models, TEXT)
    with shared_server.with_models(models) as server:
        hold_to_what_a_replica_holds(server, TEXT)


@in_verify
@pytest.mark.parametrize("model_id", [*KINDS, VARIANT])
def test_the_measured_memory_of_every_kind_is_what_a_replica_holds(
    own_server: Server, models: Path, model_id: str
) -> None:
    ensure_model(models, model_id)
    if model_id == VARIANT:
        unmade = own_server.put(VARIANT)
        assert unmade.status_code == 404
        assert f"/models/v2/request/{VARIANT}" in unmade.json()["error"]
    hold_to_what_a_replica_holds(own_server, model_id)


@in_verify
def test_the_variant_is_a_model_like_any_other(own_server: Server) -> None:
    original_id = VARIANT.removesuffix(VARIANT_KIND)
    listed = {row["modelId"]: row for row in own_server.client.get("/models/v2/list/models").json()["output"]}
    row = listed[VARIANT]
    assert (row["benchmarked"], row["variantOf"], row["task"]) == (True, original_id, "text-classification")
    assert row["ramRequired"] < listed[original_id]["ramRequired"]
    assert listed[original_id]["variants"] == [VARIANT]
    assert VARIANT in [each["name"] for each in own_server.client.get("/model/list").json()]
    labels, expected = (own_server.run(each, text="a fine day") for each in (VARIANT, original_id))
    scores = {label["label"]: label["score"] for label in expected}
    assert {label["label"]: label["score"] for label in labels} == pytest.approx(scores, abs=0.05)
    for each in (VARIANT, original_id):
        own_server.delete(each)


def pids(server: Server) -> list[int]:
    """The server's processes, the youngest last: after a job, that was the worker whose memory counts."""
    started = {pid: ticks for pid in Processes().family(server.pid) if (ticks := start_ticks(pid)) is not None}
    return sorted(started, key=started.__getitem__)
