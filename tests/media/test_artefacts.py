from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import NotFound, StoreUnavailable
from modelyard.media.artefacts import NAME, PIECE_BYTES, Artefacts
from tests.clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def artefacts(tmp_path: Path, clock: HandClock) -> Artefacts:
    kept = Artefacts(tmp_path / "artefacts", 60, clock)
    kept.open()
    return kept


def test_a_kept_file_is_found_by_its_name_until_it_expires(artefacts: Artefacts, clock: HandClock):
    name = artefacts.keep(b"data", "audio/wav")
    assert artefacts.get(name).path.read_bytes() == b"data"
    assert artefacts.get(name).media_type == "audio/wav"
    assert artefacts.get(name).left_s == 60
    clock.advance(59)
    assert artefacts.get(name).left_s == 1
    clock.advance(1)
    with pytest.raises(NotFound):
        artefacts.get(name)


def test_a_file_that_cannot_be_written_is_said_so_and_leaves_nothing(artefacts: Artefacts, tmp_path: Path):
    (tmp_path / "artefacts").rmdir()
    (tmp_path / "artefacts").symlink_to("/dev/full")
    with pytest.raises(StoreUnavailable, match="cannot be written") as refused:
        artefacts.keep(b"data", "audio/wav")
    assert refused.value.data["cause"] == "disk"


def test_names_differ_and_say_the_type(artefacts: Artefacts):
    names = {artefacts.keep(b"", kind) for kind in ("image/png", "video/mp4", "image/x-new") for _ in range(50)}
    assert len(names) == 150
    assert {name[-4:] for name in names} == {".png", ".mp4", ".bin"}
    assert all(NAME.fullmatch(name) for name in names)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a" * 32 + ".wav", "\0", "x" * 5000, "é.wav"])
def test_other_names_lead_nowhere(artefacts: Artefacts, name: str):
    with pytest.raises(NotFound):
        artefacts.get(name)


def test_sweeping_removes_what_has_expired_and_nothing_else(artefacts: Artefacts, clock: HandClock):
    old = artefacts.keep(b"old", "image/png")
    clock.advance(40)
    new = artefacts.keep(b"new", "image/png")
    assert artefacts.sweep() == 0
    clock.advance(30)
    assert artefacts.sweep() == 1
    assert artefacts.get(new).path.read_bytes() == b"new"
    with pytest.raises(NotFound):
        artefacts.get(old)


def test_a_copy_is_found_when_it_is_whole_and_what_broke_off_is_removed(artefacts: Artefacts, tmp_path: Path):
    name = artefacts.keep(b"x" * PIECE_BYTES + b"end", "image/png")
    first, rest = artefacts.read_piece(name, 0), artefacts.read_piece(name, PIECE_BYTES)
    assert (len(first.data), rest.data, rest.size_bytes) == (PIECE_BYTES, b"end", PIECE_BYTES + 3)
    other = f"{'a' * 32}.png"
    with artefacts.copying(other) as copy:
        copy.add(first.data)
        with pytest.raises(NotFound):
            artefacts.get(other)
    assert [each.name for each in (tmp_path / "artefacts").iterdir()] == [name]
    with artefacts.copying(other) as copy:
        copy.add(rest.data)
        copy.finish(first.made_at)
    assert artefacts.get(other).path.read_bytes() == b"end"
    assert artefacts.get(other).left_s == artefacts.get(name).left_s
