import asyncio
import hashlib
from pathlib import Path

import pytest

from modelyard.catalog import hub as hub_module
from modelyard.catalog.hub import Hub
from modelyard.errors import DownloadFailed, InvalidRequest, ModelRefused
from modelyard.records.models import Source
from tests.catalog.conftest import OpenHub
from tests.catalog.models import diffusers, model, sentence_transformer, sharded, text, weights
from tests.clock import HandClock
from tests.hub.server import HubServer, Repo

ABSENT = "http://127.0.0.1:9"  # the discard port: nothing listens


async def lookups_done() -> None:
    """Waits for the questions that are asked behind the scenes."""
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name().startswith("look up")))


async def test_a_model_is_described_without_its_weights(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    big = weights(500_000)
    server.repos["acme/m"] = Repo({**model(config={"n_positions": 128}), "model.safetensors": big})

    found = await hub.find("acme/m")

    assert found is not None
    assert (found.source, found.path, found.revision) == (Source.HUB, None, server.repos["acme/m"].commit)
    what = found.inspection
    assert (what.task, what.parameters, what.dtype, what.max_length) == ("text-generation", 500_000, "F32", 128)
    assert server.ranges("model.safetensors") == ["bytes=0-65535"] * 2  # the redirect and the content network
    assert not (tmp_path / "cache").exists()


async def test_counts_that_the_hub_knows_save_reading_headers(server: HubServer, hub: Hub) -> None:
    api = {"safetensors": {"parameters": {"BF16": 10, "F32": 2}, "total": 12}}
    server.repos["acme/m"] = Repo(model(), api)

    found = await hub.find("acme/m")

    assert found is not None
    assert (found.inspection.parameters, found.inspection.weight_bytes, found.inspection.dtype) == (12, 28, "BF16")
    assert server.count("safetensors") == 0


async def test_what_the_author_says_on_the_hub_counts(server: HubServer, hub: Hub) -> None:
    api = {"pipeline_tag": "text-generation", "tags": ["conversational", "license:mit"]}
    server.repos["acme/m"] = Repo(model("LlamaForCausalLM", "llama"), api)

    found = await hub.find("acme/m")

    assert found is not None
    assert (found.inspection.task, found.inspection.license) == ("chat", "mit")
    assert server.count("README") == 0


@pytest.mark.parametrize("files", [sharded(3), diffusers(), sentence_transformer()])
async def test_models_of_several_parts_are_described(server: HubServer, hub: Hub, files: dict[str, bytes]) -> None:
    server.repos["acme/m"] = Repo(files)

    found = await hub.find("acme/m")

    assert found is not None
    assert found.inspection.problem is None


async def test_a_header_longer_than_the_first_read_is_read_on(server: HubServer, hub: Hub) -> None:
    import numpy as np
    from safetensors.numpy import save

    many = save({f"layer.{number}.a.rather.long.name.weight": np.ones(2, "float32") for number in range(2000)})
    server.repos["acme/m"] = Repo({**model(), "model.safetensors": many})

    found = await hub.find("acme/m")

    assert found is not None
    assert found.inspection.parameters == 4000


async def test_dangers_and_damage_are_seen_before_downloading(server: HubServer, hub: Hub) -> None:
    pickled = {name: content for name, content in model().items() if name != "model.safetensors"}
    server.repos["acme/pickled"] = Repo({**pickled, "pytorch_model.bin": b"\x80"})
    server.repos["acme/broken"] = Repo({**model(), "config.json": b"{"})
    server.repos["acme/cut"] = Repo({**model(), "model.safetensors": weights()[:-1]})

    found = [await hub.find(f"acme/{name}") for name in ("pickled", "broken", "cut")]

    assert [one is not None and one.inspection.pickle_only for one in found] == [True, False, False]
    problems = [one.inspection.problem if one else None for one in found]
    assert problems[0] is None
    assert "config.json" in (problems[1] or "")
    assert "cut off" in (problems[2] or "")


@pytest.mark.parametrize("token", [None, "hf_good"])
async def test_a_missing_model_is_none(server: HubServer, open_hub: OpenHub, token: str | None) -> None:
    assert await open_hub(token).find("acme/nobody") is None


async def test_ill_formed_ids_never_reach_the_hub(server: HubServer, hub: Hub) -> None:
    with pytest.raises(InvalidRequest):
        await hub.find("../api/whoami")
    assert server.requests == []


async def test_a_gated_model_says_how_to_get_in(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/gated"] = Repo(model(), gated=True)

    with pytest.raises(ModelRefused, match=rf"accept its terms there.*{server.url}/acme/gated.*HF_TOKEN"):
        await open_hub().find("acme/gated")
    assert await open_hub("hf_good").find("acme/gated") is not None


async def test_a_private_model_needs_its_token(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/private"] = Repo(model(), private=True)

    assert await open_hub().find("acme/private") is None
    assert await open_hub("hf_good").find("acme/private") is not None


async def test_a_token_that_is_not_accepted_is_said(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/m"] = Repo(model())

    with pytest.raises(ModelRefused, match="Check HF_TOKEN"):
        await open_hub("hf_bad").find("acme/m")


async def test_the_token_stays_with_the_hub(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/m"] = Repo(model(), private=True)
    hub = open_hub("hf_good")

    await hub.find("acme/m")

    seen = {(request.path.startswith("/cdn"), request.authorization) for request in server.requests}
    assert seen == {(False, "Bearer hf_good"), (True, None)}
    assert {request.user_agent for request in server.requests} == {"modelyard/0.1.0"}


async def test_a_found_model_is_asked_for_once(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(model())

    for _ in range(3):
        await hub.find("acme/m")

    assert server.count("/api/") == 1


async def test_callers_at_once_share_one_question(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(model())

    found = await asyncio.gather(*(hub.find("acme/m") for _ in range(20)))

    assert all(one is not None for one in found)
    assert server.count("/api/") == 1


async def test_a_caller_who_leaves_does_not_take_the_answer_from_others(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(model())
    reached, release = server.hold("config.json", 1)
    impatient = asyncio.create_task(hub.find("acme/m"))
    patient = asyncio.create_task(hub.find("acme/m"))
    assert await asyncio.to_thread(reached.wait, 120)

    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    release.set()

    assert await patient is not None


async def test_an_expired_answer_serves_while_a_new_one_is_fetched(
    server: HubServer, hub: Hub, clock: HandClock
) -> None:
    server.repos["acme/m"] = Repo(model(parameters=10))
    before = await hub.find("acme/m")
    server.repos["acme/m"] = Repo(model(parameters=20))

    clock.advance(301)
    meanwhile = await hub.find("acme/m")
    await lookups_done()
    after = await hub.find("acme/m")

    assert meanwhile == before
    assert after is not None
    assert after.inspection.parameters == 20
    assert server.count("/api/") == 2


async def test_an_unchanged_commit_is_not_inspected_again(server: HubServer, hub: Hub, clock: HandClock) -> None:
    server.repos["acme/m"] = Repo(model())
    await hub.find("acme/m")
    requests = len(server.requests)

    clock.advance(301)
    await hub.find("acme/m")
    await lookups_done()

    assert len(server.requests) == requests + 1


async def test_a_missing_model_is_asked_for_again_after_half_a_minute(
    server: HubServer, hub: Hub, clock: HandClock
) -> None:
    assert await hub.find("acme/late") is None
    server.repos["acme/late"] = Repo(model())

    assert await hub.find("acme/late") is None
    clock.advance(31)
    assert await hub.find("acme/late") is not None


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_failing_hub_is_said_and_asked_again_soon(
    server: HubServer, hub: Hub, clock: HandClock, status: int
) -> None:
    server.repos["acme/m"] = Repo(model())
    server.faults.status = status
    for _ in range(2):
        with pytest.raises(DownloadFailed, match=f"answers {status}"):
            await hub.find("acme/m")
    assert server.count("/api/") == 1

    server.faults.status = None
    clock.advance(6)

    assert await hub.find("acme/m") is not None


async def test_an_unreachable_hub_is_named(open_hub: OpenHub) -> None:
    with pytest.raises(DownloadFailed, match=rf"cannot be reached.*is not complete in the cache.*{ABSENT}"):
        await open_hub(endpoint=ABSENT).find("acme/m")


@pytest.mark.parametrize("fault", ["absent", "garbage", "503", "gated", "private"])
async def test_only_the_operator_is_told_which_hub_it_is(server: HubServer, open_hub: OpenHub, fault: str) -> None:
    server.repos["acme/m"] = Repo(model(), private=fault == "private", gated=fault == "gated")
    server.faults.garbage = fault == "garbage"
    server.faults.status = 503 if fault == "503" else None
    url = ABSENT if fault == "absent" else server.url

    with pytest.raises((DownloadFailed, ModelRefused)) as failure:
        await open_hub("hf_wrong" if fault == "private" else None, endpoint=url).find("acme/m")

    assert "hub" in failure.value.message
    assert url not in failure.value.message
    assert url in (failure.value.detail or "")


async def test_a_login_page_is_not_taken_for_a_hub(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(model())
    server.faults.garbage = True

    with pytest.raises(DownloadFailed, match="hub does not answer like one"):
        await hub.find("acme/m")


async def test_an_unreachable_hub_does_not_hide_what_was_found_before(
    server: HubServer, hub: Hub, clock: HandClock
) -> None:
    server.repos["acme/m"] = Repo(model())
    await hub.find("acme/m")

    server.faults.status = 503
    clock.advance(301)
    await hub.find("acme/m")
    await lookups_done()

    assert await hub.find("acme/m") is not None


async def test_complete_downloads_serve_without_the_hub(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/m"] = Repo(model(readme="---\nlicense: mit\n---\n"))
    path = await open_hub().fetch("acme/m")

    for hub in (open_hub(endpoint=ABSENT), open_hub(offline=True)):
        found = await hub.find("acme/m")
        assert found is not None
        assert (found.path, found.revision, found.inspection.license) == (path, path.name, "mit")
        assert await hub.fetch("acme/m") == path
        assert await hub.fetch("acme/m", found.revision) == path


async def test_complete_downloads_serve_when_the_repository_has_gone(
    server: HubServer, open_hub: OpenHub, clock: HandClock
) -> None:
    server.repos["acme/m"] = Repo(model())
    hub = open_hub()
    path = await hub.fetch("acme/m")

    del server.repos["acme/m"]

    found = await open_hub().find("acme/m")
    assert found is not None
    assert found.path == path


async def test_offline_nothing_is_asked(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/m"] = Repo(model())
    hub = open_hub(offline=True)

    assert await hub.find("acme/m") is None
    with pytest.raises(DownloadFailed, match="HF_HUB_OFFLINE"):
        await hub.fetch("acme/m")
    assert server.requests == []
    assert "HF_HUB_OFFLINE" in str(hub)


async def test_lists_hold_what_is_complete_and_what_was_looked_up(server: HubServer, open_hub: OpenHub) -> None:
    for name in ("fetched", "seen", "never"):
        server.repos[f"acme/{name}"] = Repo(model())
    await open_hub().fetch("acme/fetched")
    hub = open_hub()
    await hub.find("acme/seen")
    await hub.find("acme/nobody")

    listed = {found.model_id: found.path is not None for found in await hub.list()}

    assert listed == {"acme/fetched": True, "acme/seen": False}
    assert hub.known_ids() == {"acme/fetched", "acme/seen"}


async def test_hostile_listings_never_become_paths(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    digest = hashlib.sha1(b"blob 1\0x").hexdigest()
    evil = ["../../evil.json", "/evil.json", "a/../../evil.json", "a\\evil.json", "", "./evil.json"]
    siblings = [{"rfilename": name, "size": 1, "blobId": digest} for name in evil]
    siblings.append({"rfilename": "odd.json", "size": 1, "blobId": "../../../../evil"})
    whole = Repo(model())
    listed = [server._sibling(whole, name) for name in whole.files]
    server.repos["acme/evil"] = Repo(model(), {"siblings": [*listed, *siblings], "sha": whole.commit})

    await hub.fetch("acme/evil")

    assert [path for path in tmp_path.rglob("*evil*") if "models--acme--evil" not in path.name] == []


async def test_a_commit_that_is_none_is_refused(server: HubServer, hub: Hub) -> None:
    server.repos["acme/evil"] = Repo(model(), {"sha": "../../../../tmp/evil"})

    with pytest.raises(DownloadFailed, match="no valid commit"):
        await hub.find("acme/evil")


async def test_only_so_many_answers_are_kept(server: HubServer, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_REMEMBERED", 2)

    for number in (1, 2, 3, 3, 1):
        await hub.find(f"acme/nobody-{number}")

    assert [server.count(f"nobody-{number}") for number in (1, 2, 3)] == [2, 1, 1]


async def test_a_broken_model_type_is_refused_before_downloading(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo({"config.json": text({})})

    with pytest.raises(ModelRefused):
        await hub.fetch("acme/m")
