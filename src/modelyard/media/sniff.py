"""What a file is, told by its first bytes, never by its name or by what a client calls it.

Owns the formats this server reads and which of them hold an image, sound or video. Decodes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.errors import InvalidRequest
from modelyard.media.media import Kind

Buffer = bytes | bytearray | memoryview

HEAD_BYTES = 4096
"""How much of a file is looked at."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format. `kinds`: what can be read from it; sound can also be read from a video container."""

    name: str
    media_type: str
    kinds: frozenset[Kind]


IMAGE: frozenset[Kind] = frozenset({"image"})
AUDIO: frozenset[Kind] = frozenset({"audio"})
VIDEO: frozenset[Kind] = frozenset({"audio", "video"})

PNG = Format("PNG", "image/png", IMAGE)
JPEG = Format("JPEG", "image/jpeg", IMAGE)
WEBP = Format("WebP", "image/webp", IMAGE)
GIF = Format("GIF", "image/gif", frozenset({"image", "video"}))
BMP = Format("BMP", "image/bmp", IMAGE)
TIFF = Format("TIFF", "image/tiff", IMAGE)
WAV = Format("WAV", "audio/wav", AUDIO)
FLAC = Format("FLAC", "audio/flac", AUDIO)
OGG = Format("OGG", "audio/ogg", AUDIO)
MP3 = Format("MP3", "audio/mpeg", AUDIO)
M4A = Format("M4A", "audio/mp4", AUDIO)
MP4 = Format("MP4", "video/mp4", VIDEO)
WEBM = Format("WebM", "video/webm", VIDEO)

FORMATS = (PNG, JPEG, WEBP, GIF, BMP, TIFF, WAV, FLAC, OGG, MP3, M4A, MP4, WEBM)

SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"fLaC", FLAC),
    (b"OggS", OGG),
    (b"ID3", MP3),
    (b"\x1a\x45\xdf\xa3", WEBM),
)
"""First bytes → format, where the first bytes say it all."""

FOREIGN = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<?xml", "XML"),
    (b"{", "JSON"),
)
"""First bytes of what people send by mistake, and how to call it."""

M4A_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P "})


def sniff(data: Buffer) -> Format | None:
    """The format of a file that begins with `data`, None when it is none of FORMATS."""
    head = bytes(data[:HEAD_BYTES])
    for signature, found in SIGNATURES:
        if head.startswith(signature):
            return found
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] in (b"WAVE", b"WEBP"):
        return WAV if head[8:12] == b"WAVE" else WEBP
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"):
        return M4A if head[8:12] in M4A_BRANDS else MP4
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return BMP
    return MP3 if is_mpeg_audio(head) else None


def is_mpeg_audio(head: bytes) -> bool:
    """Whether `head` begins with a valid header of an MPEG audio layer III frame. Source: ISO 11172-3, 2.4.1.3."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return False
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and bitrate not in (0, 15) and rate != 3


def check(data: Buffer, kind: Kind, where: str) -> Format:
    """The format of `data`, which must hold a `kind`. Raises InvalidRequest naming `where` and what was found."""
    found = sniff(data)
    if found is None or kind not in found.kinds:
        what = describe_foreign(data) if found is None else f"{article(found.name)} {found.name} file"
        raise InvalidRequest(
            f"{where}: got {what}; accepted: {accepted(kind)}", field=where, got=what, accepted=accepted(kind)
        )
    return found


def accepted(kind: Kind) -> str:
    """The formats that hold a `kind`, as a sentence fragment."""
    return f"{kind} as {', '.join(each.name for each in FORMATS if kind in each.kinds)}"


def describe_foreign(data: Buffer) -> str:
    """What to call a file of no known format."""
    if not data:
        return "an empty file (0 bytes)"
    head = bytes(data[:HEAD_BYTES]).lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = head.lower()
    if b"<svg" in lower:
        return "an SVG drawing"
    if b"<html" in lower or lower.startswith(b"<!doctype html"):
        return "an HTML page"
    if bytes(data[4:8]) == b"ftyp":
        return "a HEIC or AVIF image"
    for signature, name in FOREIGN:
        if head.startswith(signature):
            return name
    start = bytes(data[:8])
    return f"{len(data)} bytes of no known format, starting with {start.hex(' ')}"


def article(name: str) -> str:
    """The indefinite article of a format's name as it is read aloud."""
    return "an" if name[0] in "FM" and name.isupper() else "a"
