import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.catalog import space
from modelyard.catalog.hub import Hub
from modelyard.catalog.hub_cache import HubCache
from modelyard.errors import DownloadFailed
from modelyard.records.models import Progress
from tests.catalog.conftest import OpenHub
from tests.catalog.models import diffusers, model, sharded, text, weights
from tests.hub.server import HubServer, Repo

BIG = weights(1_000_000)
"""4 MB: several network reads."""


def big_model() -> dict[str, bytes]:
    return {**model(), "model.safetensors": BIG}


def blobs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "models--acme--m" / "blobs").iterdir())


class Halfway:
    """Listens to progress; may be waited for until 1 MB has come."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self._event = asyncio.Event()

    def __call__(self, progress: Progress) -> None:
        self.reports.append(progress)
        if 1_000_000 < progress.done_bytes < progress.total_bytes:
            self._event.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self._event.wait(), 200)


def partials(tmp_path: Path) -> list[int]:
    return [path.stat().st_size for path in blobs(tmp_path) if path.name.endswith(".incomplete")]


async def test_the_folder_holds_what_serving_needs_and_nothing_else(server: HubServer, hub: Hub) -> None:
    wanted = {**model(readme="# m"), "chat_template.jinja": b"x", "spiece.model": b"x", "merges.txt": b"x"}
    ballast = {
        "pytorch_model.bin": b"x", "tf_model.h5": b"x", "flax_model.msgpack": b"x", "model.gguf": b"x",
        "model.fp16.safetensors": b"x", "onnx/model.onnx": b"x", "onnx/config.json": b"x", "training_args.bin": b"x",
        "optimizer.pt": b"x", "trainer_state.json": b"x", "logo.png": b"x", "modeling.py": b"x", ".gitattributes": b"x",
        "original/params.json": b"x", "runs/a/b.json": b"x", "docs/GUIDE.md": b"x",
    }  # fmt: skip
    server.repos["acme/m"] = Repo({**wanted, **ballast})

    path = await hub.fetch("acme/m")

    got = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert got == wanted


@pytest.mark.parametrize("files", [sharded(4), diffusers()])
async def test_models_of_several_parts_come_whole(server: HubServer, hub: Hub, files: dict[str, bytes]) -> None:
    server.repos["acme/m"] = Repo(files)

    path = await hub.fetch("acme/m")

    assert {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()} == set(files)


async def test_pickle_weights_come_when_there_are_no_others(server: HubServer, hub: Hub) -> None:
    files = {name: content for name, content in model().items() if name != "model.safetensors"}
    server.repos["acme/m"] = Repo({**files, "pytorch_model.bin": b"\x80\x04.", "tf_model.h5": b"x"})

    path = await hub.fetch("acme/m")

    assert (path / "pytorch_model.bin").exists()
    assert not (path / "tf_model.h5").exists()


async def test_code_comes_only_where_the_model_needs_it(server: HubServer, hub: Hub) -> None:
    config = {"auto_map": {"AutoModelForCausalLM": "modeling_new.New"}}
    server.repos["acme/m"] = Repo(model("NewForCausalLM", "new_type", config=config, modeling_new__py=b"pass"))

    path = await hub.fetch("acme/m")

    assert (path / "modeling_new.py").read_bytes() == b"pass"


async def test_a_second_fetch_asks_nothing(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(model())
    found = await hub.find("acme/m")
    assert found is not None
    path = await hub.fetch("acme/m", found.revision)
    requests = len(server.requests)

    assert await hub.fetch("acme/m", found.revision) == path
    assert len(server.requests) == requests


async def test_a_hundred_callers_make_one_download(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(big_model())

    paths = await asyncio.gather(*(hub.fetch("acme/m") for _ in range(100)))

    assert len(set(paths)) == 1
    assert server.ranges("/cdn/.*model.safetensors").count(None) == 1


async def test_two_servers_with_one_cache_download_once(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    reached, release = server.hold("model.safetensors", 1_000_000)
    first, second = open_hub(), open_hub()

    one = asyncio.create_task(first.fetch("acme/m"))
    assert await asyncio.to_thread(reached.wait, 120)
    two = asyncio.create_task(second.fetch("acme/m"))
    release.set()

    assert await one == await two
    assert server.ranges("/cdn/.*model.safetensors").count(None) == 1


async def test_progress_is_told_in_bytes_up_to_the_end(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    _, release = server.hold("model.safetensors", 3_000_000)
    halfway = Halfway()
    fetching = asyncio.create_task(hub.fetch("acme/m", on_progress=halfway))
    await halfway.wait()
    late: list[Progress] = []
    joining = asyncio.create_task(hub.fetch("acme/m", on_progress=late.append))
    release.set()
    await asyncio.gather(fetching, joining)

    reports = halfway.reports
    total = sum(len(content) for content in big_model().values())
    assert reports[0].done_bytes == 0
    assert reports[-1] == late[-1] == Progress("acme/m", total, total)
    assert [report.done_bytes for report in reports] == sorted({report.done_bytes for report in reports})
    assert late[0].done_bytes > 1_000_000


async def test_the_event_loop_stays_free(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    reached, release = server.hold("model.safetensors", 100_000)
    fetching = asyncio.create_task(hub.fetch("acme/m"))
    await asyncio.to_thread(reached.wait, 120)

    for _ in range(1000):  # would take forever if each turn waited for the network
        await asyncio.sleep(0)
    release.set()

    await fetching


async def test_a_broken_connection_is_resumed_where_it_broke(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    await hub.find("acme/m")
    server.requests.clear()
    server.faults.cut_at["model.safetensors"] = [2_000_000, 1_000_000]

    path = await hub.fetch("acme/m")

    assert (path / "model.safetensors").read_bytes() == BIG
    starts = [0 if wanted is None else int(wanted[6:-1]) for wanted in server.ranges("/cdn/.*model.safetensors")]
    assert len(starts) == 3
    assert 0 == starts[0] < starts[1] < starts[2] <= 3_000_000
    assert starts[1] > 500_000


async def test_many_breaks_with_progress_are_forgiven(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    server.faults.cut_at["model.safetensors"] = [10**9] + [300_000] * 10

    path = await open_hub(attempts=2).fetch("acme/m")

    assert (path / "model.safetensors").read_bytes() == BIG


async def test_a_download_without_progress_ends_and_keeps_what_came(
    server: HubServer, open_hub: OpenHub, tmp_path: Path
) -> None:
    server.repos["acme/m"] = Repo(big_model())
    hub = open_hub(attempts=3)
    await hub.find("acme/m")
    server.faults.cut_at["model.safetensors"] = [2_000_000, 0, 0, 0]

    with pytest.raises(DownloadFailed, match=r"broke off 3 times.*What has come is kept"):
        await hub.fetch("acme/m")

    [kept] = partials(tmp_path)
    assert kept > 1_000_000
    server.faults.cut_at.clear()
    server.requests.clear()
    assert (await hub.fetch("acme/m") / "model.safetensors").read_bytes() == BIG
    assert server.ranges("/cdn/.*model.safetensors") == [f"bytes={kept}-"]


async def test_a_server_that_ignores_ranges_is_coped_with(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    server.faults.ignore_ranges = True
    await hub.find("acme/m")
    server.faults.cut_at["model.safetensors"] = [2_000_000]
    reports: list[Progress] = []

    path = await hub.fetch("acme/m", on_progress=reports.append)

    assert (path / "model.safetensors").read_bytes() == BIG
    assert reports[-1].done_bytes == reports[-1].total_bytes
    assert max(report.done_bytes for report in reports) == reports[-1].total_bytes


async def test_content_with_another_checksum_is_not_kept(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    server.repos["acme/m"] = Repo(big_model())
    await hub.find("acme/m")
    server.faults.corrupt.add("model.safetensors")

    with pytest.raises(DownloadFailed, match="checksum"):
        await hub.fetch("acme/m")

    assert partials(tmp_path) == [0]
    server.faults.corrupt.clear()
    assert (await hub.fetch("acme/m") / "model.safetensors").read_bytes() == BIG


async def test_a_partial_file_of_other_content_is_thrown_away(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    repo = server.repos["acme/m"] = Repo(big_model())
    folder = tmp_path / "cache" / "models--acme--m" / "blobs"
    folder.mkdir(parents=True)
    (folder / f"{repo.digest('model.safetensors')}.incomplete").write_bytes(b"?" * 1_000_000)

    assert (await hub.fetch("acme/m") / "model.safetensors").read_bytes() == BIG


async def test_cancelling_stops_the_download_and_keeps_what_came(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    server.repos["acme/m"] = Repo(big_model())
    _, release = server.hold("model.safetensors", 2_000_000)
    await hub.find("acme/m")
    halfway = Halfway()
    fetching = asyncio.create_task(hub.fetch("acme/m", on_progress=halfway))
    await halfway.wait()

    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    release.set()
    server.requests.clear()
    assert (await hub.fetch("acme/m") / "model.safetensors").read_bytes() == BIG

    [resumed] = server.ranges("/cdn/.*model.safetensors")
    assert resumed is not None
    assert int(resumed[6:-1]) > 1_000_000


async def test_one_who_leaves_does_not_stop_the_others(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    reached, release = server.hold("model.safetensors", 2_000_000)
    leaving = asyncio.create_task(hub.fetch("acme/m"))
    staying = asyncio.create_task(hub.fetch("acme/m"))
    assert await asyncio.to_thread(reached.wait, 120)

    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    release.set()

    assert (await staying / "model.safetensors").read_bytes() == BIG


KILLED_FETCH = """
import asyncio, sys
from pathlib import Path
from modelyard.catalog.hub import Hub
from modelyard.catalog.hub_settings import HubSettings

def show(progress):
    if progress.done_bytes > 1_000_000:
        print("under way", flush=True)

hub = Hub(HubSettings(sys.argv[1], Path(sys.argv[2])), progress_interval_s=0.01)
asyncio.run(hub.fetch("acme/m", on_progress=show))
"""


async def test_a_download_goes_on_after_its_process_was_killed(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    server.repos["acme/m"] = Repo(big_model())
    _, release = server.hold("model.safetensors", 3_000_000)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_FETCH, server.url, str(tmp_path / "cache")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == b"under way\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    release.set()
    server.requests.clear()

    path = await hub.fetch("acme/m")

    assert (path / "model.safetensors").read_bytes() == BIG
    last = server.ranges("/cdn/.*model.safetensors")[-1]
    assert last is not None
    assert int(last[6:-1]) >= 1_000_000
    assert partials(tmp_path) == []


async def test_a_full_disk_is_said_before_the_download(
    server: HubServer, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repos["acme/m"] = Repo(big_model())
    monkeypatch.setattr(space, "KEPT_FREE_BYTES", 2**60)

    with pytest.raises(DownloadFailed, match=r"disk is full: acme/m needs 4,.* bytes more\..*HF_HOME") as failure:
        await hub.fetch("acme/m")

    assert failure.value.data["needed_bytes"] > len(BIG)
    assert "HF_HOME" not in failure.value.message, "that is the operator's"


async def test_a_disk_that_fills_up_meanwhile_is_said(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    repo = server.repos["acme/m"] = Repo(big_model())
    folder = tmp_path / "cache" / "models--acme--m" / "blobs"
    folder.mkdir(parents=True)
    (folder / f"{repo.digest('model.safetensors')}.incomplete").symlink_to("/dev/full")

    with pytest.raises(DownloadFailed, match="disk is full"):
        await hub.fetch("acme/m")


async def test_a_cache_that_cannot_be_written_is_said(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    server.repos["acme/m"] = Repo(model())
    (tmp_path / "cache").write_text("a file where the folder should be")

    with pytest.raises(DownloadFailed, match="cannot be stored"):
        await hub.fetch("acme/m")


async def test_a_new_commit_fetches_only_what_changed(server: HubServer, open_hub: OpenHub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    before = await open_hub().fetch("acme/m")
    server.repos["acme/m"] = Repo({**big_model(), "tokenizer.json": text({"version": "2.0"})})
    server.requests.clear()

    after = await open_hub().fetch("acme/m")

    assert after != before
    assert (after / "model.safetensors").read_bytes() == BIG
    assert server.ranges("/cdn/.*model.safetensors").count(None) == 0
    assert (before / "model.safetensors").exists()


async def test_a_given_revision_is_fetched(server: HubServer, open_hub: OpenHub) -> None:
    repo = server.repos["acme/m"] = Repo(model())

    assert (await open_hub().fetch("acme/m", repo.commit)).name == repo.commit
    with pytest.raises(DownloadFailed, match="no such revision"):
        await open_hub().fetch("acme/m", "0" * 40)


async def test_a_model_that_is_not_there_cannot_be_fetched(server: HubServer, hub: Hub) -> None:
    with pytest.raises(DownloadFailed, match="has no such model"):
        await hub.fetch("acme/nobody")


async def test_closing_ends_downloads(server: HubServer, hub: Hub) -> None:
    server.repos["acme/m"] = Repo(big_model())
    reached, _ = server.hold("model.safetensors", 100_000)
    fetching = asyncio.create_task(hub.fetch("acme/m"))
    assert await asyncio.to_thread(reached.wait, 120)

    await hub.aclose()

    with pytest.raises(asyncio.CancelledError):
        await fetching


def run_library(program: str, server: HubServer, cache: Path, **env: str) -> str:
    """Runs the hub's own library in a process of its own: it reads its environment only once."""
    settings = {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": server.url,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **env,
    }
    done = subprocess.run([sys.executable, "-c", program], env=settings, check=True, capture_output=True, text=True)
    return done.stdout.strip()


async def test_the_hubs_library_finds_our_downloads(server: HubServer, hub: Hub, tmp_path: Path) -> None:
    server.repos["acme/m"] = Repo(model())
    path = await hub.fetch("acme/m")
    program = (
        "from huggingface_hub import snapshot_download, scan_cache_dir; print(snapshot_download('acme/m')); "
        "print(len(scan_cache_dir().warnings))"
    )

    found = await asyncio.to_thread(run_library, program, server, tmp_path / "cache", HF_HUB_OFFLINE="1")

    assert found.splitlines() == [str(path), "0"]


async def test_we_find_downloads_of_the_hubs_library(server: HubServer, open_hub: OpenHub, tmp_path: Path) -> None:
    server.repos["acme/m"] = Repo(model())
    program = "from huggingface_hub import snapshot_download; print(snapshot_download('acme/m'))"
    path = await asyncio.to_thread(run_library, program, server, tmp_path / "cache")

    assert str(await open_hub(offline=True).fetch("acme/m")) == path
    found = await open_hub().find("acme/m")
    assert found is not None
    assert str(found.path) == path


async def test_a_broken_off_download_of_the_library_is_not_taken_for_complete(
    server: HubServer, open_hub: OpenHub, tmp_path: Path
) -> None:
    server.repos["acme/m"] = Repo(sharded(3))
    program = (
        "from huggingface_hub import snapshot_download; print(snapshot_download('acme/m', ignore_patterns='*-00002-*'))"
    )
    await asyncio.to_thread(run_library, program, server, tmp_path / "cache")

    assert await open_hub(offline=True).find("acme/m") is None
    assert await open_hub(offline=True).list() == []
    assert (await open_hub().fetch("acme/m") / "model-00002-of-00003.safetensors").exists()


def test_ids_in_the_cache_are_checked(tmp_path: Path) -> None:
    for name in ("models--acme--m", "models--gpt2", "datasets--a--b", "models--..--x", "models--a--b--c", ".locks"):
        (tmp_path / name).mkdir()

    assert list(HubCache(tmp_path).model_ids()) == ["acme/m"]
