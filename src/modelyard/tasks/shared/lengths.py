"""How much there is to read in a piece of media, before anything decodes it."""

from __future__ import annotations

from modelyard.media.media import Media


def media_size(media: Media) -> int:
    """Its bytes, or the characters of what stands for them."""
    return len(media.data or media.base64 or media.url or "")
