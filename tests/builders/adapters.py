"""Adapters of PEFT for tests: weights from a fixed seed, saved as people publish them; and what PEFT makes of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as library

CAUSAL = library.AutoModelForCausalLM
BASE_ID = "tests/base"


def peft_config(kind: str, **settings: Any) -> Any:
    """Of an adapter of one of PEFT's kinds. Importing PEFT takes a second: who makes no adapter does without."""
    import peft

    return getattr(peft, kind)(**settings)


def make_adapter(
    base: Path,
    folder: Path,
    config: Any,
    *,
    kind: Any = CAUSAL,
    base_id: str = BASE_ID,
    seed: int = 0,
    before: Callable[[Any], None] = lambda model: None,
    scale: float = 0.3,
    **settings: Any,
) -> Path:
    """Saves an adapter for the model in `base`, loaded as `kind` with `settings`. `before`: what is done to the base
    first, as those who train do."""
    import torch.distributed.tensor  # which PEFT looks into, without importing it
    from peft import get_peft_model

    model = kind.from_pretrained(base, dtype=torch.float32, **settings)
    before(model)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted.save_pretrained(folder, save_embedding_layers="auto")
    change_config(folder, base_model_name_or_path=base_id)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    """Writes other values into the adapter's config."""
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def merged(
    base: Path, folder: Path, *, kind: Any = CAUSAL, words: int | None = None, merges: bool = True, **settings: Any
) -> Any:
    """The base with the adapter in its weights, by PEFT alone. `words`: as many embeddings the base is given first.
    `merges` False: beside the weights, for what PEFT cannot merge."""
    from peft import PeftModel

    model = kind.from_pretrained(base, dtype=torch.float32, **settings)
    if words is not None:
        model.resize_token_embeddings(words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = PeftModel.from_pretrained(model, folder)
        return (adapted.merge_and_unload() if merges else adapted).eval()


def greedy(model: Any, tokenizer: Any, text: str, new_tokens: int = 12) -> list[int]:
    """The ids that the library makes after the text."""
    inputs = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=new_tokens, pad_token_id=0)
    return ids[0, inputs["input_ids"].shape[1] :].tolist()
