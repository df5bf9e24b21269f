"""A server of ours that has no models but those of a hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hub.server import HubServer
from tests.serving import Server


@contextmanager
def serving_hub(folder: Path, hub: HubServer, *flags: str, boots: bool = True) -> Iterator[Server]:
    """It keeps its data and the hub's cache below `folder`; it may not be ready to boot a model at once. See Server."""
    (folder / "models").mkdir()
    environ = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_TOKEN": "", "HF_HUB_OFFLINE": "0"}
    server = Server(folder, folder / "models", *flags, hub=True, boots=boots, **environ)
    server.start(warm=False)
    yield server
    server.stop()
    server.client.close()
