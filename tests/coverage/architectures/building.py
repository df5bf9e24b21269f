"""A tiny model of any class as a folder: config, random weights of a fixed seed, tokenizer, processor."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, model_type_to_module_name

from tests.builders.multimodal import legible
from tests.coverage.architectures.configs import SIZES, VOCABULARY, small_config
from tests.coverage.architectures.processors import (
    find_processor_class,
    marks_of,
    save_processor,
    small_image_part,
    small_processor,
    small_sound_part,
    small_video_part,
)
from tests.coverage.architectures.references import HEARD, picture
from tests.coverage.architectures.words import SPECIALS, small_tokenizer
from tests.coverage.cases import Case

MOST_PARAMETERS = 60_000_000
"""Of one model. A quarter of a gigabyte."""
SPELLING = ("ctc", "rnnt", "tdt")
"""Heads of models that read a sound alone, and write."""
LABELS = {0: "red", 1: "green", 2: "blue"}
TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {% if message.content is string %}{{ message.content }}"
    "{% else %}{% for block in message.content %}{% if block.type == 'text' %}{{ block.text }}"
    "{% elif block.type == 'image' %}IMAGE{% elif block.type == 'audio' %}SOUND{% endif %}{% endfor %}{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
_MARKED = re.compile(r"(\w+?)_token_(?:id|index)")
_TOKENS = ("bos", "eos", "pad", "cls", "sep", "unk", "mask")


def build(case: Case, folder: Path, level: str) -> Any:
    """Writes the model of `case` into `folder`, as small as `level` says, and returns it.

    Raises what the library raises.
    """
    kind = find_class(case.family, case.name)
    reads = inspect.signature(kind.forward).parameters
    seen = case.family in SIZES["colours_as_tokens"]
    writes = case.head in SPELLING or (not seen and any(name.endswith(("input_ids", "task_inputs")) for name in reads))
    tokenizer = marked_tokenizer(case.family) if writes else None
    if case.head == "masked-lm" and tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": "<mask>"})
    config = small_config(case.family, kind, level, **token_fields(tokenizer), **head_fields(case.head))
    parts = parts_of(case.family, config, reads, tokenizer)
    processor = processor_of(case.family, config, parts)
    if case.head in SPELLING:
        tokenizer.chat_template = None  # nobody talks to such a model
    set_marks(config, processor, tokenizer)
    refuse_large(kind, config)
    torch.manual_seed(0)
    model = spread(kind(config).eval())
    if case.family in SIZES["generation"] and model.can_generate():
        for field, mark in SIZES["generation"][case.family].items():
            setattr(model.generation_config, field, tokenizer.convert_tokens_to_ids(mark))
        legible(model, tokenizer)
    if processor is not None and (length := image_length(model, parts.get("image_processor"))):
        processor = small_processor(case.family, config, parts, length)
    model.save_pretrained(folder)
    save_processor(processor, parts, folder)
    return model


def marked_tokenizer(family: str) -> Any:
    """The family's tokenizer, with the special tokens that its processor writes into texts."""
    kind = find_processor_class(family)
    tokenizer = small_tokenizer(family)
    tokenizer.model_max_length = 4096
    if kind is not None:
        marks, named = marks_of(kind)
        marks += SIZES["generation"].get(family, {}).values()
        named = {name: mark for name, mark in named.items() if getattr(tokenizer, name, None) is None}
        tokenizer.add_special_tokens({"extra_special_tokens": list(dict.fromkeys([*marks, *named.values()]))})
        tokenizer._set_model_specific_special_tokens(special_tokens=named)
    return tokenizer


def parts_of(family: str, config: Any, reads: Collection[str], tokenizer: Any) -> dict[str, Any]:
    """What turns inputs into a model's arguments, by the names that processors have for it."""
    parts: dict[str, Any] = {} if tokenizer is None else {"tokenizer": tokenizer}
    parts["video_processor"] = small_video_part(family, reads, config)
    sees = any(name.startswith(("pixel_values", "flattened_patches")) for name in reads)
    if parts["video_processor"] is None and (sees or family in SIZES["colours_as_tokens"]):
        parts["image_processor"] = small_image_part(family, config)
    if any(name.endswith(HEARD) for name in reads):
        kind = find_processor_class(family)
        takes = inspect.signature(kind.__init__).parameters if kind is not None else ()
        name = "audio_processor" if "audio_processor" in takes else "feature_extractor"
        parts[name] = small_sound_part(family, config, banded=any(each.endswith(HEARD[0]) for each in reads))
    return {name: part for name, part in parts.items() if part is not None}


def processor_of(family: str, config: Any, parts: dict[str, Any]) -> Any | None:
    """The whole processor, where the family has one and its model reads more than one kind of input."""
    if len(parts) < 2 or find_processor_class(family) is None:
        return None
    processor = small_processor(family, config, parts)
    parts["tokenizer"].chat_template = template_of(processor, parts["tokenizer"], config)
    return processor


def image_length(model: Any, image_part: Any) -> int | None:
    """How many states a model makes of an image, or of each piece that an image is cut into; None where it has no one
    number for that."""
    if image_part is None or not hasattr(model, "get_image_features"):
        return None
    try:
        pixels = image_part(picture(), return_tensors="pt")
        takes = inspect.signature(model.get_image_features).parameters
        with torch.inference_mode():
            found = model.get_image_features(**{name: value for name, value in pixels.items() if name in takes})
        states = found if isinstance(found, torch.Tensor) else found.pooler_output
        made = sum(each.numel() // each.shape[-1] for each in states)
        pieces = pixels["pixel_values"].shape[:-3].numel()
    except Exception:  # it wants what no processor of ours tells it: then its config says enough
        return None
    return made // pieces if made % pieces == 0 else None


def template_of(processor: Any, tokenizer: Any, config: Any) -> str:
    """A template that puts the processor's own marks where media belong."""
    image, sound = (mark_of(name, processor, tokenizer) or "" for name in ("image", "audio"))
    image = getattr(processor, "image_placeholder_token", image)
    named = SIZES["marks"].get(config.model_type)
    image = image if named is None else "".join(mark_of(name, processor, tokenizer) or "" for name in named)
    if hasattr(config, "vision_start_token_id"):
        marks = [mark_of(name, processor, tokenizer) for name in ("vision_start", "vision_end")]
        image = f"{marks[0] or ''}{image}{marks[1] or ''}"
    return TEMPLATE.replace("IMAGE", image).replace("SOUND", sound)


def mark_of(name: str, *owners: Any) -> str | None:
    """The special token that stands for `name`: what one of the owners calls so, else the first that has the word."""
    for owner in owners:
        found = getattr(owner, f"{name}_token", None)
        if found is not None:
            return str(found)
    words = name.split("_")
    marks = next((marks for owner in owners if (marks := getattr(owner, "extra_special_tokens", None))), [])
    return next((str(mark) for mark in marks if all(word in str(mark).lower() for word in words)), None)


def set_marks(config: Any, processor: Any, tokenizer: Any) -> None:
    """Writes into a config and its parts which tokens stand for what is not text."""
    if tokenizer is None or processor is None:
        return
    for each in (config, *(value for value in vars(config).values() if isinstance(value, PreTrainedConfig))):
        for field in vars(each):
            found = _MARKED.fullmatch(field)
            if found is None or found[1] in _TOKENS:
                continue
            if written := SIZES["tokens"].get(config.model_type, {}).get(field):
                setattr(each, field, tokenizer.convert_tokens_to_ids(written))
                continue
            mark, own = mark_of(found[1], tokenizer, processor), getattr(processor, f"{found[1]}_token_id", None)
            if isinstance(own, int) and own >= len(SPECIALS) and not hasattr(tokenizer, f"{found[1]}_token"):
                setattr(each, field, own)
            elif mark is not None:
                setattr(each, field, tokenizer.convert_tokens_to_ids(mark))


def refuse_large(kind: Any, config: Any) -> None:
    """Raises ValueError for a model that is not tiny."""
    with torch.device("meta"):
        parameters = sum(each.numel() for each in kind(config).parameters())
    if parameters > MOST_PARAMETERS:
        raise ValueError(f"{parameters:,} parameters, which is more than {MOST_PARAMETERS:,}")


def find_class(family: str, name: str) -> Any:
    """The class called `name` of the models of type `family`."""
    module = importlib.import_module(f"transformers.models.{model_type_to_module_name(family)}")
    found = getattr(module, name, None)
    if found is None:
        models = CONFIG_MAPPING[family].__module__.replace(".configuration_", ".modeling_")
        found = getattr(transformers, name, None) or getattr(importlib.import_module(models), name)
    return found


def token_fields(tokenizer: Any) -> dict[str, Any]:
    """What a config says of its tokenizer."""
    if tokenizer is None:
        return {}
    known = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id", None) for name in _TOKENS}
    for name, other in (("bos", "cls"), ("eos", "sep")):
        if known[f"{name}_token_id"] is None:
            known[f"{name}_token_id"] = known[f"{other}_token_id"]
    is_whole = (
        not tokenizer.is_fast and len(tokenizer) <= VOCABULARY
    )  # those written in Python have no text for other ids
    languages = getattr(tokenizer, "lang_code_to_id", None) or {}
    ids = max(len(tokenizer), 1 + max(languages.values(), default=0))  # M2M100's come after what it counts
    vocabulary = ids if is_whole else max(VOCABULARY, ids)
    start = known["bos_token_id"] if known["bos_token_id"] is not None else known["pad_token_id"]
    fields = {name: value for name, value in known.items() if value is not None}
    return {**fields, "vocab_size": vocabulary, "decoder_start_token_id": start}


def head_fields(head: str) -> dict[str, Any]:
    """Three labels, for heads that have some; reads both ways, for one that fills what is left out."""
    if head == "masked-lm":
        return {"is_decoder": False}
    if "classification" not in head and "detection" not in head and "segmentation" not in head:
        return {}
    return {"id2label": LABELS, "label2id": {label: number for number, label in LABELS.items()}}


def spread(model: Any) -> Any:
    """The model with larger random weights: fresh ones are so small that every input gets nearly the same answer."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0.0, module.in_features**-0.5)
            elif isinstance(module, torch.nn.Embedding):
                module.weight.normal_(0.0, 0.2)
    return model
