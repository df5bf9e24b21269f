"""What large uploads do to others: the 99th percentile of a small text request's latency while files of 40 MB arrive as
base64 in JSON, one after another, against its value while nothing else happens.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.models import ensure_model
from benchmarks.report import ratio, rounds, spread

TEXT_MODEL, IMAGE_MODEL = "bench/classifier", "bench/vit"
FILE_BYTES = 40 * 1000**2
ROUNDS = rounds(5)
REQUESTS = 400
AT_MOST = 3.0

UPLOADER = """
import http.client, sys
port, model, path = sys.argv[1:]
body = open(path, "rb").read()
headers = {"authorization": "Key test-key", "content-type": "application/json"}
connection = http.client.HTTPConnection("127.0.0.1", int(port))
while True:
    connection.request("POST", "/models/v2/" + model, body, headers)
    answer = connection.getresponse()
    print(answer.status, answer.read()[:200], flush=True)
"""


def run() -> bool:
    """Prints both sides; returns whether the promised bound holds."""
    from tests.serving import Server

    models = ensure_model(TEXT_MODEL, "bert_classifier")
    ensure_model(IMAGE_MODEL, "vit_classifier")
    idle, busy, uploads = [], [], 0
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), models, "--rate-limit", "0") as server:
        server.run(TEXT_MODEL, text="a")
        image = large_png(FILE_BYTES)
        server.run(IMAGE_MODEL, base64=base64.b64encode(image).decode())
        body = Path(folder) / "upload.json"
        body.write_text(json.dumps({"base64": base64.b64encode(image).decode(), "params": {"top_k": 1}}))
        for _ in range(ROUNDS):
            idle.append(p99(latencies_ms(server.port, REQUESTS)))
            command = [sys.executable, "-c", UPLOADER, str(server.port), IMAGE_MODEL, str(body)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as uploader:
                assert uploader.stdout is not None
                first = uploader.stdout.readline()
                assert first.startswith(b"200"), first
                busy.append(p99(latencies_ms(server.port, REQUESTS)))
                uploader.terminate()
                uploads += len(uploader.stdout.readlines())
    print(f"{'p99 of a small text request, idle':58} {spread(idle)}")
    print(f"{f'p99 while 40 MB uploads run ({uploads} of them)':58} {spread(busy)}")
    return ratio("p99 while uploads run / idle", busy, idle, at_most=AT_MOST)


def large_png(size: int) -> bytes:
    """A small image in a file of `size` bytes: decoding it costs nothing, carrying it does."""
    from PIL import Image

    target = io.BytesIO()
    Image.new("RGB", (32, 24), "red").save(target, "PNG")
    png = target.getvalue()
    filling = b"myRd" + bytes(size - len(png) - 12)
    chunk = struct.pack(">I", len(filling) - 4) + filling + struct.pack(">I", zlib.crc32(filling))
    return png[:-12] + chunk + png[-12:]


def latencies_ms(port: int, count: int) -> list[float]:
    """How long each of `count` requests took, one after another on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"authorization": "Key test-key", "content-type": "application/json"}
    body, taken = json.dumps({"text": "the cat sat"}), []
    for _ in range(count):
        started = time.perf_counter()
        connection.request("POST", f"/models/v2/{TEXT_MODEL}", body, headers)
        answer: Any = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        taken.append((time.perf_counter() - started) * 1000)
    connection.close()
    return taken


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return quantiles(values, n=100)[98]
