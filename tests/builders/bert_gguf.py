"""BERT models made into GGUF files, as llama.cpp's own converter would: for models of which no file is published as a
package. Source: convert_hf_to_gguf.py of llama.cpp, BertModel."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

CLASSIFIER = {"bert.pooler.dense": "cls", "pooler.dense": "cls", "classifier": "cls.output"}
"""The parts of a classifier that reads pairs, by llama.cpp's names."""


def write_bert(folder: Path, file: Path, pooling: gguf.PoolingType) -> Path:
    """Writes the BERT in `folder` to `file`, its matrices in 16 bits."""
    config = json.loads((folder / "config.json").read_text())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    writer = gguf.GGUFWriter(file, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    unused = [f"[unused{at}]" for at in range(len(tokens), config["vocab_size"])]
    add_vocabulary(writer, [*tokens, *unused])
    writer.add_token_type_count(config["type_vocab_size"])
    ranks = pooling is gguf.PoolingType.RANK
    if ranks:
        writer.add_classifier_output_labels(["LABEL_0"])
        writer.add_add_eos_token(True)  # [CLS] query [SEP] document [SEP]
        writer.add_add_sep_token(False)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        stem, _, part = name.rpartition(".")
        target = CLASSIFIER.get(stem) if stem in CLASSIFIER else names.get_name(stem.removeprefix("bert."))
        if target is None or part not in ("weight", "bias") or (stem in CLASSIFIER and not ranks):
            continue
        wide = tensor.ndim > 1 and "embeddings" not in name and stem not in CLASSIFIER
        writer.add_tensor(f"{target}.{part}", tensor.astype(np.float16 if wide else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def add_vocabulary(writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    """A WordPiece vocabulary: beginnings of words are marked, not their continuations."""
    special = [token.startswith("[") and token.endswith("]") for token in tokens]
    pieces = [
        token if own else token[2:] if token.startswith("##") else f"\u2581{token}"
        for token, own in zip(tokens, special, strict=True)
    ]
    kinds = [gguf.TokenType.CONTROL if own else gguf.TokenType.NORMAL for own in special]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_types(kinds)
    for token, add in (("[CLS]", writer.add_bos_token_id), ("[SEP]", writer.add_sep_token_id),
                       ("[UNK]", writer.add_unk_token_id), ("[PAD]", writer.add_pad_token_id)):  # fmt: skip
        add(tokens.index(token))
    writer.add_eos_token_id(tokens.index("[SEP]"))
