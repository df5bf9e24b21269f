"""Answers of Google's API, built with its own types, and requests read by them. A program, as the package is in no
environment of ours: it reads a list of requests as JSON, and writes answers.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from google.genai import types

TEXTS = ("Hel", "lo")


def part(text: str) -> types.Content:
    return types.Content(role="model", parts=[types.Part(text=text)])


def counts(made: int) -> types.GenerateContentResponseUsageMetadata:
    return types.GenerateContentResponseUsageMetadata(
        prompt_token_count=7, candidates_token_count=made, total_token_count=7 + made
    )


def response(content: types.Content, made: int, *, ends: bool = True) -> dict[str, Any]:
    reason = types.FinishReason.STOP if ends else None
    candidate = types.Candidate(content=content, finish_reason=reason, index=0)
    told = types.GenerateContentResponse(candidates=[candidate], usage_metadata=counts(made), model_version="told")
    return dict(told.model_dump(mode="json", by_alias=True, exclude_none=True))


def answers() -> dict[str, Any]:
    call = types.FunctionCall(name="look_up", args={"city": "Paris"})
    calling = types.Content(role="model", parts=[types.Part(function_call=call)])
    return {
        "whole": response(part("".join(TEXTS)), 2),
        "events": [response(part(TEXTS[0]), 1, ends=False), response(part(TEXTS[1]), 2)],
        "calling": response(calling, 5),
    }


def check(request: dict[str, Any]) -> dict[str, Any]:
    """What the types read in a request."""
    contents = [types.Content.model_validate(each) for each in request["contents"]]
    settings = types.GenerationConfig.model_validate(request.get("generationConfig") or {})
    tools = [types.Tool.model_validate(each) for each in request.get("tools") or ()]
    parts = [each for content in contents for each in content.parts or ()]
    return {
        "texts": [each.text for each in parts if each.text],
        "media": [each.inline_data.mime_type for each in parts if each.inline_data],
        "max_output_tokens": settings.max_output_tokens,
        "top_k": settings.top_k,
        "functions": [each.name for tool in tools for each in tool.function_declarations or ()],
    }


if __name__ == "__main__":
    requests = json.load(sys.stdin)
    print(json.dumps({"answers": answers(), "requests": [check(each) for each in requests]}))
