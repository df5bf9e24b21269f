"""What OpenAI's inferences share: their name, their errors, how a stream ends."""

from __future__ import annotations

from typing import ClassVar

from modelyard.gateway.shapes.base import ErrorBody
from modelyard.gateway.shapes.openai.base import OpenAIError
from modelyard.gateway.surfaces.foreign import ForeignSurface

DONE = b"data: [DONE]\n\n"


class OpenAISurface(ForeignSurface):
    """See the module."""

    name = "openai"
    error_shape: ClassVar[type[ErrorBody]] = OpenAIError
