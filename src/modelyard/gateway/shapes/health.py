"""What the server says of itself, without a key."""

from __future__ import annotations

from typing import Annotated

from modelyard import __version__
from modelyard.control.plane import Overview
from modelyard.gateway.shapes.base import Shape, described


class Health(Shape, frozen=True, kw_only=True):
    """What the server is doing."""

    status: Annotated[str, described("ok.")] = "ok"
    version: Annotated[str, described("The server's version.")] = __version__
    warm: Annotated[bool, described("Whether boots are quick by now.")]
    under_way: Annotated[int, described("Inferences from admission to the end of their answer.")]
    in_flight: Annotated[int, described("Of them, those on an instance.")]
    queued: Annotated[int, described("Of them, those that wait for an instance.")]
    clusters: Annotated[int, described("Clusters of all accounts.")]


class State(Shape, frozen=True, kw_only=True):
    """One word on the server."""

    status: Annotated[str, described("ok, or ready.")]


def show_health(overview: Overview, under_way: int) -> Health:
    """What the server is doing."""
    return Health(
        warm=overview.warm,
        under_way=under_way,
        in_flight=overview.in_flight,
        queued=overview.queued,
        clusters=overview.clusters,
    )
