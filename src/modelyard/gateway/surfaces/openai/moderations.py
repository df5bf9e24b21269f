"""`POST /v1/moderations`: the labels of a model that classifies texts, as categories that a text may be flagged for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.openai.moderations import ModerationBody, ModerationResult, Moderations
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import encode, refuse_task, timing
from modelyard.gateway.surfaces.openai.base import OpenAISurface
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome
from modelyard.tasks.base import Task

TASKS = ("text-classification",)
PREFIX = "modr-"
HARMLESS = frozenset({
    "acceptable", "benign", "clean", "harmless", "neutral", "non-hate", "non-toxic", "none", "normal", "not-hate",
    "not-offensive", "not-toxic", "nothate", "ok", "safe", "sfw",
})  # fmt: skip
"""What models of moderation call texts in which they find nothing, in lower case, with hyphens."""


class Asked(msgspec.Struct, frozen=True):
    """A request as it is answered."""

    body: ModerationBody
    extras: Mapping[str, Any]


class ModerationCalls(OpenAISurface):
    """See the module."""

    names: ClassVar[Mapping[str, str]] = {"text": "input"}

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The texts."""
        body, extras = await self.read_json(http, ModerationBody)
        return UnifiedBody(body.model, timing(body.timeout), Asked(body, extras), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface. All labels are wanted, whatever their scores."""
        if task.id not in TASKS:
            raise refuse_task(task, TASKS[0])
        asked: Asked = read.asked
        if "top_k" in asked.extras:
            raise InvalidRequest(field="top_k", got=asked.extras["top_k"], accepted="nothing: all labels are told")
        return {"text": texts_of(asked.body), "params": dict(asked.extras)}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """What was found in each."""
        body: ModerationBody = request.asked.body
        found = [{label["label"]: label["score"] for label in labels} for labels in outcome.output]
        if not isinstance(body.input, str) and not all(isinstance(each, str) for each in body.input):
            found = [highest_of(found)]
        harmless = HARMLESS if body.harmless is None else {plain(name) for name in body.harmless}
        results = [judge(scores, body.threshold, harmless) for scores in found]
        name = PREFIX + request.id.removeprefix("req_")
        return Payload(encode(Moderations(id=name, model=body.model, results=results)))


def texts_of(body: ModerationBody) -> list[str]:
    """The texts, each by itself."""
    if isinstance(body.input, str):
        return [body.input]
    return [each if isinstance(each, str) else each.text for each in body.input]


def highest_of(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The highest score of each label: what several parts of one input have together."""
    return {label: max(scores[label] for scores in found) for label in found[0]}


def plain(label: str) -> str:
    """A label as it is compared."""
    return label.strip().lower().replace("_", "-").replace(" ", "-")


def judge(scores: Mapping[str, float], threshold: float, harmless: Any) -> ModerationResult:
    """What the scores of a text say."""
    categories = {label: score >= threshold for label, score in scores.items()}
    return ModerationResult(
        flagged=any(is_of and plain(label) not in harmless for label, is_of in categories.items()),
        categories=categories,
        category_scores=scores,
        category_applied_input_types={label: ["text"] for label in scores},
    )
