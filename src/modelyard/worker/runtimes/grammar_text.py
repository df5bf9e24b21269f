"""Forms that a text must keep to, as llguidance reads them: by itself beside torch, and inside llama.cpp.

One reading for all runtimes, so that each takes and refuses the same. llama.cpp by itself says of a form that it cannot
read nothing at all, and writes freely. Imports no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import NamedTuple

from modelyard.errors import InvalidRequest
from modelyard.tasks.shared.generation_params import TextForm
from modelyard.tasks.shared.thinking import Thinking
from modelyard.worker.runtimes.grammar_limits import check_size, limits
from modelyard.worker.runtimes.schema_faults import find_fault

JSON_BLANKS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as Python writes it, which models have read most of. Blanks wherever JSON allows them would let a model write
blanks for ever."""
PLACE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
"""Where in the rules above the library met it, which the request does not know."""
INCOMPLETE = "\ufffd"
"""What a text ends with that was cut inside a character."""
HEADER = "%llguidance {}\n"
"""By which llama.cpp tells such a grammar from one of its own."""


class Marks(NamedTuple):
    """What may come before a form: the thinking of one answer, and the ids of `tokens` among its marks and of `ends`,
    which end a text. `vocabulary`: how many tokens there are."""

    thinking: Thinking
    tokens: Mapping[str, int]
    ends: Collection[int]
    vocabulary: int


def write_grammar(form: TextForm, marks: Marks | None = None) -> str:
    """A form as a grammar; with `marks`, of an answer that may be thought about first. Raises InvalidRequest for one
    that cannot be read, or would take too long to."""
    grammar = write_unread(form, marks)
    if complaint := find_complaint(grammar):
        raise unreadable(form, complaint, find_place(form))
    return grammar


def write_unread(form: TextForm, marks: Marks | None = None) -> str:
    """The same, for who reads it next, and finds out then whether it can be. Raises InvalidRequest for a grammar in
    another notation than the library's that cannot be translated, and for what would take too long to read."""
    check_size(form)
    rules = write_rules(form)
    return HEADER + (rules if marks is None else write_thinking(rules, marks))


def find_complaint(grammar: str) -> str:
    """What the library has against a grammar; empty: nothing."""
    from llguidance import LLMatcher  # in 60 ms, by the first request that gives a form

    return str(LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(grammar), limits=limits()))


def find_place(form: TextForm) -> str:
    """Where the fault of a schema lies that cannot be read, as a JSON pointer; empty: everywhere, or in no schema."""
    if form.json_schema is None:
        return ""
    return find_fault(form.json_schema, lambda part: not find_complaint(HEADER + write_rules(TextForm(part))))


class FormCheck:
    """Whether a text, as it grows, still is of a form: for runtimes that say nothing when they give a form up."""

    def __init__(self, form: TextForm, grammar: str) -> None:
        """`grammar`: what `write_grammar` made of `form`."""
        from llguidance import LLMatcher, LLTokenizer

        self._form = form
        self._bytes = LLTokenizer("byte")
        self._matcher = LLMatcher(self._bytes, LLMatcher.grammar_from_lark(grammar), log_level=0, limits=limits())
        self._matcher.compute_bitmask()

    def take(self, piece: str) -> None:
        """Adds text. Raises InvalidRequest once it is no beginning of a text of that form."""
        whole = piece.removesuffix(INCOMPLETE)
        if self._matcher.is_error() or not self._matcher.consume_tokens(self._bytes.tokenize_bytes(whole.encode())):
            raise unreadable(self._form, self._matcher.get_error())


def write_thinking(rules: str, marks: Marks) -> str:
    """The rules of an answer behind its thinking, in which everything is allowed but the end of the text."""
    thinking, opened = marks.thinking.format, marks.thinking.opened
    first, close, between = (
        write_mark(each, marks.tokens) for each in (thinking.open, thinking.close, thinking.between)
    )
    lead = write_mark(thinking.lead, marks.tokens)
    if (end := marks.tokens.get(thinking.close)) is not None:
        thought = f"thought: <[{write_others({end, *marks.ends}, marks.vocabulary)}]>* {close}"
    else:
        thought = f"thought[suffix={json.dumps(thinking.close, ensure_ascii=False)}]: /(?s:.*)/"
    again = f"({first} thought BLANKS {between})" + ("*" if thinking.anywhere else "?")
    before = f"thought BLANKS {between} {again if thinking.anywhere else ''}" if opened else again
    return f"start: {before} {lead} answer\n{thought}\nBLANKS: /\\s{{0,4}}/\nanswer: %lark {{\n{rules}\n}}"


def write_others(tokens: Collection[int], vocabulary: int) -> str:
    """All ids but those, as ranges: the library inside llama.cpp knows no other way to say it."""
    places = sorted({-1, *tokens, vocabulary})
    return ",".join(f"{low + 1}-{high - 1}" for low, high in pairwise(places) if high - low > 1)


def write_mark(mark: str, tokens: Mapping[str, int]) -> str:
    """A text as a grammar has it, with the ids of tokens in it."""
    if not mark:
        return ""
    apart = re.split("|".join(f"({re.escape(token)})" for token in tokens), mark) if tokens else [mark]
    parts = [part for part in apart if part]
    return " ".join(f"<[{tokens[part]}]>" if part in tokens else json.dumps(part, ensure_ascii=False) for part in parts)


def write_rules(form: TextForm) -> str:
    """Its rules, the first of which is `start`. Raises InvalidRequest for a grammar that cannot be read."""
    if form.json_schema is not None:
        return f"start: %json {json.dumps({**form.json_schema, 'x-guidance': JSON_BLANKS})}"
    if form.regex is not None:
        return f"start: TEXT\nTEXT: /{escape_slashes(form.regex)}/"
    from llguidance.gbnf_to_lark import gbnf_to_lark

    try:
        return str(gbnf_to_lark(form.grammar))
    except Exception as error:  # the library's reader raises what it likes
        raise unreadable(form, str(error)) from error


def escape_slashes(regex: str) -> str:
    """A regular expression as it stands between slashes, on one line."""
    escaped = re.sub(r"(\\.)|/", lambda found: found[1] or r"\/", regex, flags=re.DOTALL)
    return escaped.replace("\n", r"\n").replace("\r", r"\r")


def unreadable(form: TextForm, complaint: str, place: str = "") -> InvalidRequest:
    """What is wrong with a form, in the first line of the library's words. `place`: see `find_place`."""
    said = PLACE.sub("", first_line(complaint))
    where = {"place": place} if place else {}
    told = f"{form.field}: cannot be followed: {f'at {place}: ' if place else ''}{said}"
    return InvalidRequest(told, field=form.field, **where)


def first_line(complaint: str) -> str:
    """What the library complains of, without the state that it prints behind."""
    return complaint.strip().partition("\n")[0]
