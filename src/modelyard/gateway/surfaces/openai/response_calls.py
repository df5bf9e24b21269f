"""`/v1/responses/{id}`: a response that was stored, what it was asked with, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from modelyard.gateway.kept_responses import KeptResponses
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.openai.base import OpenAIError
from modelyard.gateway.shapes.openai.responses import DeletedResponse, InputItems, ResponseAnswer
from modelyard.gateway.surfaces.openai.inference import FAILURES, ROOTS
from modelyard.http.exchange import JSON
from modelyard.records.accounts import Key


class ResponseCalls:
    """Handlers over what is kept."""

    def __init__(self, kept: KeptResponses) -> None:
        self._kept = kept

    def operations(self) -> Iterator[Operation]:
        """Retrieve, list what it was asked with, delete, at either of the paths."""
        common: dict[str, Any] = {"tag": "openai", "error": OpenAIError, "failures": FAILURES}
        for root in ROOTS:
            path = root + "/responses/{response_id}"
            yield Operation(
                path=f"{path}/input_items",
                summary="List what a stored response was asked with",
                handler=self.list_items,
                answer=InputItems,
                **common,
            )
            yield Operation(
                path=path, summary="Show a stored response", handler=self.retrieve, answer=ResponseAnswer, **common
            )
            yield Operation(
                methods=("DELETE",),
                path=path,
                summary="Delete a stored response; those that went on from it stay",
                handler=self.remove,
                answer=DeletedResponse,
                **common,
            )

    async def retrieve(self, request: Request, key: Key) -> Response:
        """One of the account's own. Raises UnknownResponse."""
        kept = await self._kept.get(key.account_id, request.path_params["response_id"])
        return Response(bytes(kept.response), media_type=JSON)

    async def list_items(self, request: Request, key: Key) -> InputItems:
        """What one was asked with. Raises UnknownResponse."""
        items = (await self._kept.get(key.account_id, request.path_params["response_id"])).items
        first, last = (items[0].get("id"), items[-1].get("id")) if items else (None, None)
        return InputItems(data=items, first_id=first, last_id=last)

    async def remove(self, request: Request, key: Key) -> DeletedResponse:
        """Deletes one of the account's own. Raises UnknownResponse."""
        response_id = request.path_params["response_id"]
        await self._kept.remove(key.account_id, response_id)
        return DeletedResponse(id=response_id)
