"""Models that are a base with an adapter of PEFT: loading both, and putting the adapter into the base's weights.

Owns what is checked of an adapter's weights before they are used. What comes out is a model like any other.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig

from modelyard.errors import ModelRefused
from modelyard.records.adapters import WEIGHTS_FILE, base_name_of, count_labels, count_words
from modelyard.tasks.base import Head
from modelyard.worker.runtimes.device import choose_device
from modelyard.worker.runtimes.failures import last_line, loading_errors
from modelyard.worker.runtimes.heads import choose_class, refuse_missing_weights
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.processors import has_processor, has_tokenizer, load_parts
from modelyard.worker.runtimes.transformers import (
    TransformersModel,
    ensure_pad_token,
    find_model_folder,
    load_weights,
)

NAME = "served"
"""What the library is told to call the adapter, which has the model to itself."""

_COPIES = (".modules_to_save.", ".original_module.")

Shapes = Mapping[str, Sequence[int]]
"""The adapter's weights by name."""


def load_adapted_model(
    path: Path,
    base: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
) -> TransformersModel:
    """The model in the folder `base` with the adapter in the folder `path` in its weights, under the first of `heads`
    that fits it. Tokenizer, chat template and processor are the adapter's own where it has them.

    Raises: ModelRefused when the adapter does not fit the base, or either cannot be served; BootFailed.
    """
    where = choose_device(device)
    files = find_model_folder(base)
    with loading_errors(path, str(where)), quiet_library(), quiet_peft():
        shapes = read_shapes(path)
        config = AutoConfig.from_pretrained(files, local_files_only=True, trust_remote_code=remote_code)
        set_label_count(config, count_labels(shapes))
        head, kind = choose_class(config, heads, remote_code=remote_code)
        tokenizer, processor = load_parts(find_parts(path, files), head, config, remote_code=remote_code)
        model, missing = load_weights(kind, files, config, where, remote_code=remote_code)
        refuse_missing_weights(head, [name for name in missing if name not in set(map(base_name_of, shapes))])
        fit_vocabulary(model, tokenizer, count_words(shapes), path)
        model = merge(model, path, shapes)
    if head == "base" and tokenizer is not None and config.is_encoder_decoder:
        model = model.get_encoder()
    if tokenizer is not None:
        ensure_pad_token(tokenizer, model)
    untrained = frozenset({"pooler_output"}) if any("pooler" in name for name in missing) else frozenset()
    home = path if (path / "modules.json").exists() else base
    return TransformersModel(home, model.eval().to(where), tokenizer, processor, untrained)


def read_shapes(path: Path) -> Shapes:
    """The shapes of the adapter's weights, from their file's header."""
    with safe_open(path / WEIGHTS_FILE, framework="pt") as weights:
        return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 - no mapping


def find_parts(path: Path, base: Path) -> Path:
    """The folder whose tokenizer and processor are used."""
    return path if has_tokenizer(path) and (has_processor(path) or not has_processor(base)) else base


def set_label_count(config: Any, count: int | None) -> None:
    """Gives the model as many labels as the adapter was trained for, where the base has others."""
    if count is not None and count != config.num_labels:
        config.num_labels = count


def fit_vocabulary(model: Any, tokenizer: Any, words: int | None, path: Path) -> None:
    """Gives the base as many embeddings as the adapter was trained with. Raises ModelRefused when its tokenizer knows
    tokens for which nobody has an embedding."""
    embeddings = model.get_input_embeddings()
    there = getattr(embeddings, "num_embeddings", None)
    if there is None:
        return
    if words is not None and words != there:
        model.resize_token_embeddings(words, mean_resizing=False)
        there = words
    if tokenizer is not None and len(tokenizer) > there:
        raise ModelRefused(
            f"{path.name}'s tokenizer has {len(tokenizer):,} tokens, its base has embeddings for {there:,}, and the "
            "adapter brings none. Save it with save_embedding_layers=True.",
            path=str(path),
        )


def merge(model: Any, path: Path, shapes: Shapes) -> Any:
    """The model with the adapter in its own weights. Raises ModelRefused when it does not fit, and what the library
    raises."""
    import torch.distributed.tensor  # noqa: F401 - peft looks into it without importing it
    from peft import MODEL_TYPE_TO_PEFT_MODEL_MAPPING, PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(str(path))
    config.inference_mode = True
    refuse_rank(config, shapes, path)
    kind = MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(config.task_type, PeftModel)
    adapted = kind(model, config, adapter_name=NAME, low_cpu_mem_usage=True)
    try:
        loaded = adapted.load_adapter(path, NAME, torch_device="cpu", low_cpu_mem_usage=True)
    except RuntimeError as error:
        raise ModelRefused(f"{path.name} was made for another model: {last_line(error)}", path=str(path)) from error
    refuse_misfits(loaded.missing_keys, loaded.unexpected_keys, path)
    give_biases(adapted)
    return adapted.merge_and_unload(safe_merge=True)


def refuse_rank(config: Any, shapes: Shapes, path: Path) -> None:
    """Raises ModelRefused for a rank that is larger than any of the weights: room for it would be taken first."""
    ranks = [getattr(config, "r", 0), *(getattr(config, "rank_pattern", None) or {}).values()]
    widest = max((size for shape in shapes.values() for size in shape), default=0)
    wrong = next((rank for rank in ranks if not isinstance(rank, int) or not 0 <= rank <= widest), None)
    if wrong is not None:
        raise ModelRefused(
            f"{path.name} says that its rank is {wrong}, and none of its weights is wider than {widest:,}.",
            path=str(path),
        )


def give_biases(adapted: Any) -> None:
    """Gives layers without a bias one of zeros where the adapter has one to add: the library merges it no other way."""
    for layer in adapted.modules():
        if getattr(layer, "lora_bias", {}).get(NAME) and (base := layer.get_base_layer()).bias is None:
            base.bias = torch.nn.Parameter(base.weight.new_zeros(layer.lora_B[NAME].bias.shape), requires_grad=False)


def refuse_misfits(missing: Sequence[str], unexpected: Sequence[str], path: Path) -> None:
    """Raises ModelRefused for weights that have no place in the base, and for places that got none: the library leaves
    them out, which is another model. Layers that it trains whole it saves a second time at times, under names of its
    own that it does not read."""
    if unexpected := [name for name in unexpected if not any(each in name for each in _COPIES)]:
        raise ModelRefused(
            f"{path.name} was made for another model: its base has no place for {name_some(unexpected)}.",
            path=str(path),
        )
    if missing:
        raise ModelRefused(f"{path.name} is not complete: it has no weights for {name_some(missing)}.", path=str(path))


def name_some(names: Sequence[str]) -> str:
    """The first of some weights, and how many more there are."""
    first = base_name_of(sorted(names)[0])
    return f"{first} and {len(names) - 1} more" if len(names) > 1 else first


@contextmanager
def quiet_peft() -> Iterator[None]:
    """The library's notes to those who train are none of a server's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
