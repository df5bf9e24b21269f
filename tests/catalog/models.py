"""Tiny models as files: what `save_pretrained` would write, made without the libraries that write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

Files = dict[str, bytes]


def weights(parameters: int = 1000, dtype: str = "float32") -> bytes:
    """A safetensors file of that many values."""
    rows = np.arange(parameters, dtype=dtype)
    return save({"a.weight": rows[: parameters // 2], "b.weight": rows[parameters // 2 :]}, {"format": "pt"})


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def model(
    architecture: str = "GPT2LMHeadModel",
    model_type: str = "gpt2",
    *,
    parameters: int = 1000,
    config: Mapping[str, Any] | None = None,
    tokenizer: Mapping[str, Any] | None = None,
    readme: str | None = None,
    **more: bytes,
) -> Files:
    """A transformers model. `more`: further files, "__" in a name standing for "."."""
    files = {
        "config.json": text({"architectures": [architecture], "model_type": model_type, **(config or {})}),
        "model.safetensors": weights(parameters),
        "tokenizer_config.json": text(dict(tokenizer or {})),
        "tokenizer.json": text({"version": "1.0"}),
    }
    if readme is not None:
        files["README.md"] = readme.encode()
    return files | {name.replace("__", "."): content for name, content in more.items()}


def sharded(shards: int = 3) -> Files:
    """A causal model with its weights in several files."""
    files = {name: content for name, content in model().items() if name != "model.safetensors"}
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    for name in names:
        files[name] = save({f"{name}.weight": np.ones(10, "float32")})
    weight_map = {f"{name}.weight": name for name in names}
    files["model.safetensors.index.json"] = text({"metadata": {}, "weight_map": weight_map})
    return files


def diffusers(pipeline: str = "StableDiffusionPipeline", **settings: Any) -> Files:
    """A pipeline of two parts with weights, one without. `settings`: more of its index."""
    return {
        "model_index.json": text(
            {
                "_class_name": pipeline,
                "_diffusers_version": "0.42.1",
                "unet": ["diffusers", "UNet2DConditionModel"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
                "scheduler": ["diffusers", "PNDMScheduler"],
                "safety_checker": [None, None],
                **settings,
            }
        ),
        "unet/config.json": text({}),
        "unet/diffusion_pytorch_model.safetensors": weights(300),
        "text_encoder/config.json": text({}),
        "text_encoder/model.safetensors": weights(200),
        "tokenizer/vocab.json": text({}),
        "tokenizer/merges.txt": b"",
        "scheduler/scheduler_config.json": text({}),
    }


def sentence_transformer() -> Files:
    """A sentence-transformers model: an encoder, pooling, a dense layer."""
    return {
        **model("BertModel", "bert", parameters=100, tokenizer={"model_max_length": 512}),
        "modules.json": text(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
            ]
        ),
        "sentence_bert_config.json": text({"max_seq_length": 256}),
        "1_Pooling/config.json": text({}),
        "2_Dense/config.json": text({}),
        "2_Dense/model.safetensors": weights(50),
    }


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Puts the files into the folder, made if need be."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


COMMIT = "c" * 40
"""Of what `write_cached` writes."""


def write_cached(cache: Path, model_id: str, size_bytes: int, name: str = "weights") -> None:
    """Puts a file of a model into a cache as every tool of the hub does."""
    folder = cache / f"models--{model_id.replace('/', '--')}"
    for each in (folder / "blobs", folder / "snapshots" / COMMIT, folder / "refs"):
        each.mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / name).write_bytes(b"x" * size_bytes)
    (folder / "refs/main").write_text(COMMIT)
    link = folder / "snapshots" / COMMIT / name
    if not link.is_symlink():
        link.symlink_to(f"../../blobs/{name}")
