from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import httpcore
import pytest

from modelyard.errors import InvalidRequest
from modelyard.media.addresses import is_public, resolve
from modelyard.media.fetch import Fetcher, FetchLimits, shown
from modelyard.telemetry.context import TraceContext
from tests.media import hosts
from tests.media.hosts import Host

CERTIFICATE = Path(__file__).parent / "certificate" / "right.test.pem"
"""A key and a certificate for right.test, signed by itself, valid for a hundred years."""
SOON_S = 100.0
"""Within it a fetch ends that would else last for ever; it takes less than half a second where nothing else runs."""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def fetch(url: str, *, resolver: Callable[..., object] | None = None, **limits: object) -> bytes:
    """Fetches with a fetcher of its own."""
    more = {} if resolver is None else {"resolver": resolver}
    return await Fetcher(FetchLimits(**limits), **more).fetch(url, "image_url")  # type: ignore[arg-type]


async def refusal(url: str, **limits: object) -> str:
    """The message of a fetch that must be refused."""
    with pytest.raises(InvalidRequest) as caught:
        await fetch(url, **limits)
    assert caught.value.status == 422
    assert caught.value.message.startswith("image_url: cannot fetch ")
    return caught.value.message


def answering(*answers: str) -> Callable[[str, int], object]:
    """A resolver that gives one address after another for any name."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return [left.pop(0) if len(left) > 1 else left[0]]

    return resolve


async def test_a_file_comes_whole_and_the_request_says_no_more_than_it_must():
    with Host(hosts.file(PNG)) as host:
        assert await fetch(f"{host.url}/a%20b.png?x=1#part", allow_private=True) == PNG
    (head,) = host.requests
    assert head.startswith(b"GET /a%20b.png?x=1 HTTP/1.1\r\n")
    lines = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line}
    assert lines == {b"host", b"user-agent", b"accept", b"accept-encoding"}
    assert f"host: 127.0.0.1:{host.port}".encode() in head.lower()


async def test_the_trace_of_a_request_is_told_to_whoever_is_asked():
    context = TraceContext("a" * 32, "b" * 16, is_sampled=True)
    with Host(hosts.file(PNG)) as host:
        fetcher = Fetcher(FetchLimits(allow_private=True))
        assert await fetcher.fetch(host.url, "image_url", context=context) == PNG
    assert f"traceparent: {context}".encode() in host.requests[0]


async def test_redirects_are_followed_also_relative_ones():
    with Host(hosts.file(PNG)) as target, Host(hosts.redirect(f"{target.url}/there")) as source:
        assert await fetch(source.url, allow_private=True) == PNG

    def answer(connection, head):
        (hosts.file(PNG) if head.startswith(b"GET /b/there ") else hosts.redirect("../b/there"))(connection, head)

    with Host(answer) as host:
        assert await fetch(f"{host.url}/a/here", allow_private=True) == PNG


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "169.254.0.1",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1",
        "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0",
        "fec0::1", "ff02::1", "100::1", "not an address", "",
    ],
)  # fmt: skip
def test_an_address_of_somebodys_own_network_is_not_public(address: str):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_internet_is_public(address: str):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://localhost/",
        "http://LOCALHOST/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/",
        "http://[0:0:0:0:0:ffff:7f00:1]/", "http://0/", "http://0.0.0.0/", "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/", "http://[fd00::1]/", "https://10.0.0.1/", "http://192.168.0.1:8080/",
    ],
)  # fmt: skip
async def test_no_way_of_writing_a_private_address_reaches_it(url: str):
    assert "public internet" in await refusal(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "only http and https"), ("ftp://a/b", "only http and https"),
        ("gopher://a/", "only http and https"), ("http://", "only http and https"), ("//a/b", "only http and https"),
        ("http://user:secret@example.com/", "user name"), ("http://a..b/", ""), ("http://example.com:0/", "port"),
        ("http://example.com:99999/", ""), ("http://" + "a" * 9000, "longer than"), ("http://exa\tmple/", ""),
        ("http://nowhere.invalid/", ""), ("http://[::1/", ""), ("http://xn--/", ""),
        ("http://0177.0.0.1/", ""), ("http://１２７.０.０.１/", ""),
    ],
)  # fmt: skip
async def test_what_is_no_url_to_fetch_is_refused(url: str, words: str):
    message = await refusal(url)
    assert words in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/", "http://169.254.169.254/latest/", "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/", "http://localhost:{port}/", "//127.0.0.1:{port}/", "file:///etc/passwd",
        "http://2130706433:{port}/", "http://a:b@public.test:{port}/", "",
    ],
)  # fmt: skip
async def test_a_redirect_is_checked_like_any_url(location: str):
    """The first hop is let through to this machine by name, as a public host would be; the second must not be."""
    with Host(hosts.file(b"secret")) as inside, Host(hosts.redirect(location.format(port=inside.port))) as outside:

        class Outside(httpcore.AnyIOBackend):
            """A network in which one public address leads to this machine."""

            async def connect_tcp(self, host, port, *rest):
                return await super().connect_tcp("127.0.0.1" if host == "93.184.216.34" else host, port, *rest)

        async def dns(host: str, port: int) -> Sequence[str]:
            return ["93.184.216.34"] if host == "public.test" else await resolve(host, port)

        fetcher = Fetcher(FetchLimits(), dns, Outside())
        with pytest.raises(InvalidRequest):
            await fetcher.fetch(f"http://public.test:{outside.port}/", "image_url")
    assert outside.requests
    assert not inside.requests


async def test_a_name_that_changes_its_answer_gains_nothing():
    """Rebinding: public while it is checked, loopback when connected to. It is asked once, and that answer is used."""
    asked = []

    async def answer(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) == 1 else ["127.0.0.1"]

    with Host(hosts.file(b"secret")) as inside:
        await refusal(f"http://rebind.test:{inside.port}/", resolver=answer)
        assert asked == ["rebind.test"]
        assert "public internet" in await refusal(f"http://rebind.test:{inside.port}/", resolver=answer)
    assert not inside.requests


async def test_the_connection_goes_to_the_address_that_was_checked_and_keeps_the_name():
    with Host(hosts.file(PNG)) as host:
        assert await fetch(f"http://name.test:{host.port}/", resolver=answering("127.0.0.1"), allow_private=True) == PNG
    assert f"host: name.test:{host.port}".encode() in host.requests[0].lower()


async def test_one_private_address_among_public_ones_condemns_the_name():
    async def both(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34", "127.0.0.1"]

    assert "public internet" in await refusal("http://mixed.test/", resolver=both)


async def test_why_a_host_cannot_be_reached_is_for_the_operator():
    with pytest.raises(InvalidRequest) as refused:
        await fetch("http://inner.test/", resolver=answering("10.0.0.7"))
    assert "10.0.0.7" not in refused.value.message
    assert refused.value.detail == "inner.test: 10.0.0.7 is not on the public internet."


async def test_redirects_without_end_are_given_up():
    with Host(hosts.redirect("/again")) as host:
        assert "more than 5 redirects" in await refusal(host.url, allow_private=True)
    assert len(host.requests) == 6


async def test_a_promised_size_over_the_limit_is_refused_before_a_byte_is_read():
    with Host(hosts.promise(10 * 1024**3)) as host:
        async with asyncio.timeout(SOON_S):
            assert "10737418240 bytes large" in await refusal(host.url, allow_private=True, total_s=2 * SOON_S)


async def test_a_body_without_end_is_cut_at_the_limit():
    with Host(hosts.endless) as host:
        assert "larger than 1000000 bytes" in await refusal(host.url, allow_private=True, max_bytes=1_000_000)


@pytest.mark.parametrize("answer", [hosts.drip, hosts.silence])
async def test_a_server_that_takes_its_time_is_left(answer: hosts.Answer):
    with Host(answer) as host:
        async with asyncio.timeout(SOON_S):
            assert "not there within 0.3 s" in await refusal(host.url, allow_private=True, total_s=0.3)


async def test_a_body_shorter_than_promised_and_other_answers_than_200_are_refused():
    with Host(lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")) as host:
        await refusal(host.url, allow_private=True)
    with Host(hosts.file(b"no", "404 Not Found")) as host:
        assert "status 404" in await refusal(host.url, allow_private=True)
    with Host(lambda connection, _: connection.sendall(b"SSH-2.0-x\r\n\r\n")) as host:
        await refusal(host.url, allow_private=True)
    await refusal("http://127.0.0.1:1/", allow_private=True)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    with Host(hosts.file(b"proxy")) as proxy, Host(hosts.file(PNG)) as host:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert await fetch(host.url, allow_private=True) == PNG
    assert not proxy.requests


async def test_the_event_loop_is_free_while_a_fetch_waits():
    with Host(hosts.silence) as host:
        async with asyncio.timeout(200):
            waiting = asyncio.create_task(
                Fetcher(FetchLimits(allow_private=True)).fetch(host.url, "image_url"), name="fetch"
            )
            while not host.requests:
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting


async def test_a_certificate_must_be_for_the_name(monkeypatch: pytest.MonkeyPatch):
    """The address was chosen by us, the name was not: a server with another name's certificate is not the one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    for name, trusted in (("right.test", True), ("wrong.test", False)):
        with Host(hosts.file(PNG), tls=context) as host:
            url = f"https://{name}:{host.port}/"
            if trusted:
                assert await fetch(url, resolver=answering("127.0.0.1"), allow_private=True) == PNG
            else:
                assert (
                    "certificate" in (await refusal(url, resolver=answering("127.0.0.1"), allow_private=True)).lower()
                )


def test_messages_show_no_query_and_no_password():
    assert shown("https://u:p@h/x?signature=1#f") == "https://h/x"
    assert len(shown("https://h/" + "a" * 999)) == 200


async def test_no_module_of_the_gateway_reads_files_by_url(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    await refusal(secret.as_uri())
