"""A model that writes one given text, whatever it is asked: weights that lead from each token to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken

from tests.builders import tokenizers
from tests.builders.families import save

START, REPLY, END = "<|assistant|>", "<|reply|>", "<|end|>"
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}{{ call['function']['arguments']['city'] }}{% endfor %}<|end|>"
    "{% endfor %}{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
)
"""A conversation, and the functions offered."""
ANY_RESULT = "messages | selectattr('role', 'equalto', 'tool') | list"


OPENS = (
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
)
"""Behind the template of a model that thinks, unless it is told not to: the thinking, begun or ended."""


def build_scripted(
    folder: Path,
    pieces: Sequence[str],
    special: Sequence[str] = (),
    mark: str = "",
    then: Sequence[str] = (),
    *,
    opens: bool = False,
) -> Path:
    """A Llama that answers everything by `pieces`, each a token of its own, no two alike. `special`: those that are
    special tokens. `mark`: what its template has in a comment, as templates have their model's marks somewhere. `then`:
    more pieces, by which it answers conversations in which a function has answered. `opens`: its template begins the
    thinking that `pieces` go on with.

    Each token's embedding is drawn at random; the layers add nothing; the head of a token is its forerunner's
    embedding, so that it is the likeliest behind it.
    """
    names = {"eos_token": END, "pad_token": "<pad>"}
    tokenizer = tokenizers.byte_level(["<pad>", END, "<|system|>", "<|user|>", "<|tool|>", START, REPLY], **names)
    tokens = [AddedToken(piece, special=piece in special, normalized=False) for piece in (*pieces, *then)]
    tokenizer.add_tokens([token for token in tokens if not token.special])
    tokenizer.add_tokens([token for token in tokens if token.special], special_tokens=True)
    start = "{% if " + ANY_RESULT + " %}" + REPLY + "{% else %}" + START + "{% endif %}" if then else START
    start += OPENS if opens else ""
    tokenizer.chat_template = ("{# " + mark + " #}" if mark else "") + TEMPLATE + start
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16384,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = transformers.LlamaForCausalLM(config)
    (*_, last) = tokenizer("<think>\n" if opens else START, add_special_tokens=False)["input_ids"]
    scripts = [[last, *tokenizer.convert_tokens_to_ids([*pieces, END])]]
    scripts.append(tokenizer.convert_tokens_to_ids([REPLY, *then, END]))
    write_scripts(model.model, model.lm_head, scripts)
    save(folder, tokenizer, model)
    return folder


def write_scripts(body: Any, head: Any, scripts: Sequence[Sequence[int]]) -> None:
    """Leads from each token of a script to the next one. `body`: a Llama; `head`: what is behind it."""
    with torch.no_grad():
        body.embed_tokens.weight.normal_(generator=torch.Generator().manual_seed(0))
        for layer in body.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        head.weight.zero_()
        for before, token in (pair for ids in scripts for pair in pairwise(ids)):
            head.weight[token] += body.embed_tokens.weight[before]
