"""Signing in to the console."""

from __future__ import annotations

from typing import Annotated

from modelyard.gateway.shapes.base import Shape, described, moment


class SessionBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose session begins."""

    key: Annotated[str | None, described("An API key.")] = None
    code: Annotated[
        str | None,
        described("In place of a key: what a command of the operator's gives a browser of its machine; good once."),
    ] = None


class Session(Shape, frozen=True, kw_only=True):
    """Who is signed in."""

    account: Annotated[str, described("The account's name.")]
    admin: Annotated[bool, described("Whether it may use the admin API.")]
    key_id: Annotated[str, described("The id of the key.")]
    key_name: Annotated[str, described("The key's name.")]
    expires: Annotated[str | None, moment("When one has to sign in again; null where a key was sent in a header.")]
