"""The bytes of a piece of media that came inside a request: base64, bare or as a data URL. Fetches nothing."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from modelyard.errors import InvalidRequest
from modelyard.media.media import Media

SLICE_CHARS = 128 * 1024
"""How much base64 is decoded at a time: about 0.1 ms, so that an event loop can look after others in between."""

MOST_HEAD = 512
"""Characters of a data URL before its base64."""
_HEAD = re.compile(rb"data:.*?;base64\s*,", re.IGNORECASE | re.DOTALL)
"""There may be commas before: browsers write `data:video/webm;codecs=vp8,opus;base64,` of what they have recorded."""
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def content(media: Media) -> bytes:
    """The media's bytes. Raises InvalidRequest when it is a URL that nobody has fetched, or not base64."""
    if media.data is not None:
        return media.data
    if media.base64 is not None:
        return decode_base64(media.base64, media.where)
    raise InvalidRequest(
        f"{media.where}: this worker does not fetch URLs; send the file's bytes as base64", field=media.where
    )


def decode_base64(text: str | bytes | memoryview, where: str) -> bytes:
    """The bytes that base64, bare or in a data URL, stands for. Raises InvalidRequest naming `where`."""
    return b"".join(decode_slices(text, where))


def decode_slices(text: str | bytes | memoryview, where: str) -> Iterator[bytes]:
    """`decode_base64`, slice by slice. Line breaks, missing padding and the URL-safe alphabet are all right."""
    raw = memoryview(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    position = payload_start(raw, where)
    left = b""
    while position < len(raw):
        piece = bytes(raw[position : position + SLICE_CHARS])
        position += SLICE_CHARS
        # JSON may write / as \/; MIME breaks lines; forms turn + into a space.
        piece = left + piece.translate(_URL_SAFE, b"\\\r\n\t ")
        whole = len(piece) - len(piece) % 4 if position < len(raw) else len(piece)
        piece, left = piece[:whole], piece[whole:]
        if position < len(raw) and piece.endswith(b"="):
            raise not_base64(where, raw)
        yield decode_slice(piece, where, raw)


def decode_slice(piece: bytes, where: str, raw: memoryview) -> bytes:
    """The bytes of one slice, padded where padding is missing. Raises InvalidRequest."""
    try:
        return binascii.a2b_base64(piece + b"=" * (-len(piece) % 4), strict_mode=True) if piece else b""
    except binascii.Error as error:
        raise not_base64(where, raw) from error


def payload_start(raw: memoryview, where: str) -> int:
    """Where the base64 begins: after the head of a data URL. Raises InvalidRequest."""
    head = bytes(raw[:MOST_HEAD])
    if head[:5].lower() != b"data:":
        return 0
    if (found := _HEAD.match(head)) is None:
        raise InvalidRequest(
            field=where,
            got=head[:60].decode("utf-8", "replace"),
            accepted="a data URL of the form data:TYPE;base64,...",
        )
    return found.end()


def not_base64(where: str, raw: memoryview) -> InvalidRequest:
    """The error for text that is no base64."""
    return InvalidRequest(
        field=where, got=bytes(raw[:40]).decode("utf-8", "replace"), accepted="an http(s) URL, a data URL, or base64"
    )
