from __future__ import annotations

import base64

import pytest

from modelyard.errors import InvalidRequest
from modelyard.media.content import SLICE_CHARS, content, decode_base64
from modelyard.media.media import Media

DATA = bytes(range(256)) * 5


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100, SLICE_CHARS - 1, SLICE_CHARS, SLICE_CHARS + 1, 3 * SLICE_CHARS + 2])
def test_base64_of_any_length_is_decoded(size: int):
    data = (DATA * (size // len(DATA) + 1))[:size]
    text = base64.b64encode(data).decode()
    assert decode_base64(text, "x") == data
    assert decode_base64(text.rstrip("="), "x") == data
    assert decode_base64(f"data:image/png;charset=x;base64,{text}", "x") == data
    assert decode_base64(f"data:video/webm;codecs=vp8,opus;base64,{text}", "x") == data
    assert decode_base64(base64.urlsafe_b64encode(data), "x") == data
    assert decode_base64(memoryview(base64.encodebytes(data)), "x") == data
    assert decode_base64(text.replace("/", "\\/"), "x") == data


@pytest.mark.parametrize("text", ["A", "AAA=A", "====", "AA=A", "A" * SLICE_CHARS + "=A", "é" * 9, "a b*c", "data:x,y"])
def test_what_is_no_base64_is_refused_by_name(text: str):
    with pytest.raises(InvalidRequest, match=r"^audio_url: got"):
        decode_base64(text, "audio_url")


def test_a_url_that_nobody_fetched_is_refused():
    assert content(Media(where="url", data=b"x")) == b"x"
    assert content(Media(where="url", base64="eA==")) == b"x"
    with pytest.raises(InvalidRequest, match="does not fetch URLs"):
        content(Media(where="url", url="http://a/b"))
