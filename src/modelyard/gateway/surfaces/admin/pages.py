"""Pages of the admin API's lists: a mark for each entry says where the next page begins, whatever was removed since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    found, following = find_page(query, entries, mark)
    return answer_found(request, [show(each) for each in found], following)


def find_page(query: PagedQuery, entries: Iterable[E], mark: Callable[[E], str]) -> tuple[Sequence[E], str | None]:
    """The entries of one page, and what the next one is asked for with; None: there is no more."""
    marked = [(mark(each), each) for each in entries]
    marked = sorted((each for each in marked if query.after is None or each[0] > query.after), key=lambda each: each[0])
    found = marked[: query.limit]
    return [each for _, each in found], found[-1][0] if len(marked) > query.limit else None


def answer_found(request: Request, shown: Sequence[S], following: str | None) -> Response:
    """The same as an answer, once its entries are in their shapes."""
    body: Listed[S] = Listed(output=shown, next=UNSET if following is None else following)
    response = json_response(200, body)
    response.headers.update(next_link(request, Page((), following)))
    return response
