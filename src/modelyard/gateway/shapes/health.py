"""What the server says of itself: one word to strangers, more to its operator."""

from __future__ import annotations

from typing import Annotated

from modelyard import __version__
from modelyard.control.plane import Overview
from modelyard.gateway.shapes.base import Shape, described


class Health(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What the server is doing. All but `status` is told to keys of the operator's account only."""

    status: Annotated[str, described("ok.")]
    version: Annotated[str | None, described("The server's version.")] = None
    warm: Annotated[bool | None, described("Whether boots are quick by now.")] = None
    under_way: Annotated[int | None, described("Inferences from admission to the end of their answer.")] = None
    in_flight: Annotated[int | None, described("Of them, those on an instance.")] = None
    queued: Annotated[int | None, described("Of them, those that wait for an instance.")] = None
    clusters: Annotated[int | None, described("Clusters of all accounts.")] = None


class State(Shape, frozen=True, kw_only=True):
    """One word on the server."""

    status: Annotated[str, described("ok, or ready.")]


def show_health(overview: Overview, under_way: int) -> Health:
    """What the server is doing."""
    return Health(
        status="ok",
        version=__version__,
        warm=overview.warm,
        under_way=under_way,
        in_flight=overview.in_flight,
        queued=overview.queued,
        clusters=overview.clusters,
    )
