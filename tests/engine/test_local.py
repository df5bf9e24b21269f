"""What LocalEngine promises about processes: none outlives its owner, none is lost, none is left stuck."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from modelyard.engine.base import Device, Node, Phase, Place
from modelyard.engine.cpu_shares import LOOK_EVERY_S
from modelyard.engine.forks import FORKS_AT_ONCE
from modelyard.engine.link import Link
from modelyard.engine.local import LocalEngine
from modelyard.engine.machine import usable_cores
from modelyard.engine.nursery_process import NurseryProcess
from modelyard.engine.rundir import MARKER, PREFIX, RunDir
from modelyard.engine.standby_process import STANDBY
from modelyard.errors import InferenceFailed, ReplicaLost
from modelyard.records.deaths import Death
from modelyard.records.models import Inspection, ModelCard, OnProgress, Progress, Source
from modelyard.telemetry.log_lines import RequestLabels, current_request
from modelyard.units import GIB
from modelyard.worker.environment import worker_environment
from modelyard.worker.schedulers.batches import Batcher
from tests.engine.conftest import model_spec
from tests.engine.harness import Harness, ask, echo_spec, eventually, finish, first_piece, is_alive
from tests.engine.unruly import build_unruly
from tests.engine.workers import ECHO_STANDBY
from tests.store.postgresql import quick_disk
from tests.telemetry.heard import hearing

OWNER = Path(__file__).with_name("owner.py")


@asynccontextmanager
async def local(**options: Any) -> AsyncIterator[Harness]:
    """An engine of the test's own, with workers that echo."""
    engine = LocalEngine(GIB, **{"standby": ECHO_STANDBY, **options})
    await engine.start()
    try:
        yield Harness(engine)
    finally:
        await engine.close()


def pid_of(harness: Harness, link: Link) -> int:
    pid = harness.engine.sightings()[harness.id_of(link)].pid
    assert pid is not None
    return pid


async def facts(link: Link) -> dict[str, Any]:
    return dict(json.loads(await ask(link, "facts")))


def nursery_of(harness: Harness) -> int:
    assert isinstance(harness.engine, LocalEngine)
    assert harness.engine.nursery_pid is not None
    return harness.engine.nursery_pid


# --- what only this machine knows ---


async def test_a_replica_sees_the_devices_it_was_placed_on_and_no_others() -> None:
    devices = (Device("cuda:0", GIB, "GPU-aa"), Device("cuda:1", GIB), Device("cuda:2", GIB, "GPU-cc"))
    async with local(node="here", devices=devices) as harness:
        assert harness.engine.nodes() == (Node("here", GIB, devices, cores=usable_cores()),)
        for names, device, visible in (
            (("cuda:1",), "cuda:0", "1"),
            (("cuda:0", "cuda:2"), "cuda:0", "GPU-aa,GPU-cc"),
            ((), "cpu", ""),
        ):
            spec = echo_spec()
            harness.launch(spec, Place("here", names))
            sighting = await harness.until_phase(spec.replica_id, Phase.READY)
            assert sighting.link is not None
            seen = await facts(sighting.link)
            assert (seen["device"], seen["environment"].get("CUDA_VISIBLE_DEVICES")) == (device, visible)
        spec = echo_spec()
        harness.launch(spec, Place("here", ("cuda:7",)))
        gone = harness.engine.sightings()[spec.replica_id]
        assert (gone.phase, gone.reason, gone.host_died) == (Phase.GONE, "there is no device cuda:7 on here", True)


async def test_a_replica_starts_once_its_devices_have_free_what_is_reserved_for_it() -> None:
    free = {"cuda:0": GIB // 2, "cuda:1": 0}
    devices = (Device("cuda:0", GIB), Device("cuda:1", GIB))
    place = Place("here", ("cuda:0",))
    async with local(node="here", devices=devices, free_on=lambda device: free[device.name]) as harness:
        waiting, stopped = (replace(echo_spec(), need_device_bytes=GIB) for _ in range(2))
        for spec in (waiting, stopped):
            harness.launch(spec, place)
        small = replace(echo_spec(), need_device_bytes=GIB // 2)
        harness.launch(small, place)
        await harness.until_phase(small.replica_id, Phase.READY)
        assert harness.engine.sightings()[waiting.replica_id].pid is None
        await harness.engine.stop(stopped.replica_id, 0.0)
        assert harness.engine.sightings()[stopped.replica_id].reason == "stopped before it started"
        free["cuda:0"] = GIB
        await harness.until_phase(waiting.replica_id, Phase.READY)
        assert harness.engine.sightings()[stopped.replica_id].pid is None


async def test_a_device_that_another_program_holds_is_told_and_nothing_is_loaded_on_it() -> None:
    async with local(
        node="here", devices=(Device("cuda:0", 4 * GIB),), free_on=lambda device: GIB, device_wait_s=0.0
    ) as harness:
        spec = replace(echo_spec(), need_device_bytes=2 * GIB)
        harness.launch(spec, Place("here", ("cuda:0",)))
        gone = await harness.until_phase(spec.replica_id, Phase.GONE)
        assert (gone.pid, gone.refused, gone.host_died) == (None, False, False)
        assert str(gone.reason).startswith("2.0 GB are reserved for it on cuda:0, where 1.0 GB are free")


def test_where_nobody_knows_the_devices_a_worker_takes_what_it_finds() -> None:
    seen = LocalEngine(GIB, node="here")._complete(echo_spec(), Place("here"), Path("scratch"))
    assert (seen.device, seen.visible_devices) == ("auto", None)


async def test_models_are_fetched_by_whoever_knows_where_they_are(tmp_path: Path) -> None:
    async def fetch(card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        on_progress(Progress(card.model_id, 1, 2))
        return tmp_path / account_id / card.model_id

    told: list[Progress] = []
    card = ModelCard("org/name", "text-generation", Source.HUB, GIB, Inspection())
    async with local(fetch=fetch) as harness:
        assert await harness.engine.prepare(card, told.append, "acc_1") == tmp_path / "acc_1/org/name"
    assert told == [Progress("org/name", 1, 2)]


# --- ends ---


async def test_a_worker_that_ignores_sigterm_is_killed_with_its_children(echo: Harness) -> None:
    link = await echo.boot(echo_spec("deaf parent"))
    pid, child = pid_of(echo, link), (await facts(link))["child"]
    await echo.engine.stop(echo.id_of(link), 0.2)
    assert not is_alive(pid)
    await eventually(lambda: not is_alive(child))


async def test_a_killed_worker_takes_its_children_along(echo: Harness) -> None:
    link = await echo.boot(echo_spec("parent"))
    replica_id, pid, child = echo.id_of(link), pid_of(echo, link), (await facts(link))["child"]
    os.kill(pid, signal.SIGKILL)
    sighting = await echo.until_phase(replica_id, Phase.GONE)
    assert sighting.reason == "killed by SIGKILL (the machine may have run out of memory)"
    await eventually(lambda: not is_alive(child))


async def test_a_worker_that_stops_politely_takes_its_children_along(echo: Harness) -> None:
    link = await echo.boot(echo_spec("parent"))
    child = (await facts(link))["child"]
    await echo.engine.stop(echo.id_of(link), 5.0)
    await eventually(lambda: not is_alive(child))


async def test_a_child_that_keeps_the_sockets_does_not_hide_a_death(echo: Harness) -> None:
    link = await echo.boot(echo_spec("linger"))
    replica_id, child = echo.id_of(link), (await facts(link))["child"]
    exchange = link.request({"text": "hold"}, {}, stream=True)
    await first_piece(exchange)
    os.kill(pid_of(echo, link), signal.SIGKILL)
    with pytest.raises(ReplicaLost):
        await finish(exchange)
    await echo.until_phase(replica_id, Phase.GONE)
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    ("path", "words", "refused"),
    [
        ("refuse", "there are no weights in it", True),
        ("no-memory", "Out of memory while loading.", False),
        ("crash", "exited with code 7: something went very wrong", False),
    ],
)
async def test_last_words(echo: Harness, tmp_path: Path, path: str, words: str, refused: bool) -> None:
    spec = echo_spec(path, log_path=str(tmp_path / "logs" / "worker.log"))
    echo.launch(spec)
    sighting = await echo.until_phase(spec.replica_id, Phase.GONE)
    assert (sighting.reason, sighting.refused) == (words, refused)


async def test_a_model_that_leaves_is_a_crash(echo: Harness) -> None:
    link = await echo.boot()
    replica_id = echo.id_of(link)
    with pytest.raises(ReplicaLost):
        await ask(link, "leave")
    sighting = await echo.until_phase(replica_id, Phase.GONE)
    assert sighting.reason == "SystemExit: the model has had enough"
    assert not sighting.refused


async def test_a_worker_without_a_log_or_a_socket_is_said_to_be(echo: Harness, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spec = echo_spec(log_path=str(tmp_path / "file" / "worker.log"))
    echo.launch(spec)
    sighting = await echo.until_phase(spec.replica_id, Phase.GONE)
    assert sighting.reason is not None
    assert sighting.reason.startswith("cannot start a process: ")
    assert not sighting.refused
    await echo.boot()


@pytest.mark.parametrize("how", ["stopped by a signal", "stuck in native code"])
async def test_a_worker_that_gives_no_sign_of_life_counts_as_dead(how: str) -> None:
    # The other one, and this test, must get a turn within that.
    async with local(ping_every_s=0.02, ping_deadline_s=4.0) as harness:
        stuck, other = await asyncio.gather(harness.boot(), harness.boot())
        replica_id, pid = harness.id_of(stuck), pid_of(harness, stuck)
        if how == "stopped by a signal":
            os.kill(pid, signal.SIGSTOP)
        exchange = stuck.request({"text": "freeze"}, {}, stream=False)
        with pytest.raises(ReplicaLost):
            await finish(exchange)
        sighting = await harness.until_phase(replica_id, Phase.GONE)
        assert sighting.reason == "stuck: no sign of life for 4 s"
        assert not is_alive(pid)
        assert await ask(other, "hello") == "hello"


# --- owners ---


async def test_nothing_outlives_a_killed_owner(tmp_path: Path) -> None:
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    owner = await asyncio.create_subprocess_exec(sys.executable, OWNER, stdout=asyncio.subprocess.PIPE, env=environ)
    assert owner.stdout is not None
    pids = json.loads(await owner.stdout.readline())
    everyone = [*pids["nurseries"], pids["child"], *pids["workers"]]
    assert all(map(is_alive, everyone))
    owner.kill()
    await owner.communicate()
    await eventually(lambda: not any(map(is_alive, everyone)))
    # Its sockets' folder is still there, until the next server starts.
    assert len(list(tmp_path.iterdir())) == 1
    RunDir(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


async def test_a_killed_nursery_is_replaced() -> None:
    async with local(sandbox="off") as harness:
        link = await harness.boot(echo_spec("parent"))
        replica_id, pid, child = harness.id_of(link), pid_of(harness, link), (await facts(link))["child"]
        exchange = link.request({"text": "hold"}, {}, stream=True)
        await first_piece(exchange)
        nursery = nursery_of(harness)
        os.kill(nursery, signal.SIGKILL)
        with pytest.raises(ReplicaLost):
            await finish(exchange)
        sighting = await harness.until_phase(replica_id, Phase.GONE)
        assert (sighting.reason, sighting.host_died) == ("the nursery was killed by SIGKILL", True)
        assert await link.find_death(0.0) == Death("the nursery was killed by SIGKILL", host_died=True)
        await eventually(lambda: not is_alive(pid) and not is_alive(child))
        # Between two nurseries: a launch waits for the next, a stop does not.
        waiting, stopped = echo_spec(), echo_spec()
        harness.launch(waiting)
        harness.launch(stopped)
        await harness.engine.stop(stopped.replica_id, 5.0)
        assert harness.engine.sightings()[stopped.replica_id].phase is Phase.GONE
        again = await harness.until_phase(waiting.replica_id, Phase.READY)
        assert again.link is not None
        assert await ask(again.link, "hello") == "hello"
        assert nursery_of(harness) != nursery
        assert harness.phases(stopped.replica_id) == [Phase.STARTING, Phase.GONE]


async def test_a_launch_that_is_stopped_before_its_turn_costs_no_fork(tmp_path: Path) -> None:
    async with local(log_dir=tmp_path) as harness:
        specs = [echo_spec(log_path=f"{number}.log") for number in range(50)]
        for spec in specs:
            harness.launch(spec)
        for spec in specs[:-1]:
            await harness.engine.stop(spec.replica_id, 5.0)
        await harness.until_phase(specs[-1].replica_id, Phase.READY)
        assert len(list(tmp_path.glob("*.log"))) <= FORKS_AT_ONCE + 1


async def test_stopping_while_the_nursery_dies_ends() -> None:
    async with local() as harness:
        link = await harness.boot(echo_spec("deaf"))
        replica_id = harness.id_of(link)
        stop = asyncio.create_task(harness.engine.stop(replica_id, 60.0))
        await asyncio.sleep(0)
        os.kill(nursery_of(harness), signal.SIGKILL)
        await stop
        assert harness.engine.sightings()[replica_id].reason == "stopped"


async def test_a_nursery_that_keeps_dying_is_started_ever_more_slowly() -> None:
    loop = asyncio.get_running_loop()
    deaths: list[tuple[float, str]] = []
    enough = asyncio.Event()

    def died(how: str) -> None:
        deaths.append((loop.time(), how))
        if len(deaths) == 5:
            enough.set()

    nursery = NurseryProcess(lambda report: None, died, ["false"], restart_after_s=0.01)
    nursery.start()
    await asyncio.wait_for(enough.wait(), 200)
    await nursery.close()
    assert {how for _, how in deaths} == {"the nursery exited with code 1"}
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(deaths)]
    assert all(gap >= planned for gap, planned in zip(gaps, (0.02, 0.04, 0.08, 0.16), strict=True)), gaps


async def test_why_a_load_failed_is_heard_though_the_connection_broke_meanwhile(tmp_path: Path) -> None:
    async with local() as harness:
        spec = echo_spec("hang-up refuse")
        harness.launch(spec)
        sighting = await harness.until_phase(spec.replica_id, Phase.GONE)
        assert (sighting.reason, sighting.refused, sighting.host_died) == ("there are no weights in it", True, False)


async def test_how_a_standby_ended_that_never_forked_is_told() -> None:
    code = "import os, sys, time; os.close(int(sys.argv[1])); time.sleep(0.2); sys.exit(3)"  # as an interpreter ends
    async with local(standby=[sys.executable, "-c", code]) as harness:
        spec = echo_spec()
        harness.launch(spec)
        sighting = await harness.until_phase(spec.replica_id, Phase.GONE)
        assert sighting.reason == "the nursery exited with code 3"


async def test_a_nursery_that_cannot_be_started_is_said_to_be() -> None:
    async with local(standby=["/no/such/program"]) as harness:
        spec = echo_spec()
        harness.launch(spec)
        sighting = await harness.until_phase(spec.replica_id, Phase.GONE)
        assert sighting.reason is not None
        assert sighting.reason.startswith("the nursery cannot be started: ")
        assert not harness.engine.warm


async def test_a_bug_in_an_engine_task_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with local() as harness:
        link = await harness.boot()
        harness.engine.watch(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        os.kill(pid_of(harness, link), signal.SIGKILL)
        with caplog.at_level(logging.ERROR):
            await eventually(lambda: "ZeroDivisionError" in caplog.text)
        harness.engine.watch(lambda: None)


# --- what workers get ---


async def test_cores_are_shared_anew_when_replicas_come_and_go() -> None:
    async with local(cores=8) as harness:
        first = await harness.boot()
        assert (await facts(first))["threads"] == [8]
        second = await harness.boot()
        assert (await facts(second))["threads"] == [4]
        assert (await facts(first))["threads"] == [8, 4]
        third = await harness.boot()
        assert (await facts(third))["threads"] == [2]
        await asyncio.gather(*(harness.engine.stop(harness.id_of(link), 5.0) for link in (second, third)))
        assert (await facts(first))["threads"][-1] == 8


async def test_a_replica_that_is_used_alone_has_the_cores_of_those_that_are_not() -> None:
    async with local(cores=8) as harness:
        used, unused = await harness.boot(), await harness.boot()

        while (await facts(used))["threads"] != [8, 4, 8]:  # asking is using it
            await asyncio.sleep(LOOK_EVERY_S)
        assert (await facts(unused))["threads"] == [4]


async def test_the_replicas_of_an_owner_are_nicer_the_more_they_are() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    async with local() as harness:

        def nice_of(link: Link) -> int:
            return os.getpriority(os.PRIO_PROCESS, pid_of(harness, link)) - own

        mine = await harness.boot(echo_spec(owner="ada"))
        theirs = [await harness.boot(echo_spec(owner="eve")) for _ in range(4)]
        assert [nice_of(mine), *map(nice_of, theirs)] == [0, 6, 6, 6, 6]


async def test_a_worker_gets_little_of_its_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELYARD_ADMIN_KEY", "my-secret")
    monkeypatch.setenv("HF_TOKEN", "my-secret")
    async with local() as harness:
        links = [await harness.boot(echo_spec(log_path=str(tmp_path / "log"))) for _ in range(2)]
        for link in links:
            told = await facts(link)
            assert "my-secret" not in told["environment"].values()
            assert told["frozen"] > 1000
            assert told["group"] == pid_of(harness, link)
            # Input, output and error; its own folder in /proc; the listener, the connection; and the loop, which waits
            # on one, is woken by one, a pair of sockets and two of pipes, and keeps one to spare.
            own, log = f"/proc/{pid_of(harness, link)}", str(tmp_path / "log")
            loops = ["anon_inode", "anon_inode", "/dev/null", *["pipe"] * 4, *["socket"] * 2]
            assert told["descriptors"] == sorted(["/dev/null", own, log, log, *["socket"] * 2, *loops])
        assert len({(await facts(link))["random"] for link in links}) == 2


def test_workers_get_what_their_libraries_need_of_the_environment_and_nothing_else() -> None:
    environ = {
        "PATH": "/bin", "LC_ALL": "C", "MINE": "x", "HF_HOME": "/hub", "CUDA_API_KEY": "x", "HF_TOKEN": "x",
        "AWS_SECRET_ACCESS_KEY": "x", "MODELYARD_DATABASE_URL": "x",
        "PGPASSWORD": "x", "database_url": "x", "OPENAI_API_KEY": "x", "OMP_NUM_THREADS": "16",
    }  # fmt: skip
    assert worker_environment(environ) == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "1000",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "JOBLIB_MULTIPROCESSING": "0",
    }


async def test_a_workers_own_folder_goes_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # and back, at the end
    async with local() as harness:
        (run_dir,) = tmp_path.iterdir()
        link = await harness.boot(echo_spec())
        (scratch,) = run_dir.glob("*.files")
        deep = scratch
        for _ in range(3000):  # deeper than a recursive removal could go, and than a path may be long
            os.mkdir(deep / "d") if deep == scratch else os.mkdir("d")
            os.chdir(deep / "d" if deep == scratch else "d")
            deep = Path()
        os.chdir(tmp_path)
        await harness.engine.stop(harness.id_of(link), 5.0)
        await eventually(lambda: [path.name for path in run_dir.iterdir()] == [MARKER])


async def test_fifty_launches_leave_nothing_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    others = asyncio.all_tasks()  # this test, and the engines that share its loop
    async with local(sandbox="off") as harness:
        (run_dir,) = tmp_path.iterdir()
        assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700

        def open_files() -> tuple[int, int]:
            return tuple(len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), nursery_of(harness)))  # type: ignore[return-value]

        async def launch_ten() -> None:
            paths = ["echo", "refuse", "crash", "parent", "no-memory"] * 2
            specs = [echo_spec(path, log_path=str(tmp_path.parent / "worker.log")) for path in paths]
            for spec in specs:
                harness.launch(spec)
            settled = (Phase.READY, Phase.GONE)
            await harness.until(lambda: all(harness.engine.sightings()[s.replica_id].phase in settled for s in specs))
            assert [path.name for path in run_dir.iterdir()] == [MARKER]
            await harness.clear()

        await launch_ten()
        before = open_files()
        for _ in range(5):
            await launch_ten()
        await eventually(lambda: open_files() == before)
        await eventually(lambda: len(asyncio.all_tasks() - others) == 2)  # those that keep the nursery and the standby
    assert list(tmp_path.iterdir()) == []


# --- the sockets' folder ---


def test_abandoned_folders_are_removed_and_no_others(tmp_path: Path) -> None:
    abandoned = tmp_path / f"{PREFIX}abandoned"
    abandoned.mkdir()
    (abandoned / MARKER).write_text("")
    unmarked = tmp_path / f"{PREFIX}like-ours"
    unmarked.mkdir()
    (abandoned / "1.sock").write_text("")
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{PREFIX}file").write_text("")
    first = RunDir(tmp_path)
    second = RunDir(tmp_path)
    assert not abandoned.exists()
    assert unmarked.exists()
    assert elsewhere.exists()
    assert first.path.is_dir()
    assert second.path.is_dir()
    first.close()
    first.close()
    assert not first.path.exists()
    assert second.path.is_dir()
    second.close()


def test_what_a_killed_server_has_left_is_removed_without_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "precious").touch()
    with TemporaryDirectory(dir=quick_disk()) as name:
        (abandoned := (parent := Path(name)) / f"{PREFIX}abandoned").mkdir()
        for file in (MARKER, "1.sock"):
            (abandoned / file).touch()
        for folder in ("one", "other"):
            (abandoned / folder / "deep").mkdir(parents=True)
            (abandoned / folder / "link").symlink_to(tmp_path)
        make_deep(abandoned / "one" / "deep", sys.getrecursionlimit() + 100)
        run_dir = RunDir(parent)
        assert [*parent.iterdir()] == [run_dir.path]
        run_dir.close()
        assert [*parent.iterdir()] == []
    assert [each.name for each in tmp_path.iterdir()] == ["precious"]


def make_deep(folder: Path, count: int) -> None:
    """So many folders, each in the one before, with a file in each."""
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(count):
        os.close(os.open("file", os.O_CREAT, dir_fd=inner))
        os.mkdir("folder", dir_fd=inner)
        outer, inner = inner, os.open("folder", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)


# --- with the model libraries ---


async def test_what_replicas_log_is_heard_here_with_the_requests_it_is_about() -> None:
    with hearing() as lines:
        async with local() as harness:
            link = await harness.boot()
            replica_id = harness.id_of(link)
            before = current_request.set(RequestLabels("req_1"))
            with pytest.raises(InferenceFailed):
                await ask(link, "crash")
            current_request.reset(before)
    loaded = next(line for line in lines if line.message.startswith("loaded tests/echo"))
    assert loaded.fields == {"replica_id": replica_id}
    (failed,) = [line for line in lines if line.fields.get("request_id") == "req_1"]
    assert (failed.level, failed.logger, failed.message) == ("error", Batcher.__module__, "echo failed")
    assert "RuntimeError: crashed, as it was asked to" in str(failed.fields["exception"])


async def test_the_nursery_has_one_thread_when_it_forks(real: Harness) -> None:
    await real.boot()
    assert os.listdir(f"/proc/{nursery_of(real)}/task") == [str(nursery_of(real))]


async def test_forks_draw_different_random_numbers(real: Harness, tmp_path: Path) -> None:
    code = (
        "import random, numpy, torch\n"
        "raise ValueError(f'drew {random.random()} {numpy.random.random()} {torch.rand(1, dtype=torch.double).item()}')"
    )
    folder = build_unruly(tmp_path / "gambler", code)
    drawn = []
    for _ in range(2):
        spec = replace(model_spec(folder, tmp_path / "log"), remote_code=True)
        real.launch(spec)
        sighting = await real.until_phase(spec.replica_id, Phase.GONE)
        assert sighting.reason is not None
        drawn.append(sighting.reason.partition("drew ")[2].split())
    assert [len(numbers) for numbers in drawn] == [3, 3]
    assert all(one != other for one, other in zip(*drawn, strict=True))


async def test_a_model_that_hangs_while_it_loads_is_stopped_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    code = (
        "import ctypes, pathlib, subprocess\n"
        f"pathlib.Path({str(tmp_path / 'new')!r}).write_text(str(subprocess.Popen(['sleep', '1000']).pid))\n"
        f"pathlib.Path({str(tmp_path / 'new')!r}).rename({str(mark)!r})\n"
        "ctypes.PyDLL(None).sleep(1000)  # with the interpreter's lock held: nothing else runs\n"
    )
    folder = build_unruly(tmp_path / "sleeper", code)
    spec = replace(model_spec(folder, tmp_path / "log"), remote_code=True)
    async with local(standby=STANDBY, sandbox="off") as real:
        real.launch(spec)
        await eventually(mark.exists)
        pid, child = real.engine.sightings()[spec.replica_id].pid, int(mark.read_text())
        assert pid is not None
        await real.engine.stop(spec.replica_id, 0.2)
        assert not is_alive(pid)
        await eventually(lambda: not is_alive(child))


async def test_an_unknown_task_is_refused(real: Harness) -> None:
    spec = replace(real.good(), task="text-generatoin")
    real.launch(spec)
    sighting = await real.until_phase(spec.replica_id, Phase.GONE)
    assert sighting.refused
    assert sighting.reason is not None
    assert "text-generation" in sighting.reason
