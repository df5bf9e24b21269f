"""Files that models have made, where whoever is followed may be on another machine."""

from pathlib import Path

import httpx

from modelyard.clock import SystemClock
from modelyard.gateway.artefacts import serve_own
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
