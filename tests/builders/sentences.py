"""Families in the folders of sentence-transformers and of model2vec: models that weigh words, tables of vectors, layers
after a model.

Not called from a shell: `tests.builders.registry` reaches them through `FAMILIES`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.builders import tokenizers
from tests.builders.families import bert_encoder, bert_masked_lm, write_json

WIDTH = 12
"""Of a table's vectors."""


def list_modules(folder: Path, *types: str, first: str = "") -> None:
    """Writes the list of a folder's modules. `first`: the folder of the first one; the others have their own."""
    kinds = [kind.rsplit(".", 1)[-1] for kind in types]
    paths = [first, *(f"{index}_{kind}" for index, kind in enumerate(kinds[1:], start=1))]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.{kind}"}
        for index, (path, kind) in enumerate(zip(paths, types, strict=True))
    ]
    write_json(folder / "modules.json", modules)


def splade(folder: Path) -> None:
    """BERT that weighs the words of its vocabulary, as SPLADE models are published."""
    bert_masked_lm(folder)
    list_modules(folder, "sparse_encoder.models.MLMTransformer", "sparse_encoder.models.SpladePooling")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    write_json(
        folder / "1_SpladePooling" / "config.json",
        {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": None},
    )
    write_json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder", "prompts": {}})


def splade_documents(folder: Path) -> None:
    """The same for documents alone, in a folder of its own: what queries weigh on a word is written down beside it."""
    document, pooling, query = "document_0_MLMTransformer", "document_1_SpladePooling", "query_0_SparseStaticEmbedding"
    splade(folder / document)
    for name in ("modules.json", "config_sentence_transformers.json"):
        (folder / document / name).unlink()
    (folder / document / "1_SpladePooling").rename(folder / pooling)
    list_modules(folder, "base.modules.router.Router")
    here = "sentence_transformers.sparse_encoder.modules"
    write_json(
        folder / "router_config.json",
        {
            "types": {
                document: "sentence_transformers.sparse_encoder.models.MLMTransformer",
                pooling: f"{here}.splade_pooling.SpladePooling",
                query: f"{here}.sparse_static_embedding.SparseStaticEmbedding",
            },
            "structure": {"query": [query], "document": [document, pooling]},
            "parameters": {"default_route": "document", "allow_empty_key": True, "route_mappings": {}},
        },
    )
    tokenizer = tokenizers.wordpiece()
    tokenizer.save_pretrained(folder / query)
    write_json(folder / query / "config.json", {"frozen": True})
    save_file({"weight": torch.rand(len(tokenizer))}, folder / query / "model.safetensors")
    write_json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder", "prompts": {}})


def save_table(folder: Path, tensors: dict[str, Any]) -> None:
    """Writes a table and its tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    tokenizers.wordpiece().backend_tokenizer.save(str(folder / "tokenizer.json"))


def static_vectors(folder: Path) -> None:
    """A table with a vector for each token in a folder of sentence-transformers, normalised."""
    rows = len(tokenizers.wordpiece())
    save_table(folder / "0_StaticEmbedding", {"embedding.weight": torch.randn(rows, WIDTH)})
    list_modules(folder, "models.StaticEmbedding", "models.Normalize", first="0_StaticEmbedding")


def model2vec(folder: Path) -> None:
    """A table of model2vec, in which tokens share vectors and do not count alike."""
    rows = len(tokenizers.wordpiece())
    save_table(
        folder,
        {
            "embeddings": torch.randn(rows // 2, WIDTH),
            "mapping": torch.randint(0, rows // 2, (rows,)),
            "weights": torch.rand(rows) + 0.5,
        },
    )
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, "hidden_dim": WIDTH}
    write_json(folder / "config.json", config)


def layered_sentences(folder: Path) -> None:
    """BERT whose layers are mixed, then the mean of its tokens, a layer norm, a dense layer beside which its input goes
    on, and a dropout, in a folder of sentence-transformers."""
    bert_encoder(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "output_hidden_states": True})
    kinds: Sequence[str] = ("Transformer", "WeightedLayerPooling", "Pooling", "LayerNorm", "Dense", "Dropout")
    list_modules(folder, *(f"models.{kind}" for kind in kinds))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    write_json(
        folder / "1_WeightedLayerPooling" / "config.json",
        {"word_embedding_dimension": 32, "layer_start": 1, "num_hidden_layers": 2},
    )
    save_file({"layer_weights": torch.tensor([0.5, 2.0])}, folder / "1_WeightedLayerPooling" / "model.safetensors")
    write_json(folder / "2_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode": "mean"})
    write_json(folder / "3_LayerNorm" / "config.json", {"dimension": 32})
    norm = {"norm.weight": torch.rand(32) + 0.5, "norm.bias": torch.randn(32)}
    save_file(norm, folder / "3_LayerNorm" / "model.safetensors")
    write_json(
        folder / "4_Dense" / "config.json",
        {
            "in_features": 32,
            "out_features": 8,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
            "use_residual": True,
        },
    )
    dense = {"linear.weight": torch.randn(8, 32), "linear.bias": torch.randn(8), "residual.weight": torch.randn(8, 32)}
    save_file(dense, folder / "4_Dense" / "model.safetensors")
    write_json(folder / "5_Dropout" / "config.json", {"dropout": 0.2})


FAMILIES: dict[str, Callable[[Path], None]] = {
    "splade": splade,
    "splade_documents": splade_documents,
    "static_vectors": static_vectors,
    "model2vec": model2vec,
    "layered_sentences": layered_sentences,
}
