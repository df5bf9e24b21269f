"""Replicas of one model share its weights, and say truly what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import model_spec
from tests.engine.harness import Harness, ask
from tests.engine.sharing import build_weighty, costs_of, touch

MOST_EXTRA = 0.20
MIB = 1024**2


@pytest.fixture(scope="session")
def weighty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_weighty(tmp_path_factory.mktemp("models") / "weighty")


async def test_a_second_replica_costs_little(real: Harness, weighty: Path, tmp_path: Path) -> None:
    real.good = lambda: model_spec(weighty, tmp_path / "log")
    weight_bytes = (weighty / "model.safetensors").stat().st_size
    first, second = await costs_of(real, 2)
    assert first > weight_bytes
    assert second < MOST_EXTRA * first, f"first {first / MIB:.0f} MiB, second {second / MIB:.0f} MiB"


async def test_reported_memory_follows_what_is_touched(real: Harness, weighty: Path, tmp_path: Path) -> None:
    link = await real.boot(model_spec(weighty, tmp_path / "log"))
    replica_id = real.id_of(link)
    weight_bytes = (weighty / "model.safetensors").stat().st_size
    at_first = real.engine.sightings()[replica_id].memory_bytes
    assert at_first is not None
    most = at_first + 0.8 * weight_bytes  # at first they are mapped, but not read
    await ask(link, "Once upon a time", max_new_tokens=2)
    await real.until(lambda: (real.engine.sightings()[replica_id].memory_bytes or 0) > most)
    sighting = real.engine.sightings()[replica_id]
    assert sighting.link is link
    assert sighting.peak_bytes is not None
    assert sighting.memory_bytes is not None
    assert sighting.peak_bytes >= sighting.memory_bytes


async def test_the_figure_does_not_depend_on_how_many_replicas_share_the_weights(
    real: Harness, weighty: Path, tmp_path: Path
) -> None:
    sightings = real.engine.sightings()
    weight_bytes = (weighty / "model.safetensors").stat().st_size

    async def figures(count: int) -> list[int]:
        """What each replica says that it holds, once all have read their weights."""
        await real.clear()
        ids = []
        for _ in range(count):
            link = await real.boot(model_spec(weighty, tmp_path / "log"))
            ids.append(real.id_of(link))
        for replica_id in ids:
            link = sightings[replica_id].link
            assert link is not None
            await touch(link)
        await real.until(lambda: all((sightings[each].memory_bytes or 0) > weight_bytes for each in ids))
        return [sightings[each].memory_bytes or 0 for each in ids]

    (alone,) = await figures(1)
    for shared in await figures(3):
        assert shared == pytest.approx(alone, rel=0.05)
