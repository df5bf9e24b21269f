import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.hub import Hub
from modelyard.errors import DownloadFailed, InvalidRequest, ModelRefused, UnknownModel
from modelyard.records.models import UNSAFE, Measurement, Source
from tests.catalog.models import diffusers, model, weights, write
from tests.hub.server import HubServer, Repo


async def test_a_local_model_has_a_card(root: Path) -> None:
    path = write(root / "acme" / "m", model(parameters=1000, readme="---\nlicense: mit\n---\n"))

    card = await Catalog(Folders([root])).get("acme/m")

    assert (card.model_id, card.task, card.source, card.path) == ("acme/m", "text-generation", Source.FOLDER, path)
    assert (
        card.inspection.parameters,
        card.inspection.weight_bytes,
        card.inspection.dtype,
        card.inspection.license,
    ) == (1000, 4000, "F32", "mit")
    assert not card.measured
    assert card.memory_bytes > 60 * 1024**2
    assert card.refusal is None


async def test_what_was_measured_replaces_the_estimate(root: Path) -> None:
    write(root / "acme" / "a", model())
    write(root / "acme" / "b", model())
    asked: list[Sequence[str]] = []

    def learned(ids: Sequence[str]) -> Mapping[str, Measurement]:
        asked.append(ids)
        return {"acme/a": Measurement(123_456_789, 4000)}

    catalog = Catalog(Folders([root]), learned=learned)
    a, b = await catalog.list()

    assert (a.memory_bytes, a.measured) == (123_456_789, True)
    assert not b.measured
    assert asked == [["acme/a", "acme/b"]]
    assert (await catalog.get("acme/a")).measured


async def test_what_was_measured_with_other_weights_says_nothing(root: Path) -> None:
    write(root / "acme" / "a", model(parameters=1000))
    catalog = Catalog(Folders([root]), learned=lambda ids: {"acme/a": Measurement(123_456_789, 4004)})

    card = await catalog.get("acme/a")

    assert not card.measured
    assert card.memory_bytes != 123_456_789


async def test_a_survey_tells_of_folders_that_changed_and_of_no_others(root: Path) -> None:
    write(root / "acme" / "a", model(parameters=10))
    write(root / "acme" / "b", model())
    (root / "acme" / "empty").mkdir()
    catalog = Catalog(Folders([root]))
    first = await catalog.survey(dict.fromkeys(await catalog.folder_ids(), ""))
    assert [each.card.inspection.parameters if each.card else None for each in first] == [10, 1000, None]
    stamps = {each.model_id: each.stamp for each in first}
    assert await catalog.survey(stamps) == []

    write(root / "acme" / "a", model(parameters=20))
    (root / "acme" / "b").rename(root / "b")

    a, b = await catalog.survey(stamps)
    assert a.card is not None
    assert (a.model_id, a.card.inspection.parameters) == ("acme/a", 20)
    assert (b.model_id, b.stamp, b.card) == ("acme/b", None, None)


async def test_a_survey_notices_the_operators_consent(root: Path) -> None:
    write(root / "acme" / "a", model())
    (surveyed,) = await Catalog(Folders([root])).survey({"acme/a": ""})
    stamps = {"acme/a": surveyed.stamp}

    assert await Catalog(Folders([root])).survey(stamps) == []
    assert len(await Catalog(Folders([root]), allow_unsafe=frozenset({"acme/a"})).survey(stamps)) == 1


async def test_an_unknown_model_is_answered_with_near_names_and_places(root: Path, tmp_path: Path) -> None:
    write(root / "acme" / "tiny-gpt2", model())

    with pytest.raises(UnknownModel) as failure:
        await Catalog(Folders([root, tmp_path / "absent"])).get("acme/tiny-gtp2")

    assert failure.value.data["nearest"] == ["acme/tiny-gpt2"]
    assert failure.value.message == ("There is no model acme/tiny-gtp2 here. Did you mean acme/tiny-gpt2?")
    assert failure.value.detail == f"Looked in {root}, {tmp_path / 'absent'} (no such directory)."


async def test_without_any_place_to_look_that_is_said() -> None:
    with pytest.raises(UnknownModel) as failure:
        await Catalog(Folders([])).get("acme/m")
    assert "none is configured" in (failure.value.detail or "")


async def test_ill_formed_ids_are_refused(root: Path) -> None:
    catalog = Catalog(Folders([root]))

    for model_id in ("gpt2", "../../etc/passwd", "a/b/c", ""):
        with pytest.raises(InvalidRequest, match="org/name"):
            await catalog.get(model_id)
        assert await catalog.list(model_id=model_id) == []


async def test_lists_narrow_by_task_and_id(root: Path) -> None:
    write(root / "acme" / "writer", model())
    write(root / "acme" / "painter", diffusers())
    catalog = Catalog(Folders([root]))

    async def ids(**narrow: str) -> list[str]:
        return [card.model_id for card in await catalog.list(**narrow)]

    assert await ids() == ["acme/painter", "acme/writer"]
    assert await ids(task="text-to-image") == ["acme/painter"]
    assert await ids(model_id="acme/writer") == ["acme/writer"]
    assert await ids(model_id="acme/writer", task="text-to-image") == []
    assert await ids(model_id="acme/nobody") == []


async def test_a_new_folder_appears_in_a_running_catalog(root: Path) -> None:
    catalog = Catalog(Folders([root]))
    assert await catalog.find("acme/new") is None

    write(root / "acme" / "new", model())

    assert await catalog.find("acme/new") is not None
    assert [card.model_id for card in await catalog.list()] == ["acme/new"]


async def test_a_refused_model_is_listed_but_its_files_are_not_handed_out(root: Path) -> None:
    write(root / "acme" / "cut", {**model(), "model.safetensors": weights()[:50]})
    catalog = Catalog(Folders([root]))

    card = await catalog.get("acme/cut")

    assert "cut off" in (card.refusal or "")
    with pytest.raises(ModelRefused, match="cut off"):
        await catalog.ensure_files(card)


async def test_consent_lifts_a_refusal(root: Path) -> None:
    files = {name: content for name, content in model().items() if name != "model.safetensors"}
    path = write(root / "acme" / "old", {**files, "pytorch_model.bin": b"\x80"})

    strict = await Catalog(Folders([root])).get("acme/old")
    catalog = Catalog(Folders([root]), allow_unsafe=frozenset({"acme/old"}))
    lenient = await catalog.get("acme/old")

    assert "pickle" in (strict.refusal or "")
    assert strict.refusal_cause == UNSAFE
    assert lenient.refusal is None
    assert await catalog.ensure_files(lenient) == path


async def test_local_files_are_there_at_once(root: Path) -> None:
    path = write(root / "acme" / "m", model())
    catalog = Catalog(Folders([root]))

    assert await catalog.ensure_files(await catalog.get("acme/m")) == path


async def test_a_folder_wins_over_the_hub(root: Path, server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(model(parameters=10))
    server.repos["acme/only-there"] = Repo(model())
    write(root / "acme" / "m", model(parameters=20))
    catalog = Catalog(Folders([root]), hub)

    card = await catalog.get("acme/m")

    assert (card.source, card.inspection.parameters) == (Source.FOLDER, 20)
    assert server.requests == []
    assert (await catalog.get("acme/only-there")).source is Source.HUB
    assert [(card.model_id, card.source) for card in await catalog.list()] == [
        ("acme/m", Source.FOLDER),
        ("acme/only-there", Source.HUB),
    ]


async def test_a_hub_model_is_fetched_and_then_known_to_be_here(root: Path, server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(model())
    catalog = Catalog(Folders([root]), hub)
    card = await catalog.get("acme/m")
    assert card.path is None

    path = await catalog.ensure_files(card)

    assert (path / "model.safetensors").read_bytes() == model()["model.safetensors"]
    assert (await catalog.get("acme/m")).path == path


async def test_an_unknown_model_names_the_hub_and_the_token(root: Path, server: HubServer, hub: Hub) -> None:
    server.repos["acme/known"] = Repo(model())
    catalog = Catalog(Folders([root]), hub)
    await catalog.get("acme/known")

    with pytest.raises(UnknownModel) as failure:
        await catalog.get("acme/knwon")

    assert f"{server.url} (without HF_TOKEN" in (failure.value.detail or "")
    assert failure.value.data["nearest"] == ["acme/known"]


async def test_a_hub_that_does_not_answer_still_leaves_a_guess(root: Path, server: HubServer, hub: Hub) -> None:
    write(root / "acme" / "tiny-gpt2", model())
    server.faults.status = 503
    catalog = Catalog(Folders([root]), hub)

    with pytest.raises(UnknownModel, match=r"answers 503.*Did you mean acme/tiny-gpt2\?") as failure:
        await catalog.get("acme/tiny-gtp2")
    assert server.url not in failure.value.message
    assert server.url in (failure.value.detail or "")
    assert await catalog.list(model_id="acme/tiny-gtp2") == []


async def test_a_hub_card_without_a_hub_cannot_be_fetched(root: Path, server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(model())
    card = await Catalog(Folders([root]), hub).get("acme/m")

    with pytest.raises(DownloadFailed, match="told not to use"):
        await Catalog(Folders([root])).ensure_files(card)


async def test_getting_a_known_local_model_costs_next_to_nothing(root: Path) -> None:
    write(root / "acme" / "m", {**model(), **{f"extra{number}.json": b"{}" for number in range(6)}})
    catalog = Catalog(Folders([root]))
    await catalog.get("acme/m")

    started = time.process_time()
    for _ in range(200):
        await catalog.get("acme/m")

    assert time.process_time() - started < 200 * 0.0005


def test_the_catalog_imports_no_framework() -> None:
    program = (
        "import sys, modelyard.catalog.catalog as c, modelyard.catalog.hub as h; h.Hub(); "
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'httpx', 'numpy'} & set(sys.modules); "
        "sys.exit(' '.join(heavy) or 0)"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
