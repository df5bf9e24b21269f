"""Cards: an inspection under a model's name, with the operator's consent and the measured memory applied. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from modelyard.catalog.architectures import known_task
from modelyard.catalog.found import Found
from modelyard.catalog.memory import estimate_model_bytes, plan_bf16_bytes, plan_context
from modelyard.config import ASK, CONTEXT_TOKENS, OFF, ON
from modelyard.errors import InvalidRequest
from modelyard.records.models import Inspection, Measurement, ModelCard
from modelyard.records.precision import BF16

UNKNOWN_TASK = "unknown"
"""The task of a card whose files do not tell it; such a card always carries a refusal."""

NO_PICKLES = "has its weights only as pickle files, which this server reads of no model"
"""Said where the setting `pickles` is off."""

NOT_IN_BF16 = ("text-to-speech", "text-to-audio")
"""Tasks whose models are loaded otherwise than by the transformers runtime."""


def check_task(task_id: str | None) -> None:
    """Whether models may be listed by that task, or by none. Raises InvalidRequest, which names all tasks."""
    if task_id not in (None, UNKNOWN_TASK) and known_task(task_id) is None:
        from modelyard.tasks.registry import TASKS

        tasks = ", ".join(sorted(task.id for task in TASKS))
        raise InvalidRequest(field="task", got=task_id, accepted=f"one of {tasks}")


def make_card(
    found: Found,
    allow_unsafe: Collection[str] = (),
    context_tokens: int = CONTEXT_TOKENS,
    bf16: Collection[str] = (),
    pickles: str = ASK,
) -> ModelCard:
    """The card of one model. Its memory is an estimate until someone has measured it. `context_tokens`: the longest
    context of models for which memory is set aside. `bf16`: ids of models that are to have weights of 16 bits.
    `pickles`: as the setting says."""
    inspection = found.inspection
    if pickles == OFF and inspection.pickle_only and inspection.problem is None:
        inspection = replace(inspection, problem=NO_PICKLES)
    if inspection.keeps_context:
        inspection = replace(inspection, max_length=plan_context(inspection.max_length, context_tokens))
    if found.model_id in bf16 and may_have_bf16(inspection):
        inspection = replace(inspection, precision=BF16, loaded_bytes=plan_bf16_bytes(inspection))
    return ModelCard(
        model_id=found.model_id,
        task=inspection.task or UNKNOWN_TASK,
        source=found.source,
        memory_bytes=estimate_model_bytes(inspection),
        inspection=inspection,
        path=found.path,
        revision=found.revision,
        refusal=find_refusal(found.model_id, inspection, allow_unsafe, pickles),
    )


def may_have_bf16(inspection: Inspection) -> bool:
    """Whether it is of the kind whose weights may have 16 bits."""
    plain = inspection.quantisation is None and inspection.adapter is None
    return inspection.runtime == "transformers" and plain and inspection.task not in NOT_IN_BF16


def apply_measurement(card: ModelCard, measurement: Measurement | None) -> ModelCard:
    """The card with its measured memory; as it is, when there is none or it was made with other weights."""
    if measurement is None or not measurement.holds_for(card.inspection.weight_bytes, card.inspection.precision):
        return card
    return replace(
        card,
        memory_bytes=measurement.memory_bytes,
        device_bytes=measurement.device_bytes,
        measured=True,
        max_batch=measurement.max_batch,
    )


def find_refusal(
    model_id: str, inspection: Inspection, allow_unsafe: Collection[str], pickles: str = ASK
) -> str | None:
    """One sentence that says what was found; None when the model may be served."""
    if inspection.problem:
        return f"{model_id} {inspection.problem}."
    if model_id in allow_unsafe:
        return None
    found = []
    if inspection.pickle_only and pickles != ON:
        found.append("has its weights only as pickle files, which can run any code when they are opened")
    if inspection.remote_code:
        found.append("needs Python code from its own repository to load")
    return f"{model_id} {' and '.join(found)}." if found else None
