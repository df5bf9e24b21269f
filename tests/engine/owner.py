"""A program that owns an engine, for tests that kill it: prints the pids of everything it has started, then waits."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from modelyard.engine.local import LocalEngine
from modelyard.units import GIB
from tests.engine.harness import Harness, ask, echo_spec
from tests.engine.workers import ECHO_STANDBY


async def main() -> None:
    """Starts two replicas, one of which has started a process of its own."""
    engine = LocalEngine(GIB, standby=ECHO_STANDBY, sandbox="off")
    await engine.start()
    harness = Harness(engine)
    links = [await harness.boot(echo_spec(path)) for path in ("echo", "parent")]
    facts = json.loads(await ask(links[1], "facts"))
    workers = [sighting.pid for sighting in engine.sightings().values()]
    nurseries = [engine.nursery_pid, engine.standby_pid]
    print(json.dumps({"nurseries": nurseries, "workers": workers, "child": facts["child"]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
