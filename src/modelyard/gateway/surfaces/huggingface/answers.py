"""From the outputs of tasks to what Hugging Face's clients read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from modelyard.gateway.shapes.huggingface import Generated, GeneratedDetails
from modelyard.protocol import FinishReason, Outcome, Usage
from modelyard.tasks.base import Task

REASONS = {FinishReason.STOP: "eos_token", FinishReason.CANCELLED: "eos_token"}
"""Why a text ended, in the words of text-generation-inference; whatever else it was, it was as long as it may be."""


def show(task: Task, output: Any) -> Any:
    """An output as the client of that task reads it; tasks without a shape of their own answer as in v2."""
    if task.pipeline_key is not None:
        return [{task.pipeline_key: text} for text in (output if isinstance(output, list) else [output])]
    match task.id:
        case "automatic-speech-recognition":
            return {"text": output} if isinstance(output, str) else output
        case "text-classification":
            return output if output and isinstance(output[0], list) else [output]
        case "zero-shot-classification":
            return [labelled(each) for each in output] if isinstance(output, list) else labelled(output)
        case "image-segmentation":
            return [{"label": each["label"], "score": each["score"], "mask": each["mask_png"]} for each in output]
    return output


def labelled(output: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Labels with their scores, each pair an object."""
    pairs = zip(output["labels"], output["scores"], strict=True)
    return [{"label": label, "score": score} for label, score in pairs]


def generated(outcome: Outcome, text: str, *, prompt: str, details: bool, seed: int | None) -> Generated:
    """A text that was made; `prompt`: what stands before it."""
    return Generated(generated_text=prompt + text, details=details_of(outcome, seed) if details else UNSET)


def details_of(outcome: Outcome, seed: int | None) -> GeneratedDetails:
    """How it was made."""
    usage = outcome.usage
    return GeneratedDetails(
        finish_reason=reason_of(usage),
        generated_tokens=usage.new_tokens or 0,
        input_length=usage.prompt_tokens or 0,
        seed=seed,
    )


def reason_of(usage: Usage) -> str:
    """Why a text ended."""
    if usage.stop_sequence is not None:
        return "stop_sequence"
    return REASONS.get(usage.finish_reason or FinishReason.STOP, "length")


def texts_of(output: Any) -> list[str]:
    """The texts in the output of a task that writes: one, or several that were drawn."""
    if isinstance(output, list):
        return [text for each in output for text in texts_of(each)]
    return [output] if isinstance(output, str) else [output["content"]]
