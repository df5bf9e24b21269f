"""Media sent in bad faith: each is a 4xx that says what was wrong, soon, and the server goes on serving others."""

from __future__ import annotations

import base64
import struct
import threading
import zlib
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.media import hosts
from tests.media.files import counting_frames, gradient, image_file, sound_file, tone, video_file
from tests.media.hosts import Host
from tests.media.zoo import HEARS, READS, SEES, build_zoo
from tests.serving import Server, resident_bytes, wait_until

MEMORY_BYTES = 300 * 1024**2
"""What refusing a file may cost: far less than what the bombs unfold to."""
PNG = image_file(Image.fromarray(gradient(400, 300)), "PNG")
JPEG = image_file(Image.fromarray(gradient(400, 300)), "JPEG")
WAV = sound_file(tone(2.0), "WAV")
MP4 = video_file(counting_frames(25), samples=tone())
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
RANDOM = bytes(np.random.default_rng(7).integers(0, 256, 5000, np.uint8))


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kB that says it is this large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def hostile_server(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """May fetch from this machine, for five seconds at most; its models are loaded."""
    with shared_server.with_models(build_zoo(tmp_path_factory.mktemp("hostile-zoo"))) as running:
        for model_id, sent in ((SEES, PNG), (HEARS, WAV)):
            running.run(model_id, base64=base64.b64encode(sent).decode())
        running.run(READS, text="a")
        yield running


def memory_bytes(server: Server) -> int:
    """What the server and all its workers hold now."""
    assert server.process is not None
    processes = [psutil.Process(server.process.pid), *server.descendants()]
    return sum(map(resident_bytes, processes))


def refused(server: Server, model_id: str, **body: str) -> str:
    """The message of a request that must be refused, without taking memory."""
    before = memory_bytes(server)
    response = server.post(model_id, **body)
    assert 400 <= response.status_code < 500, response.text
    assert memory_bytes(server) - before < MEMORY_BYTES
    assert server.run(READS, text="the cat")
    message: str = response.json()["error"]
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("model_id", "data", "words"),
    [
        (SEES, bomb(100_000, 100_000), "100000x100000 pixels"),
        (SEES, bomb(2**31 - 1, 2**31 - 1), ""),
        (SEES, bomb(9_000, 9_000), "damaged or cut off"),
        (SEES, PNG[: len(PNG) // 2], "damaged or cut off"),
        (SEES, JPEG[: len(JPEG) // 2], "damaged or cut off"),
        (SEES, PNG[:8], "damaged or cut off"),
        (SEES, SVG, "an SVG drawing"),
        (SEES, b"<!DOCTYPE html><html></html>", "an HTML page"),
        (SEES, RANDOM, "no known format"),
        (SEES, WAV, "a WAV file"),
        (SEES, MP4, "an MP4 file"),
        (HEARS, WAV[: len(WAV) // 2], "cut off"),
        (HEARS, WAV[:30], "cut off"),
        (HEARS, MP4[: len(MP4) // 2], "cut off"),
        (HEARS, b"OggS" + RANDOM, "cut off"),
        (HEARS, b"\x1a\x45\xdf\xa3" + RANDOM, ""),
        (HEARS, PNG, "a PNG file"),
        (HEARS, RANDOM, "no known format"),
    ],
)
def test_a_hostile_file_is_refused_with_words(hostile_server: Server, model_id: str, data: bytes, words: str):
    message = refused(hostile_server, model_id, base64=base64.b64encode(data).decode())
    assert message.startswith("base64: ")
    assert words in message


@pytest.mark.parametrize(
    "text", ["", "data:image/png;base64,", "data:image/png,abc", "no base64!", "A", "=AAA", "AA=A", "ftp://a/b"]
)
def test_what_is_no_media_at_all_is_refused(hostile_server: Server, text: str):
    assert refused(hostile_server, SEES, image_url=text).startswith("image_url: ")


def test_a_png_that_says_jpeg_is_what_it_is(hostile_server: Server):
    text = base64.b64encode(PNG).decode()
    wanted = hostile_server.run(SEES, base64=text)
    assert hostile_server.run(SEES, image_url=f"data:image/jpeg;base64,{text}") == wanted


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (hosts.promise(10 * 1024**3), "10737418240 bytes large"), (hosts.endless, "larger than"),
        (hosts.redirect("/again"), "more than 5 redirects"), (hosts.redirect("file:///etc/passwd"), "only http"),
        (hosts.file(b""), "an empty file"), (hosts.file(SVG), "an SVG drawing"),
        (hosts.file(b"x", "500 Oops"), "status 500"),
    ],
    ids=["promise", "endless", "loop", "file-url", "empty", "svg", "500"],
)  # fmt: skip
def test_a_server_in_bad_faith_is_left(hostile_server: Server, answer: hosts.Answer, words: str):
    with Host(answer) as host:
        assert words in refused(hostile_server, SEES, image_url=host.url)


@pytest.mark.parametrize("answer", [hosts.drip, hosts.silence])
def test_a_server_that_takes_for_ever_is_left(hostile_server: Server, answer: hosts.Answer):
    with Host(answer) as host:
        assert "not there within 5 s" in refused(hostile_server, SEES, image_url=host.url)


def test_others_are_served_while_fetches_hang(hostile_server: Server):
    with Host(hosts.drip) as host:
        threads = [
            threading.Thread(target=hostile_server.post, args=(SEES,), kwargs={"image_url": host.url}) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(host.requests) == len(threads))
        for _ in range(20):
            hostile_server.run(READS, text="the cat")
    for thread in threads:
        thread.join()
    wait_until(lambda: hostile_server.load() == (0, 0))
