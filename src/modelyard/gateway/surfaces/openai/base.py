"""What OpenAI's inferences share: their name, their errors, how a stream ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from modelyard.gateway.shapes.base import ErrorBody
from modelyard.gateway.shapes.openai.base import OpenAIError
from modelyard.gateway.surfaces.foreign import ForeignSurface

DONE = b"data: [DONE]\n\n"


LISTS = ("models",)
"""Fields that are lists even where a form has one value of them."""


class OpenAISurface(ForeignSurface):
    """See the module."""

    name = "openai"
    error_shape: ClassVar[type[ErrorBody]] = OpenAIError


def fields_of_form(given: Mapping[str, Any]) -> dict[str, Any]:
    """A form's fields without the brackets that clients put behind the names of lists."""
    fields = {name.removesuffix("[]"): value for name, value in given.items()}
    lists = {name: [fields[name]] for name in LISTS if isinstance(fields.get(name), str)}
    return {**fields, **lists}
