"""Pages of the admin API's lists: a mark for each entry says where the next page begins, whatever was removed since."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from modelyard.gateway.endpoint import json_response
from modelyard.gateway.listing import Page, next_link
from modelyard.gateway.shapes.admin import Listed, PagedQuery

E = TypeVar("E")
S = TypeVar("S")


def answer_page(
    request: Request, query: PagedQuery, entries: Iterable[E], mark: Callable[[E], str], show: Callable[[E], S]
) -> Response:
    """The entries of one page, in the order of their marks, which no two share."""
    marked = [(mark(each), each) for each in entries]
    marked = sorted((each for each in marked if query.after is None or each[0] > query.after), key=lambda each: each[0])
    shown = marked[: query.limit]
    following = shown[-1][0] if len(marked) > query.limit else None
    body: Listed[S] = Listed(output=[show(each) for _, each in shown], next=UNSET if following is None else following)
    response = json_response(200, body)
    response.headers.update(next_link(request, Page((), following)))
    return response
