"""Files that models have made, where whoever is followed may be on another machine."""

from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import FileResponse

from modelyard.clock import SystemClock
from modelyard.errors import NotFound
from modelyard.gateway.artefacts import ArtefactCalls, serve_own
from modelyard.http.exchange import App, Receive, Scope, Send
from modelyard.media.artefacts import Artefacts


def saying(text: bytes) -> App:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})

    return answer


async def test_a_gateway_serves_the_files_that_are_here_and_asks_for_all_else(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path / "artefacts", 60.0, SystemClock())
    artefacts.open()
    name = artefacts.keep(b"data", "image/png")
    transport = httpx.ASGITransport(serve_own(artefacts, saying(b"here"), saying(b"elsewhere")))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answers = [(await client.get(path)).text for path in (f"/artefacts/{name}", f"/artefacts/x{name}", "/health")]
    assert answers == ["here", "elsewhere", "elsewhere"]


async def test_a_file_that_another_server_has_is_served_once_it_is_here(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path / "artefacts", 60.0, SystemClock())
    artefacts.open()
    calls, name, unknown = ArtefactCalls(artefacts), f"{'a' * 32}.png", f"{'b' * 32}.png"

    async def ensure_here(wanted: str) -> None:
        if wanted == name:
            with artefacts.copying(name) as copy:
                copy.add(b"da")
                copy.add(b"ta")
                copy.finish(SystemClock().now().timestamp())

    calls.ensure_here = ensure_here
    response = await calls.get(request_for(name))
    assert isinstance(response, FileResponse)
    assert Path(response.path).read_bytes() == b"data"
    with pytest.raises(NotFound):
        await calls.get(request_for(unknown))


def request_for(name: str) -> Request:
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/artefacts/{name}",
        "headers": [],
        "path_params": {"name": name},
    }
    return Request(scope)
