"""A real nginx, with the lines of docs/howto/proxy.md, before a server."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.pages.blocks import ROOT, blocks
from tests.serving import ENDLESS, KEY, REQUEST_S, Server, free_port, wait_until

pytestmark = pytest.mark.verify(part="docs")

PAGE = ROOT / "docs" / "howto" / "proxy.md"
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""
PIECE_BYTES = 1000
"""Of the first piece of a stream there are fewer, unless something has waited for more: nginx would for 4096."""
MORE_THAN_NGINX_TAKES = 2 * 1024**2
"""By default it takes bodies of 1 MiB."""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    certificate, key = folder / "localhost.pem", folder / "localhost.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def proxied(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the server by way of nginx, over TLS."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program is not None, "nginx is not here: apt-get install nginx-light"
    (block,) = (each for each in blocks("nginx") if each.page == PAGE)
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    certificate, key = make_certificate(folder)
    text = block.text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    text = re.sub(r"(ssl_certificate) \S+;", rf"\1 {certificate};", text)
    text = re.sub(r"(ssl_certificate_key) \S+;", rf"\1 {key};", text)
    text = text.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{server.port}")
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, server=text))
    words = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with (folder / "log").open("wb") as log, subprocess.Popen(words, stderr=log) as process:
        trusting = ssl.create_default_context(cafile=str(certificate))
        client = httpx.Client(
            base_url=f"https://localhost:{port}",
            headers={"authorization": f"Key {KEY}"},
            verify=trusting,
            timeout=REQUEST_S,
        )

        def is_up() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return client.get("/health").status_code == 200
            except httpx.ConnectError:
                return False

        try:
            wait_until(is_up)
            yield client
        finally:
            client.close()
            process.terminate()


def test_a_stream_is_passed_on_as_it_is_written_and_ends_with_its_client(proxied: httpx.Client, server: Server) -> None:
    model_id, params = ENDLESS
    body = {"text": "the cat", "stream": True, "params": params}
    with proxied.stream("POST", f"/models/v2/{model_id}", json=body) as answer:
        assert answer.status_code == 200
        assert 0 < len(next(answer.iter_raw())) < PIECE_BYTES
    wait_until(lambda: server.load() == (0, 0))


def test_large_bodies_reach_the_server(proxied: httpx.Client) -> None:
    long = {"text": "the cat", "params": {"colour": "x" * MORE_THAN_NGINX_TAKES}}
    answer = proxied.post("/models/v2/tiny/gpt2", json=long)
    assert answer.status_code == 422
    assert "params" in answer.json()["error"]
