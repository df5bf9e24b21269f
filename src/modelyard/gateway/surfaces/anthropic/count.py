"""`POST /v1/messages/count_tokens`: a conversation in, its length out."""

from __future__ import annotations

from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.anthropic.answers import CountedTokens
from modelyard.gateway.shapes.anthropic.messages import CountBody
from modelyard.gateway.surfaces.anthropic.base import AnthropicSurface
from modelyard.gateway.surfaces.base import Payload
from modelyard.gateway.surfaces.foreign import encode
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome


class CountTokens(AnthropicSurface):
    """The length of a conversation, as the model itself tells it: one token is made, and thrown away."""

    shape = CountBody

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The count."""
        return Payload(encode(CountedTokens(input_tokens=outcome.usage.prompt_tokens or 0)))
