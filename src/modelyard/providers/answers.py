"""From what the library answers, in the shapes of OpenAI's API, to outcomes in the unified format. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelyard.errors import InferenceFailed
from modelyard.protocol import FinishReason, Outcome, Thought, Usage
from modelyard.providers.asked import Asked
from modelyard.providers.requests import mirrors_blocks

Data = Mapping[str, Any]
REASONS = {"length": FinishReason.LENGTH, "max_tokens": FinishReason.LENGTH}
"""Why a text ended, where it is not because it was done."""


class Message:
    """One answer as it grows: its text, and the calls in it by their place."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.thoughts: list[str] = []
        self.calls: dict[int, dict[str, str]] = {}
        self.reason: str | None = None
        self.logprobs: list[dict[str, Any]] = []

    def add(self, choice: Data) -> Iterator[str]:
        """Adds an event's choice; the pieces in it."""
        delta = choice.get("delta") or {}
        for at, call in enumerate(delta.get("tool_calls") or ()):
            self._add_call(call, at)
        self.logprobs += (choice.get("logprobs") or {}).get("content") or ()
        self.reason = choice.get("finish_reason") or self.reason
        if thought := delta.get("reasoning_content"):
            self.thoughts.append(thought)
            yield Thought(thought)
        if text := delta.get("content"):
            self.text.append(text)
            yield text

    def _add_call(self, call: Data, at: int) -> None:
        place = call.get("index")
        known = self.calls.setdefault(at if place is None else place, {"id": "", "name": "", "arguments": ""})
        function = call.get("function") or {}
        known["id"] = call.get("id") or known["id"]
        known["name"] = function.get("name") or known["name"]
        known["arguments"] += function.get("arguments") or ""

    def whole(self) -> dict[str, Any]:
        """The same as a choice that came in one piece."""
        calls = [
            {"id": each["id"], "function": {"name": each["name"], "arguments": each["arguments"]}}
            for _, each in sorted(self.calls.items())
        ]
        return {
            "message": {
                "content": "".join(self.text),
                "reasoning_content": "".join(self.thoughts),
                "tool_calls": calls,
            },
            "finish_reason": self.reason,
            "logprobs": {"content": self.logprobs} if self.logprobs else None,
        }


def conversation_outcome(asked: Asked, choices: Sequence[Data], usage: Data | None, raw: Any) -> Outcome:
    """The assistant's message, or several where several were asked for. Raises InferenceFailed."""
    blocks = mirrors_blocks(asked.fields)
    shown = [show_message(choice.get("message") or {}, blocks=blocks) for choice in choices]
    several = (asked.params.get("num_return_sequences") or 1) > 1
    return Outcome(
        listed(shown, asked, several=several), usage_of(usage, choices), logprobs_of(choices, asked), raw=raw
    )


def text_outcome(asked: Asked, choices: Sequence[Data], usage: Data | None, raw: Any) -> Outcome:
    """The text as text-generation answers: one, or as many as were asked for of each prompt. Raises InferenceFailed."""
    given = asked.fields["text"]
    prompts = [given] if isinstance(given, str) else given
    each = asked.params.get("num_return_sequences") or 1
    if len(choices) < len(prompts) * each:
        raise InferenceFailed(f"{asked.provider} answered with {len(choices)} texts of {len(prompts) * each}.")
    shows = asked.params.get("return_full_text", True)
    texts = [
        [(prompt if shows else "") + (choice.get("text") or "") for choice in choices[at * each : (at + 1) * each]]
        for at, prompt in enumerate(prompts)
    ]
    rows = [row if each > 1 else row[0] for row in texts]
    return Outcome(rows[0] if isinstance(given, str) else rows, usage_of(usage, choices), raw=raw)


def vectors_outcome(asked: Asked, data: Sequence[Data], usage: Data | None, raw: Any) -> Outcome:
    """A vector, or one for each text. Raises InferenceFailed."""
    given = asked.fields["text"]
    count = 1 if isinstance(given, str) else len(given)
    vectors = [list(map(float, each["embedding"])) for each in sorted(data, key=lambda each: each.get("index") or 0)]
    if len(vectors) != count:
        raise InferenceFailed(f"{asked.provider} answered with {len(vectors)} vectors for {count} texts.")
    if asked.params.get("normalize"):
        vectors = [to_length_1(vector) for vector in vectors]
    return Outcome(vectors[0] if isinstance(given, str) else vectors, usage_of(usage, ()), raw=raw)


def transcript_outcome(asked: Asked, answer: Data, raw: Any) -> Outcome:
    """The text, with the times of its parts where they were asked for."""
    text = str(answer.get("text") or "")
    seconds = answer.get("duration") or (answer.get("usage") or {}).get("seconds")
    usage = usage_of(answer.get("usage"), (), sound_ms=round(float(seconds) * 1000) if seconds else None)
    wanted = asked.params.get("return_timestamps")
    if not wanted:
        return Outcome(text, usage, raw=raw)
    by_word = wanted == "word"
    parts = answer.get("words" if by_word else "segments") or ()
    chunks = [
        {"timestamp": [float(part["start"]), float(part["end"])], "text": part["word" if by_word else "text"]}
        for part in parts
    ]
    return Outcome({"text": text, "chunks": chunks}, usage, raw=raw)


def show_message(message: Data, *, blocks: bool) -> dict[str, Any]:
    """The assistant's message as chat answers with it."""
    text = message.get("content") or ""
    shown: dict[str, Any] = {"content": [{"text": text, "type": "text"}] if blocks else text, "role": "assistant"}
    if thought := message.get("reasoning_content"):
        shown["reasoning_content"] = thought
    if calls := message.get("tool_calls"):
        shown["tool_calls"] = [
            {
                "id": call.get("id") or f"call_{at}",
                "type": "function",
                "function": {"name": call["function"]["name"], "arguments": call["function"].get("arguments") or "{}"},
            }
            for at, call in enumerate(calls)
        ]
    return shown


def listed(shown: Sequence[Any], asked: Asked, *, several: bool) -> Any:
    """One answer, or all where several were asked for. Raises InferenceFailed where there is none."""
    if not shown:
        raise InferenceFailed(f"{asked.provider} answered with nothing.")
    return list(shown) if several else shown[0]


def usage_of(usage: Data | None, choices: Sequence[Data], *, sound_ms: int | None = None) -> Usage:
    """What the provider counted."""
    told = usage or {}
    read = told.get("prompt_tokens", told.get("input_tokens"))
    made = told.get("completion_tokens", told.get("output_tokens"))
    details = told.get("prompt_tokens_details") or {}
    made_of = told.get("completion_tokens_details") or {}
    reasons = [REASONS.get(choice.get("finish_reason") or "", FinishReason.STOP) for choice in choices]
    return Usage(
        prompt_tokens=count_of(read),
        new_tokens=count_of(made),
        finish_reason=reasons[0] if reasons else None,
        finish_reasons=reasons if len(reasons) > 1 else None,
        cached_tokens=count_of(details.get("cached_tokens")),
        reasoning_tokens=count_of(made_of.get("reasoning_tokens")) or None,
        sound_ms=sound_ms,
    )


def count_of(value: Any) -> int | None:
    """A count that a provider tells; None for what is none."""
    return value if isinstance(value, int) and value >= 0 else None


def logprobs_of(choices: Sequence[Data], asked: Asked) -> list[dict[str, Any]] | None:
    """How likely tokens were, in the form of OpenAI's; None: not asked for, or not told."""
    if not asked.params.get("logprobs"):
        return None
    several = len(choices) > 1
    return [
        {
            "token": token.get("token", ""),
            "logprob": token.get("logprob", 0.0),
            "bytes": token.get("bytes"),
            "top_logprobs": [
                {"token": each.get("token", ""), "logprob": each.get("logprob", 0.0), "bytes": each.get("bytes")}
                for each in token.get("top_logprobs") or ()
            ],
            **({"index": at} if several else {}),
        }
        for at, choice in enumerate(choices)
        for token in (choice.get("logprobs") or {}).get("content") or ()
    ]


def to_length_1(vector: Sequence[float]) -> list[float]:
    """A vector scaled; one of zeros stays."""
    length = math.sqrt(math.fsum(value * value for value in vector))
    return [value / length for value in vector] if length else list(vector)
