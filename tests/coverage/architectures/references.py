"""The library called directly, task by task, in the shape of our answer, and when two answers are the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from modelyard.tasks.registry import TASKS

TEXT = "Once upon a time there was a small house by the river."
QUESTION, CONTEXT = "Where does Angela live?", "Angela lives in Paris and works for the United Nations."
NEW_TOKENS = 8
TOLERANCE = 1e-3
"""Of numbers, relative to the larger of 1 and the number itself; texts and labels are equal or not."""
BODIES: dict[str, dict[str, Any]] = {
    "feature-extraction": {"text": TEXT},
    "fill-mask": {"text": TEXT},
    "text-classification": {"text": TEXT},
    "token-classification": {"text": TEXT, "params": {"aggregation_strategy": "none", "ignore_labels": []}},
    "question-answering": {"question": QUESTION, "context": CONTEXT},
    "text-generation": {"text": TEXT, "params": {"max_new_tokens": NEW_TOKENS, "do_sample": False}},
    "text2text-generation": {"text": TEXT, "params": {"max_new_tokens": NEW_TOKENS, "do_sample": False}},
}
"""Task → what it is asked."""
SAME = {"summarization": "text2text-generation", "translation": "text2text-generation"}
"""Tasks that are asked as another."""


def find_task(head: str, model: Any) -> str | None:
    """The task that a model under `head` is asked, None where none reads what it reads."""
    if head == "base":
        reads = inputs_of(model)
        return "feature-extraction" if "input_ids" in reads else None
    return next((task.id for task in TASKS if head in task.heads and task.id in ANSWERS), None)


def inputs_of(model: Any) -> tuple[str, ...]:
    """The names of what its forward pass takes."""
    return tuple(inspect.signature(model.forward).parameters)


def answer(task: str, kind: Any, folder: Path) -> Any:
    """The library's answer by the class `kind`."""
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return ANSWERS[task](model, folder)


def _tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def _accepted(model: Any, encoded: Any) -> dict[str, Any]:
    names = inputs_of(model)
    return {name: value for name, value in encoded.items() if name in names or "kwargs" in names}


def _embedding(model: Any, folder: Path) -> Any:
    encoded = _tokenizer(folder)(TEXT, return_tensors="pt")
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    output = model(**_accepted(model, encoded))
    states = output.last_hidden_state if "last_hidden_state" in output else output[0]
    return states[0].mean(dim=0).tolist()


def _pipeline(task: str, model: Any, folder: Path, **options: Any) -> Any:
    return transformers.pipeline(task, model=model, tokenizer=_tokenizer(folder), **options)


def _labels(model: Any, folder: Path) -> Any:
    return _pipeline("text-classification", model, folder, top_k=None)([TEXT])[0]


def _fillings(model: Any, folder: Path) -> Any:
    tokenizer = _tokenizer(folder)
    return _pipeline("fill-mask", model, folder)(TEXT.replace("small", tokenizer.mask_token))


def _tokens(model: Any, folder: Path) -> Any:
    found = _pipeline("token-classification", model, folder, ignore_labels=[])(TEXT)
    return [{name: row[name] for name in ("entity", "score", "index", "word", "start", "end")} for row in found]


def _span(model: Any, folder: Path) -> Any:
    """The likeliest span of at most 15 tokens, over every pair of ends."""
    tokenizer = _tokenizer(folder)
    encoded = tokenizer(QUESTION, CONTEXT, return_tensors="pt")
    output = model(**_accepted(model, encoded))
    kept = [place for place, part in enumerate(encoded.sequence_ids(0)) if part == 1]
    ids = encoded["input_ids"][0].tolist()
    allowed = sorted({*kept, *([ids.index(tokenizer.cls_token_id)] if tokenizer.cls_token_id in ids else [])})
    starts, ends = (
        dict(zip(allowed, logits[0][allowed].softmax(-1).tolist(), strict=True))
        for logits in (output.start_logits, output.end_logits)
    )
    spans = [(starts[one] * ends[other], one, other) for one in kept for other in kept if one <= other < one + 15]
    return {"score": max(spans)[0]}


def _continuation(model: Any, folder: Path) -> Any:
    tokenizer = _tokenizer(folder)
    encoded = tokenizer(TEXT, return_tensors="pt")
    made = model.generate(**_generated_from(encoded), max_new_tokens=NEW_TOKENS, do_sample=False)[0]
    return tokenizer.decode(made[encoded["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def _rewritten(model: Any, folder: Path) -> Any:
    tokenizer = _tokenizer(folder)
    encoded = _generated_from(tokenizer(TEXT, return_tensors="pt"))
    made = model.generate(**encoded, max_new_tokens=NEW_TOKENS, do_sample=False)[0]
    return tokenizer.decode(made, skip_special_tokens=True).strip()


def _generated_from(encoded: Any) -> dict[str, Any]:
    """What generation reads of an encoded text: segments are no part of it."""
    return {name: value for name, value in encoded.items() if name in ("input_ids", "attention_mask")}


def comparable(task: str, output: Any) -> Any:
    """Our answer without what the library's direct answer has not: the prompt in front, space around a text."""
    if task == "text-generation":
        return output.removeprefix(TEXT).strip()
    return output.strip() if isinstance(output, str) else output


ANSWERS: dict[str, Callable[[Any, Path], Any]] = {
    "feature-extraction": _embedding,
    "fill-mask": _fillings,
    "text-classification": _labels,
    "token-classification": _tokens,
    "question-answering": _span,
    "text-generation": _continuation,
    "text2text-generation": _rewritten,
}


def find_difference(ours: Any, theirs: Any, where: str = "") -> str:
    """Where two answers differ first; empty when they are the same. Ours may have more fields than asked for."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        pairs = [(ours.get(name), value, f"{where}.{name}") for name, value in theirs.items()]
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(ours) != len(theirs):
            return f"{where or 'the answer'} has {len(ours)} items, the library's {len(theirs)}"
        pairs = [(one, other, f"{where}[{place}]") for place, (one, other) in enumerate(zip(ours, theirs, strict=True))]
    elif isinstance(theirs, float) and isinstance(ours, int | float):
        same = abs(ours - theirs) <= TOLERANCE * max(1.0, abs(theirs)) or (ours != ours and theirs != theirs)
        return "" if same else f"{where or 'the answer'} is {ours:.6g}, the library's {theirs:.6g}"
    else:
        return "" if ours == theirs else f"{where or 'the answer'} is {ours!r:.60}, the library's {theirs!r:.60}"
    return next((found for one, other, place in pairs if (found := find_difference(one, other, place))), "")
