"""TLS between servers, nodes and replicas: who is let in, and what is said of who is not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelyard.config import Settings
from modelyard.errors import InvalidRequest
from modelyard.tls import Entrance, LinkTls, explain, load_tls
from tests.certificates import make_authority, make_certificate, run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    return make_certificate(folder, make_authority(folder))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of another authority."""
    folder = tmp_path_factory.mktemp("others")
    return make_certificate(folder, make_authority(folder, "somebody"))


def loaded(files: dict[str, str]) -> LinkTls:
    tls = load_tls(Settings(**files))
    assert tls is not None
    return tls


@asynccontextmanager
async def echo_behind(tls: LinkTls | None) -> AsyncIterator[int]:
    """The port of something that sends back the first that it is sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1000))
        writer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        entrance = Entrance(listener, lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(), echo), tls)
        entrance.open()
        try:
            yield listener.getsockname()[1]
        finally:
            await entrance.close()


async def say(port: int, tls: ssl.SSLContext | None) -> bytes:
    """What comes back; nothing when the connection is broken off. Raises what the handshake does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        writer.write(b"hello\n")
        return await reader.readline()
    except OSError:
        return b""
    finally:
        writer.transport.abort()


async def test_both_ends_of_one_authority_understand_each_other(files: dict[str, str]) -> None:
    tls = loaded(files)
    async with echo_behind(tls) as port:
        assert await say(port, tls.connects) == b"hello\n"
    async with echo_behind(None) as port:
        assert await say(port, None) == b"hello\n"


async def test_who_speaks_no_tls_is_refused_and_the_log_says_what_to_do(
    files: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with echo_behind(loaded(files)) as port:
        assert [await say(port, None) for _ in range(2)] == [b"", b""]
    (told,) = caplog.messages
    assert "refused a connection from 127.0.0.1: it does not speak TLS" in told
    assert "set links_certificate, links_key and links_ca on both machines" in told


async def test_a_certificate_of_another_authority_is_refused_on_both_sides(
    files: dict[str, str], others: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with echo_behind(loaded(files)) as port:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            await say(port, loaded(others).connects)
        assert "its certificate is not one of the authority in links_ca" in explain(caught.value)
        trusting = loaded({**others, "links_ca": files["links_ca"]}).connects  # and shows one of the others
        assert await say(port, trusting) == b""
    assert len(caplog.messages) == 2
    assert all("links_certificate, links_key and links_ca" in told for told in caplog.messages)
    assert "its certificate is not one of the authority in links_ca" in caplog.messages[1]


async def test_who_shows_no_certificate_is_refused(files: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    shy = ssl.create_default_context(cafile=files["links_ca"])
    shy.check_hostname = False
    async with echo_behind(loaded(files)) as port:
        assert await say(port, shy) == b""
    assert "it shows no certificate: set links_certificate" in caplog.text


async def test_a_client_that_speaks_tls_is_told_that_the_other_side_does_not(files: dict[str, str]) -> None:
    async with echo_behind(None) as port:
        with pytest.raises(OSError) as caught:  # noqa: PT011
            await asyncio.open_connection("127.0.0.1", port, ssl=loaded(files).connects)
    assert "set links_certificate, links_key and links_ca on both machines" in explain(caught.value)


def test_without_files_there_is_no_tls() -> None:
    assert load_tls(Settings()) is None


def test_files_that_cannot_be_used_are_named(files: dict[str, str], others: dict[str, str], tmp_path: Path) -> None:
    def refusal(**changed: str) -> InvalidRequest:
        with pytest.raises(InvalidRequest) as caught:
            load_tls(Settings(**{**files, **changed}))
        return caught.value

    assert refusal(links_key="").data["field"] == "links_key"
    assert "links_certificate, links_ca is set" in str(refusal(links_key=""))
    assert refusal(links_ca=str(tmp_path / "none")).data["field"] == "links_ca"
    assert refusal(links_ca=files["links_key"]).data["field"] == "links_ca"
    assert "a certificate and its own key" in str(refusal(links_key=others["links_key"]))
    locked = tmp_path / "locked.key"
    run("openssl", "ec", "-aes256", "-passout", "pass:hush", "-in", files["links_key"], "-out", str(locked))
    assert "without a password" in str(refusal(links_key=str(locked)))
