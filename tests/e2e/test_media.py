"""Media into and out of a real server, in every way a client may send it and fetch it."""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.media import hosts
from tests.media.files import gradient, image_file, sound_file, tone
from tests.media.hosts import Host
from tests.media.zoo import HEARS, READS, SEES, build_zoo
from tests.serving import REQUEST_S, Server

IMAGE = Image.fromarray(gradient())
PNG = image_file(IMAGE, "PNG")
WAV = sound_file(tone(0.5), "WAV")
BARE = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{BARE}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_zoo(tmp_path_factory.mktemp("media-zoo"))


@pytest.fixture(scope="module")
def media_server(models: Path, shared_server: Server) -> Iterator[Server]:
    """May fetch from this machine."""
    with shared_server.with_models(models) as running:
        yield running


@pytest.fixture(scope="module")
def guarded_server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As it is by default: it fetches from the public internet only, and refusals need no model. When it started there
    was a sound that had expired, and a picture that had not."""
    server = Server(tmp_path_factory.mktemp("guarded"), models, boots=False)
    (server.data_dir / "artefacts").mkdir(parents=True)
    place(server, WAV, age_s=4000)
    place(server, PNG, "png")
    server.start(warm=False)
    yield server
    server.stop()
    server.client.close()


@pytest.fixture(scope="module")
def expected(media_server: Server) -> Any:
    """The answer for the picture."""
    return media_server.run(SEES, base64=BARE)


def upload(server: Server, model_id: str, **request: Any) -> httpx.Response:
    """POSTs a body that is not JSON."""
    return server.client.post(f"/models/v2/{model_id}", **request)


@pytest.mark.parametrize("name", ["base64", "url", "image_url", "input"])
@pytest.mark.parametrize("value", [BARE, DATA_URL], ids=["bare", "data-url"])
def test_base64_is_taken_in_every_field_of_media(media_server: Server, expected: Any, name: str, value: str):
    assert media_server.run(SEES, **{name: value}) == expected
    assert media_server.run(SEES, input={"image_url": {"url": value}}) == expected


@pytest.mark.parametrize("name", ["url", "image_url", "input"])
def test_a_url_is_fetched(media_server: Server, expected: Any, name: str):
    with Host(hosts.file(PNG)) as host:
        assert media_server.run(SEES, **{name: f"{host.url}/picture"}) == expected
    (head,) = host.requests
    assert b"authorization" not in head.lower()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/", "http://169.254.169.254/",
        "http://[::ffff:127.0.0.1]:{port}/", "http://0.0.0.0:{port}/", "http://2130706433:{port}/",
        "http://user:pw@127.0.0.1:{port}/", "http://127.0.0.1:99999/",
    ],
)  # fmt: skip
def test_no_url_reaches_this_machine(guarded_server: Server, url: str):
    with Host(hosts.file(PNG)) as inside:
        response = guarded_server.post(SEES, image_url=url.format(port=inside.port))
    assert response.status_code == 422
    assert response.json()["error"].startswith("image_url: cannot fetch ")
    assert not inside.requests


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP"])
def test_the_type_is_told_by_content(media_server: Server, expected: Any, kind: str):
    data = image_file(IMAGE, kind, lossless=True)
    assert media_server.run(SEES, image_url=f"data:image/jpeg;base64,{base64.b64encode(data).decode()}") == expected


def test_a_bare_file_is_a_body(media_server: Server, expected: Any):
    for content_type in (
        "image/png",
        "IMAGE/PNG; x=y",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ):
        response = upload(media_server, SEES, content=PNG, headers={"content-type": content_type})
        assert response.status_code == 200, response.text
        assert response.json()["output"] == expected
    response = upload(
        media_server, SEES, content=PNG, headers={"content-type": "image/png"}, params={"params": '{"top_k": 1}'}
    )
    assert response.json()["output"] == expected[:1]
    response = upload(media_server, HEARS, content=WAV, headers={"content-type": "audio/wav"})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("name", ["file", "image", "image_url", "base64"])
def test_a_form_is_a_body(media_server: Server, expected: Any, name: str):
    response = upload(media_server, SEES, files={name: ("a.txt", PNG)}, data={"params": '{"top_k": 2}'})
    assert response.status_code == 200, response.text
    assert response.json()["output"] == expected[:2]


def test_a_form_may_hold_any_field(media_server: Server):
    wanted = media_server.run(READS, text="the cat", params={"top_k": 1})
    response = upload(media_server, READS, files={"text": (None, "the cat"), "params": (None, '{"top_k": 1}')})
    assert response.json() == {"error": None, "output": wanted}


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"files": [("a", PNG), ("b", PNG)]}, 422, "one file"),
        ({"files": {"a": PNG}, "data": {"params": "{"}}, 400, "params"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
        ({"content": PNG, "headers": {"content-type": "application/pdf"}}, 415, "multipart/form-data"),
        ({"content": PNG, "headers": {"content-type": "image/png"}, "params": {"params": "1"}}, 400, "params"),
        ({"content": b"", "headers": {"content-type": "image/png"}}, 422, "empty file"),
        ({"content": WAV, "headers": {"content-type": "image/png"}}, 422, "a WAV file"),
        ({"files": {"photo": b"hello"}}, 422, "photo: got 5 bytes"),
    ],
)
def test_a_wrong_upload_is_told_what_is_wrong(media_server: Server, request_: Any, status: int, words: str):
    response = upload(media_server, SEES, **request_)
    assert response.status_code == status, response.text
    assert words in response.json()["error"]
    assert response.json()["output"] is None


def test_a_large_body_gives_the_same_answer_as_a_small_one(media_server: Server, expected: Any):
    """Above 256 kB a body takes another path: lifted, decoded in slices, sent without copying."""
    data = padded(PNG, 3_000_000)
    text = base64.b64encode(data).decode()
    assert media_server.run(SEES, base64=text) == expected
    assert media_server.run(SEES, input={"url": f"data:;base64,{text}"}) == expected
    escaped = json.dumps({"base64": text, "params": {"top_k": 1}}).replace("/", "\\/")
    response = upload(media_server, SEES, content=escaped, headers={"content-type": "application/json"})
    assert response.json()["output"] == expected[:1]
    response = upload(media_server, SEES, content=data, headers={"content-type": "image/png"})
    assert response.json()["output"] == expected


def padded(png: bytes, size: int) -> bytes:
    """A PNG with a chunk of random bytes that readers skip."""
    import zlib

    body = b"myRd" + secrets.token_bytes(size)
    return png[:-12] + size.to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big") + png[-12:]


@pytest.mark.parametrize(
    "body",
    ['{"base64": "%s', '{"base64": "%s"', '{"base64": "%s"}}', '{"base64" "%s"}', '{"text": "\x01%s"}', '["%s"]'],
)
def test_a_large_malformed_body_is_a_400(media_server: Server, body: str):
    text = base64.b64encode(padded(PNG, 400_000)).decode()
    response = upload(media_server, SEES, content=body.replace("%s", text))
    assert response.status_code == 400, response.text


def test_text_that_looks_like_a_file_stays_text(media_server: Server):
    text = base64.b64encode(padded(PNG, 400_000)).decode()
    assert media_server.run(READS, text=text) == media_server.run(READS, text=text[:100_000])


def test_a_client_that_leaves_ends_the_fetch(media_server: Server):
    with Host(hosts.silence) as host, httpx.Client(timeout=0.5) as client, pytest.raises(httpx.ReadTimeout):
        client.post(
            f"{media_server.url}/models/v2/{SEES}", json={"url": host.url}, headers=dict(media_server.client.headers)
        )
    assert media_server.load() == (0, 0)


# --- artefacts ---


def place(server: Server, data: bytes, ending: str = "wav", age_s: float = 0) -> str:
    """Puts a file where the server keeps what models make; its path on the server."""
    name = f"{secrets.token_urlsafe(24)}.{ending}"
    path = server.data_dir / "artefacts" / name
    path.write_bytes(data)
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return f"/artefacts/{name}"


def test_an_artefact_is_fetched_without_a_key(media_server: Server):
    response = httpx.get(media_server.url + place(media_server, WAV), timeout=REQUEST_S)
    assert response.status_code == 200
    assert response.content == WAV
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["accept-ranges"] == "bytes"


def test_an_artefact_answers_ranges_and_head(media_server: Server):
    url = media_server.url + place(media_server, WAV)
    size = len(WAV)
    for asked, start, end in (("0-99", 0, 100), (f"{size - 10}-", size - 10, size), ("-7", size - 7, size)):
        response = httpx.get(url, headers={"range": f"bytes={asked}"}, timeout=REQUEST_S)
        assert response.status_code == 206
        assert response.content == WAV[start:end]
        assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for asked, status in ((f"bytes={size}-", 416), ("bytes=5-1", 400), ("first", 400)):
        response = httpx.get(url, headers={"range": asked}, timeout=REQUEST_S)
        assert (response.status_code, response.json()["output"]) == (status, None)
        assert response.json()["error"].startswith(f"range: got '{asked}'; accepted: ")
        assert response.headers.get("content-range") == (f"bytes */{size}" if status == 416 else None)
    for asked in ("lines=0-9", "seconds=1-2"):
        response = httpx.get(url, headers={"range": asked}, timeout=REQUEST_S)
        assert (response.status_code, response.content) == (200, WAV)
    head = httpx.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))
    assert httpx.post(url, timeout=REQUEST_S).status_code == 405


def test_an_expired_artefact_and_a_wrong_name_are_not_found(media_server: Server):
    assert httpx.get(media_server.url + place(media_server, WAV, age_s=3601), timeout=REQUEST_S).status_code == 404
    (media_server.data_dir / "artefacts" / "plain.wav").write_bytes(WAV)
    for name in (
        "plain.wav", "..%2Fmodelyard.db", "%2e%2e%2fcli.key", ".%2e", "%00", f"{'a' * 32}.wav", "a/b", "cli.key", "",
    ):  # fmt: skip
        response = httpx.get(f"{media_server.url}/artefacts/{name}", timeout=REQUEST_S)
        assert response.status_code == 404, name
        assert response.json()["output"] is None


def test_expired_artefacts_are_removed_at_the_start(guarded_server: Server):
    assert [path.suffix for path in (guarded_server.data_dir / "artefacts").iterdir()] == [".png"]
