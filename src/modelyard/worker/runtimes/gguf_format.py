"""How a GGUF model's conversations become its prompt: by the chat template of its header, rendered as those of other
models are and within the same limits, never by llama.cpp's own renderer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from modelyard.records.gguf import GgufHeader, ReadAt, Texts, read_gguf_file, read_texts, reading
from modelyard.tasks.shared.thinking import find_thinking_format
from modelyard.worker.runtimes.chat_templates import limit_template

TOKENS = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
"""A variable of templates → the word in the header's key for its token's id."""


class ChatFormat:
    """Stands where other runtimes have a tokenizer: `chat_template` (None: there is none), the special tokens' texts by
    their names, and `apply_chat_template`. llama.cpp has the tokenizer itself."""

    def __init__(
        self, template: str | None, tokens: Mapping[str, str], marks: Mapping[str, int], *, adds_bos: bool
    ) -> None:
        """`adds_bos`: llama.cpp puts the start token before every prompt. `marks`: the ids of tokens by which the model
        marks what it thinks."""
        self.chat_template = template
        self.bos_token = tokens.get("bos_token")
        self.marks = marks
        self._tokens = tokens
        self._adds_bos = adds_bos
        limit_template(self)

    def apply_chat_template(
        self, messages: Sequence[dict[str, Any]], *, tokenize: bool, add_generation_prompt: bool = False, **more: Any
    ) -> str:
        """The prompt. `tokenize`: always False. Raises whatever the template does."""
        (prompt,), _ = render_jinja_template(
            conversations=[list(messages)],
            chat_template=self.chat_template,
            add_generation_prompt=add_generation_prompt,
            **self._tokens,
            **more,
        )
        text = str(prompt)
        return text.removeprefix(self.bos_token) if self._adds_bos and self.bos_token else text


def read_format(file: Path) -> tuple[GgufHeader, ChatFormat]:
    """The header of a GGUF file, and its format of conversations. Raises CorruptGguf, OSError."""
    with file.open("rb") as opened:
        header = read_gguf_file(opened)
        values, vocabulary = header.values, header.values.get("tokenizer.ggml.tokens")
        ids = {name: values.get(f"tokenizer.ggml.{word}_token_id") for name, word in TOKENS.items()}
        wanted = {name: token for name, token in ids.items() if isinstance(token, int)}
        texts = read_texts(*reading(opened), vocabulary, set(wanted.values())) if isinstance(vocabulary, Texts) else {}
        template = values.get("tokenizer.chat_template")
        template = template if isinstance(template, str) else None
        marks = find_marks(template, vocabulary, *reading(opened))
    tokens = {name: texts[token] for name, token in wanted.items() if token in texts}
    # Where the header does not say, llama.cpp adds it for the vocabularies of SentencePiece.
    adds_bos = bool(values.get("tokenizer.ggml.add_bos_token", values.get("tokenizer.ggml.model") == "llama"))
    return header, ChatFormat(template, tokens, marks, adds_bos=adds_bos)


def find_marks(template: str | None, vocabulary: Any, read_at: ReadAt, file_bytes: int) -> dict[str, int]:
    """The ids of the tokens by which a model with this template marks what it thinks. Raises CorruptGguf."""
    thinking = None if template is None else find_thinking_format(template)
    if thinking is None or not isinstance(vocabulary, Texts):
        return {}
    texts = read_texts(read_at, file_bytes, vocabulary, range(vocabulary.count))
    return {text: token for token, text in texts.items() if text in thinking.tokens}
