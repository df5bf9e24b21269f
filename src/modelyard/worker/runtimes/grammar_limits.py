"""How large a form may be, so that reading it takes a replica about a second at most, and some 300 MB.

llguidance bounds its own work in part only: a chain of some thousand references is deeper than a thread's stack, which
ends the process, and multiples of a large number have as many states as it. Owns these bounds; reads no form.
Source of the figures: llguidance 1.9.1, measured on one core; decision 71.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from modelyard.errors import InvalidRequest
from modelyard.tasks.shared.generation_params import MOST_FORM, TextForm

MOST_LEVELS = 1_000
"""Of a schema: the process ends at about 2,000."""
MOST_RULES = 500
"""Of a grammar, and groups in it: the process ends at 3,000, and translating 1,000 may take 5 s."""
MOST_MULTIPLE = 10_000
"""99,991 takes 1.2 s, 999,983 takes 20 s and 430 MB, 123,456,789 minutes and all memory."""
FUEL = 30_000
"""llguidance's measure of what is built before the first token: 15,000 words, or 8,000 optional characters."""


def limits() -> Any:
    """The limits for llguidance to keep."""
    from llguidance import LLParserLimits

    return LLParserLimits(initial_lexer_fuel=FUEL)


def check_size(form: TextForm) -> None:
    """Raises InvalidRequest for a form whose reading would take too long, or end the process."""
    if form.json_schema is not None:
        check_schema(form.field, form.json_schema)
    if form.grammar is not None:
        rules = form.grammar.count("::=") + form.grammar.count("(")
        if rules > MOST_RULES:
            accepted = f"{MOST_RULES} rules and groups at most"
            raise InvalidRequest(field=form.field, got=f"{rules} rules and groups", accepted=accepted)


def check_schema(field: str, schema: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for a schema that is too long, too deep, or asks for multiples of too large a number."""
    characters = len(json.dumps(schema, ensure_ascii=False))
    if characters > MOST_FORM:
        raise InvalidRequest(
            field=field, got=f"{characters} characters as JSON", accepted=f"{MOST_FORM} characters at most"
        )
    if (levels := count_levels(schema)) > MOST_LEVELS:
        accepted = f"{MOST_LEVELS} levels at most, those of all that $ref refers to included"
        raise InvalidRequest(field=field, got=f"{levels} levels", accepted=accepted)
    if (multiple := common_multiple(schema)) > MOST_MULTIPLE:
        accepted = f"numbers whose least common multiple has at most {MOST_MULTIPLE} before its zeros"
        raise InvalidRequest(field=f"{field}.multipleOf", got=multiple, accepted=accepted)


def count_levels(schema: Mapping[str, Any]) -> int:
    """The most levels that reading it can go down: its own, and those of each part that it refers to, once."""
    own: dict[int, int] = {}
    references: set[str] = set()

    def walk(part: Any) -> int:
        if isinstance(part, dict) and isinstance(part.get("$ref"), str):
            references.add(part["$ref"])
        inner = children_of(part)
        own[id(part)] = max(map(walk, inner), default=0) + (1 if isinstance(part, dict | list) else 0)
        return own[id(part)]

    return walk(schema) + sum(own[id(find_part(schema, reference))] + 1 for reference in references)


def find_part(schema: Mapping[str, Any], reference: str) -> Any:
    """What a reference names within a schema; all of it where it names nothing that is known here."""
    part: Any = schema
    for name in unquote(reference.partition("#")[2]).split("/")[1:]:
        inner = {str(index): each for index, each in enumerate(part)} if isinstance(part, list) else part
        name = name.replace("~1", "/").replace("~0", "~")
        if not isinstance(inner, dict) or name not in inner:
            return schema
        part = inner[name]
    return part


def common_multiple(part: Any) -> int:
    """The least common multiple of all numbers that something is to be a multiple of, without their zeros."""
    own = part.get("multipleOf") if isinstance(part, dict) else None
    wanted = significant(own) if isinstance(own, int | float) and not isinstance(own, bool) and own > 0 else 1
    return math.lcm(wanted, *map(common_multiple, children_of(part)))


def significant(number: float) -> int:
    """Its digits, without the zeros behind them: 25 for 0.025 and for 2500."""
    return int("".join(map(str, Decimal(str(number)).normalize().as_tuple().digits)))


def children_of(part: Any) -> list[Any]:
    """What an object or an array holds."""
    if isinstance(part, dict):
        return list(part.values())
    return part if isinstance(part, list) else []
