"""Functions told to a model whose chat template knows none, in words of ours. Pure.

Only where the answer is held to the form of a call: nothing else makes such a model write one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

WORDS = 'Answer by calling one of these functions. Write JSON, {"name": ..., "arguments": {...}}, and nothing else.'


def tell_tools(messages: Sequence[dict[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation with the functions behind what the user has said last: many templates have no place for a
    system's message. Contents are texts, or all of them blocks."""
    last = max((at for at, each in enumerate(messages) if each["role"] == "user"), default=len(messages) - 1)
    functions = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
    words, content = "\n".join(["", "", WORDS, *functions]), messages[last]["content"]
    told = [*content, {"type": "text", "text": words}] if isinstance(content, list) else f"{content}{words}"
    return [{**each, "content": told} if at == last else each for at, each in enumerate(messages)]
