"""`modelyard doctor`: looks at everything a server needs and says what is wrong and how to mend it. Changes nothing."""

from __future__ import annotations

import json as json_format
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import typer

from modelyard.cli import machine_checks, output, problems
from modelyard.cli.client import Client, find_key, local_url
from modelyard.cli.findings import Finding, Level
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json
from modelyard.config import DATABASE_NAME, Resolved, Settings
from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.units import GIB, gigabytes

LIBRARIES_S = 180.0
HUB_S = 5.0
LOW_DISK_BYTES = 10 * GIB
NO_DISK_BYTES = GIB
COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


@with_settings()
def doctor(resolved: Resolved, json: Json = False) -> None:
    """Check everything a server needs. Exit code 1 when something would keep it from working."""
    findings = []
    console = output.stdout()
    for check in CHECKS:
        finding = check(resolved.settings)
        findings.append(finding)
        if not json:
            console.print(f"[{COLOURS[finding.level]}]{finding.level:4}[/]  {finding.check:10}  ", end="")
            console.print(finding.found, markup=False)
            if finding.fix is not None:
                console.print(f"                  fix: {finding.fix}", markup=False)
    if json:
        output.print_json([asdict(finding) for finding in findings])
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(1)


def check_python(settings: Settings) -> Finding:
    """The interpreter."""
    found = f"{platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        return Finding(
            "python", Level.WARN, found, "use Linux for quick starts: elsewhere every replica is a fresh process"
        )
    return Finding("python", Level.OK, found)


ASK_LIBRARIES = """
import json, torch, transformers
cuda = torch.cuda.is_available()
print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__,
                  "device": torch.cuda.get_device_name(0) if cuda else "CPU only"}))
"""


def check_libraries(settings: Settings) -> Finding:
    """torch and transformers, in a process of their own: this one must not import them."""
    fix = "pip install --force-reinstall modelyard, or `make setup` in a checkout"
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK_LIBRARIES], capture_output=True, text=True, timeout=LIBRARIES_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("libraries", Level.FAIL, f"torch was not imported within {LIBRARIES_S:.0f} s", fix)
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("libraries", Level.FAIL, f"torch and transformers cannot be imported: {last_line}", fix)
    found = json_format.loads(done.stdout.strip().splitlines()[-1])
    words = f"torch {found['torch']}, transformers {found['transformers']}, {found['device']}"
    return Finding("libraries", Level.OK, words)


def check_extras(settings: Settings) -> Finding:
    """The optional parts."""
    from modelyard.catalog.optional_parts import PARTS

    here = [part.extra for part in PARTS if part.is_installed]
    missing = [f"{part.extra} ({part.purpose})" for part in PARTS if not part.is_installed]
    found = f"installed: {', '.join(here) or 'none'}"
    if missing:
        found += f"; not installed: {', '.join(missing)}: each by pip install 'modelyard[NAME]', where it is wanted"
    return Finding("extras", Level.OK, found)


def check_devices(settings: Settings) -> Finding:
    """The accelerators: as declared, else as the driver tells them."""
    from modelyard.engine.devices import WITHOUT_CUDA, MachineDevices, is_built_for_cuda

    try:
        found = MachineDevices(settings.device_memory).found or ()
    except InvalidRequest as error:
        return Finding("devices", Level.FAIL, error.message, "declare others with --device-memory")
    words = ", ".join(f"{device.name} with {gigabytes(device.memory_bytes)} for replicas" for device in found)
    if found and not is_built_for_cuda():
        return Finding("devices", Level.WARN, f"{words}, but {WITHOUT_CUDA}", "pip install a build of torch with CUDA")
    return Finding("devices", Level.OK, words or "none for replicas: models are computed by the processor")


def check_data_dir(settings: Settings) -> Finding:
    """Whether the data folder, or the nearest folder above it that exists, may be written to."""
    folder = nearest_folder(settings.data_dir)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding(
            "data",
            Level.FAIL,
            f"{folder} cannot be written to: {error.strerror}",
            "choose another folder with --data-dir",
        )
    return Finding(
        "data", Level.OK, f"{settings.data_dir}{'' if folder == settings.data_dir else ' (made at the first start)'}"
    )


def check_database(settings: Settings) -> Finding:
    """Whether the database answers."""
    from sqlalchemy import text

    from modelyard.store.database import Database

    file = settings.data_dir / DATABASE_NAME
    if not settings.database_url and not file.exists():
        return Finding("database", Level.OK, f"{file} (made at the first start)")
    try:
        database = Database(settings.store_url)
        try:
            with database.read() as connection:
                connection.execute(text("SELECT 1"))
            return Finding("database", Level.OK, database.where)
        finally:
            database.close()
    except ModelyardError as error:
        return Finding(
            "database",
            Level.FAIL,
            str(error),
            problems.describe(error).fix or "mend that, or choose another with --database-url",
        )


def check_port(settings: Settings) -> Finding:
    """Whether a server answers at the address, or one could listen there."""
    url = local_url(settings)
    with Client(url, find_key(url, settings.data_dir)) as client:
        if client.is_up():
            version = client.health().get("version")
            return Finding("server", Level.OK, f"answers at {url}" + (f", version {version}" if version else ""))
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.create_server((settings.host, settings.port), family=family):
            return Finding("server", Level.OK, f"not running; {settings.host}:{settings.port} is free")
    except OSError as error:
        found = f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        return Finding("server", Level.FAIL, found, "choose another address with --host or --port")


def check_models(settings: Settings) -> Finding:
    """The models folders."""
    from modelyard.catalog.folders import Folders

    missing = [str(path) for path in settings.models_dir if not path.is_dir()]
    if missing:
        return Finding(
            "models", Level.FAIL, f"no such folder: {', '.join(missing)}", "correct --models-dir, or make it"
        )
    if not settings.models_dir:
        return Finding("models", Level.OK, "no models folder given: the example models, and the hub")
    found = Folders(settings.models_dir).list()
    broken = [each for each in found if each.inspection.problem]
    words = f"{len(found)} models in {', '.join(map(str, settings.models_dir))}"
    if broken:
        names = ", ".join(each.model_id for each in broken)
        return Finding(
            "models", Level.WARN, f"{words}; {len(broken)} of them cannot be served: {names}", "modelyard ls says why"
        )
    if not found:
        return Finding("models", Level.WARN, words, "put models there as org/name/, as save_pretrained writes them")
    return Finding("models", Level.OK, words)


def check_hub(settings: Settings) -> Finding:
    """Whether the hub can be reached, where it is wanted."""
    import httpx

    from modelyard.catalog.hub_settings import read_hub_settings

    hub = read_hub_settings()
    if not settings.hub:
        return Finding("hub", Level.OK, "not used (--no-hub)")
    if hub.offline:
        return Finding("hub", Level.OK, f"offline (HF_HUB_OFFLINE); models come from {hub.cache_dir}")
    try:
        httpx.head(hub.endpoint, timeout=HUB_S, follow_redirects=True)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        return Finding(
            "hub",
            Level.WARN,
            f"{hub.endpoint} cannot be reached: {error}",
            "check the network or a proxy (HTTPS_PROXY), or do without: --no-hub",
        )
    return Finding(
        "hub", Level.OK, f"{hub.endpoint}{'' if hub.token else ', without a token'}; files go to {hub.cache_dir}"
    )


def check_sandbox(settings: Settings) -> Finding:
    """What workers are confined with."""
    from modelyard.worker.sandbox.levels import find_mechanisms

    have = find_mechanisms()
    user = "one for each worker" if have.other_user else "the server's own"
    found = (
        f"level {have.level}; files and signals: {f'Landlock {have.landlock}' if have.landlock else 'no Landlock'}; "
        f"system calls: {'seccomp' if have.seccomp else 'no seccomp'}; "
        f"user: {user}"
    )
    if settings.sandbox == "off":
        return Finding("sandbox", Level.WARN, f"off, by the setting; possible: {found}", "leave out --sandbox off")
    if missing := have.missing():
        level = Level.FAIL if settings.sandbox == "strict" else Level.WARN
        return Finding("sandbox", level, found, f"use a machine with {' and '.join(missing)}")
    return Finding("sandbox", Level.OK, found)


def check_disk(settings: Settings) -> Finding:
    """Room for models and data."""
    from modelyard.catalog.hub_settings import read_hub_settings

    folders = {nearest_folder(settings.data_dir), nearest_folder(read_hub_settings().cache_dir)}
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    folder = min(free, key=lambda each: free[each])
    found = f"{gigabytes(free[folder])} free at {folder}"
    fix = "make room, or set HF_HOME and --data-dir to a larger disk"
    if free[folder] < NO_DISK_BYTES:
        return Finding("disk", Level.FAIL, found, fix)
    if free[folder] < LOW_DISK_BYTES:
        return Finding("disk", Level.WARN, found, fix)
    return Finding("disk", Level.OK, found)


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    check_python,
    check_libraries,
    check_extras,
    check_devices,
    check_data_dir,
    check_database,
    check_port,
    check_models,
    check_hub,
    check_sandbox,
    check_disk,
    machine_checks.check_temporary,
    machine_checks.check_memory,
    machine_checks.check_shared_memory,
    machine_checks.check_open_files,
    machine_checks.check_processes,
    machine_checks.check_clock,
)


def nearest_folder(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = Path(os.path.abspath(path))
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
