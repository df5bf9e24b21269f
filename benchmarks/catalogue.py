"""The list of models over HTTP when the catalogue has 100,000 rows: its first page, the default one, and a search,
each against a request that does nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.report import at_most, spread

ROWS = 100_000
ROUNDS = 60
FIRST_PAGE_MS = 20.0
"""Promised for the median of a page of 100 rows and of the default one."""
TASKS = ("chat", "text-generation", "fill-mask", "text-to-image", "token-classification")
LAST = f"org-{(ROWS - 1) % 997:03}/model-{ROWS - 1:06}"
NOTHING = "nothing (livez)"
FIRST, DEFAULT = "first page, 100 rows", "first page, default rows"
REQUESTS: Mapping[str, str] = {
    NOTHING: "/livez",
    FIRST: "/models/v2/list/models?limit=100",
    DEFAULT: "/models/v2/list/models",
    "first page, 1000 rows": "/models/v2/list/models?limit=1000",
    "first page of a task, 100 rows": "/models/v2/list/models?limit=100&task=chat",
    "first page of what is not here, 100 rows": "/models/v2/list/models?limit=100&here=false",
    "page in the middle, 100 rows": "/models/v2/list/models?limit=100&after=org-500/",
    "search that finds much, 100 rows": "/models/v2/list/models?limit=100&search=MODEL-",
    "search that finds one": f"/models/v2/list/models?search={LAST[-6:]}",
    "v1, first page, 100 rows": "/model/list?limit=100",
}


def run() -> bool:
    """Prints each request's time; returns whether the first pages are as quick as promised."""
    from tests.serving import Server

    took_ms: dict[str, list[float]] = {name: [] for name in REQUESTS}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").mkdir()
        fill(Path(folder) / "data")
        with Server(Path(folder), Path(folder) / "models", "--calls-per-s", "0") as server:
            for _ in range(ROUNDS):
                for name, path in REQUESTS.items():
                    started = time.perf_counter()
                    response = server.client.get(path)
                    took_ms[name].append((time.perf_counter() - started) * 1000)
                    if not response.is_success:
                        raise RuntimeError(f"{path} answered {response.status_code}: {response.text}")
    for name, values in took_ms.items():
        print(f"{name:40} {spread(values)}")
    kept = [at_most(name, median(took_ms[name]), FIRST_PAGE_MS, "ms") for name in (FIRST, DEFAULT)]
    return all(kept)


def fill(data_dir: Path) -> None:
    """A database whose catalogue has ROWS models of the hub."""
    from modelyard.config import DATABASE_NAME
    from modelyard.records.models import Listing
    from modelyard.store import Store

    data_dir.mkdir()
    now = datetime.now(UTC)
    with Store.open(f"sqlite:///{data_dir / DATABASE_NAME}") as store:
        store.models.publish(
            [
                Listing(
                    model_id=f"org-{number % 997:03}/model-{number:06}",
                    source="hub",
                    updated_at=now,
                    task=TASKS[number % len(TASKS)],
                    memory_bytes=10**9 + number,
                    memory_source="estimated",
                    parameters=100_000_000 + number,
                    architecture="LlamaForCausalLM",
                    revision=f"{number:040x}",
                    license="apache-2.0",
                    facts={"weight_bytes": 4 * 10**8, "dtype": "F32", "max_length": 2048, "library": "transformers"},
                )
                for number in range(ROWS)
            ]
        )
