from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from modelyard.errors import BodyTooLarge, InvalidRequest, MalformedBody
from modelyard.gateway.deferred import MAX_STRINGS, Deferred, decode_body, restore
from modelyard.gateway.media import needs_resolving, resolve
from modelyard.media.fetch import Fetcher, FetchLimits
from modelyard.protocol import Request
from modelyard.tasks.body import decode_object
from modelyard.wire import Blob, BrokenStream, Unsendable, decode, encode, encode_pieces

FILE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 2000
TEXT = base64.b64encode(FILE).decode()


async def decoded(raw: bytes) -> dict[str, Any]:
    return await decode_body(raw)


async def test_a_large_file_is_carried_and_everything_else_is_as_ever() -> None:
    body = {"base64": TEXT, "params": {"top_k": 1, 'a"b': 'c\\"d'}, "list": [1, None, "é", f"data:x;base64,{TEXT}"]}
    for raw in (json.dumps(body).encode(), json.dumps(body, ensure_ascii=False, indent=2).encode()):
        read = await decoded(raw)
        assert isinstance(read["base64"], Deferred)
        assert TEXT.startswith(read["base64"])
        assert isinstance(read["list"][3], Deferred)
        assert restore(read) == body
        assert await read["base64"].decode("x") == FILE


@pytest.mark.parametrize(
    "body",
    [
        {"text": "the cat " * 50_000}, {"text": "A" * 400_000}, {"text": '"\\' * 200_000}, {"texts": ["a"] * 49_000},
        {"text": "\\" * 300_001}, {TEXT: 1}, {"messages": [{"role": "user", "content": "x " * 200_000}]},
        {"a": "http://x/" + "y" * 300_000},
    ],
)  # fmt: skip
async def test_what_is_no_file_is_parsed_as_ever(body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    read = await decoded(raw)
    if TEXT in body:
        return
    assert read == decode_object(raw) == body
    assert not needs_resolving(read)


@pytest.mark.parametrize(
    "raw",
    [
        f'{{"base64": "{TEXT}', f'{{"base64": "{TEXT}"', f'{{"base64" "{TEXT}"}}', f'["{TEXT}"]', f'"{TEXT}"',
        "[" * 400_000, '{"a":' * 100_000, f'{{"base64": "{TEXT}"}} {{}}',
        f'{{"base64": "{TEXT}", "b": ' + "[" * 900 + "]" * 900 + "}",
    ],
    ids=range(9),
)  # fmt: skip
async def test_a_large_body_that_is_no_object_is_refused(raw: str) -> None:
    with pytest.raises((MalformedBody, BodyTooLarge)):
        await decoded(raw.encode())


async def test_a_mark_sent_by_a_client_is_only_text() -> None:
    raw = json.dumps({"base64": TEXT, "text": "lifted-0", "many": ["a"] * MAX_STRINGS})
    assert (await decoded(raw.encode()))["text"] == "lifted-0"


async def resolved(fields: dict[str, Any], kind: Any = "image") -> dict[str, Any]:
    return await resolve(fields, kind, Fetcher(FetchLimits()))


async def test_media_is_resolved_at_any_depth_and_text_is_whole_again() -> None:
    text = (await decoded(json.dumps({"base64": TEXT}).encode()))["base64"]
    fields = {
        "media": {"where": "url", "base64": TEXT},
        "text": text,
        "messages": [{"content": [{"type": "image", "media": {"where": "messages[0].content[0]", "base64": text}}]}],
    }
    assert needs_resolving(fields)
    read = await resolved(fields)
    assert read["text"] == TEXT
    assert type(read["text"]) is str
    for media in (read["media"], read["messages"][0]["content"][0]["media"]):
        assert bytes(media["data"].data) == FILE
        assert set(media) == {"where", "data"}


async def test_a_block_of_another_kind_is_refused_by_its_place() -> None:
    block = {"type": "audio", "media": {"where": "messages[0].content[1]", "base64": TEXT}}
    with pytest.raises(InvalidRequest, match=r"^messages\[0\]\.content\[1\]: got a PNG file; accepted: audio"):
        await resolved({"messages": [{"content": [block]}]}, None)


async def test_too_much_media_is_refused() -> None:
    blocks = [{"type": "image", "media": {"where": "x", "base64": TEXT}} for _ in range(65)]
    with pytest.raises(InvalidRequest, match="65 pieces of media"):
        await resolved({"messages": blocks})


async def test_media_that_came_beside_what_is_refused_is_let_go() -> None:
    here, missing = {"where": "a", "base64": TEXT}, {"where": "b"}
    with pytest.raises(InvalidRequest, match=r"^b: missing"):
        await resolved({"messages": [{"media": here}, {"media": missing}]})
    assert "base64" not in here, "it was not read"
    assert "data" not in here


# --- frames ---


def test_a_blob_arrives_as_the_bytes_it_is() -> None:
    whole = b"".join(encode_pieces(Request(7, {"a": Blob(FILE), "b": ["x", Blob(bytearray(b"yz"))]}, {"n": 1})))
    assert int.from_bytes(whole[:4], "big") == len(whole) - 4
    assert decode(whole[4:]) == Request(7, {"a": FILE, "b": ["x", b"yz"]}, {"n": 1})


def test_a_frame_without_blobs_is_encoded_as_ever() -> None:
    frame = Request(7, {"text": "a"}, {})
    assert encode_pieces(frame) == [encode(frame)]
    for body in ({"a": object()}, {"a": 2**70}):
        with pytest.raises(Unsendable):
            encode_pieces(Request(1, body, {}))
    with pytest.raises(BrokenStream):
        decode(b"\xc1")
