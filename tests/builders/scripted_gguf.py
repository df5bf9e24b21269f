"""A scripted model as a GGUF file, as llama.cpp's own converter would make it. Source: convert_hf_to_gguf.py of
llama.cpp, LlamaModel."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file


def write_scripted(folder: Path, file: Path) -> Path:
    """Writes the Llama in `folder`, see `build_scripted`, to `file`. Its layers add nothing, whatever order the rows of
    their matrices are in."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    add_vocabulary(writer, folder)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        target = names.get_name(name, try_suffixes=(".weight",))
        assert target is not None, name
        writer.add_tensor(target, tensor.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def add_vocabulary(writer: gguf.GGUFWriter, folder: Path) -> None:
    """Its tokens and their kinds, and its template."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    kinds = dict.fromkeys(tokenizer["model"]["vocab"].values(), gguf.TokenType.NORMAL)
    tokens = {id: token for token, id in tokenizer["model"]["vocab"].items()}
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    order = sorted(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([tokens[id] for id in order])
    writer.add_token_types([kinds[id] for id in order])
    merges = [each if isinstance(each, str) else " ".join(each) for each in tokenizer["model"]["merges"]]
    writer.add_token_merges(merges or [f"{tokens[order[-1]][0]} {tokens[order[-1]][0]}"])
    end = json.loads((folder / "tokenizer_config.json").read_text())["eos_token"]
    writer.add_eos_token_id(next(id for id, token in tokens.items() if token == end))
    writer.add_add_bos_token(False)
    writer.add_chat_template(template_of(folder))


def template_of(folder: Path) -> str:
    """Its chat template, wherever the library has put it."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text()
    return str(json.loads((folder / "tokenizer_config.json").read_text())["chat_template"])
