"""How a translation model is told its languages: by a prefix in the text, by language tokens, or not at all.

T5 has a prefix per pair; Marian with several targets a ">>code<<" mark; mBART, M2M and NLLB a source token in the
input and a target token that the answer is made to begin with; FSMT has one pair, which its tokenizer names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Model
from modelyard.tasks.shared.rewriting import find_prefix


@dataclass(frozen=True, slots=True)
class Direction:
    """What makes a model translate one way: words before the text, the source code, the answer's first token."""

    prefix: str = ""
    source: str | None = None
    first_token: int | None = None


def find_direction(model: Model, source: str | None, target: str | None) -> Direction:
    """How to translate from `source` to `target` with this model. Raises InvalidRequest naming the param."""
    if hasattr(model.tokenizer, "src_lang") and language_codes(model.tokenizer):
        return by_tokens(model.tokenizer, source, target)
    pairs = [name for name in model.config.get("task_specific_params") or {} if name.startswith("translation_")]
    if pairs:
        return by_prefix(model, pairs, source, target)
    mark = f">>{target}<<"
    if target is not None and source is None and mark in model.tokenizer.get_vocab():
        return Direction(prefix=f"{mark} ")
    for name, code in (("src_lang", source), ("tgt_lang", target)):
        own = getattr(model.tokenizer, name, None)
        if code not in (None, own):
            accepted = "nothing: this model's languages are fixed" if own is None else f"{own}, this model's only one"
            raise InvalidRequest(field=f"params.{name}", got=code, accepted=accepted)
    return Direction()


def by_prefix(model: Model, pairs: list[str], source: str | None, target: str | None) -> Direction:
    """The prefix of the asked pair; of the model's first pair when none is asked for."""
    wanted = [
        pair
        for pair in pairs
        if (source is None or pair.startswith(f"translation_{source}_to_"))
        and (target is None or pair.endswith(f"_to_{target}"))
    ]
    if not wanted:
        name, code = ("src_lang", source) if target is None else ("tgt_lang", target)
        known = ", ".join(pair.removeprefix("translation_") for pair in pairs)
        raise InvalidRequest(field=f"params.{name}", got=code, accepted=f"a pair of {known}")
    return Direction(prefix=find_prefix(model, wanted[0]) or "")


def by_tokens(tokenizer: Any, source: str | None, target: str | None) -> Direction:
    """Language tokens, those of the tokenizer's own settings where none are asked for."""
    target = target or getattr(tokenizer, "tgt_lang", None)
    if target is None:
        raise InvalidRequest(
            "params.tgt_lang: missing; accepted: the code of the language to translate into, such as "
            + ", ".join(language_codes(tokenizer)[:5]),
            field="params.tgt_lang",
        )
    if source is not None:
        language_token(tokenizer, source, "src_lang")
    return Direction(source=source, first_token=language_token(tokenizer, target, "tgt_lang"))


def language_token(tokenizer: Any, code: str, name: str) -> int:
    """The id of a language's token. Raises InvalidRequest, with the nearest codes."""
    known = language_codes(tokenizer)
    if code not in known:
        kin = [other for other in known if other[:2] == code[:2]]
        near = kin[:5] or difflib.get_close_matches(code, known, n=5, cutoff=0.3) or known[:5]
        raise InvalidRequest(
            field=f"params.{name}", got=code, accepted=f"a code this model knows, such as {', '.join(near)}"
        )
    table = getattr(tokenizer, "lang_code_to_id", None)
    return int(table[code] if table else tokenizer.convert_tokens_to_ids(code))


def language_codes(tokenizer: Any) -> list[str]:
    """Every code the tokenizer has a token for. NLLB keeps no table: there, languages are the extra special tokens."""
    table = getattr(tokenizer, "lang_code_to_id", None)
    return sorted(table or tokenizer.extra_special_tokens)


@contextmanager
def source_language(model: Model, direction: Direction) -> Iterator[None]:
    """Tokenizes from `direction.source` inside the block; the tokenizer holds the language as state."""
    if direction.source is None:
        yield
        return
    before = model.tokenizer.src_lang
    model.tokenizer.src_lang = direction.source
    try:
        yield
    finally:
        model.tokenizer.src_lang = before
