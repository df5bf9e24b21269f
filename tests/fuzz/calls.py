"""Calls of every operation that the server's document describes, right and wrong ones, drawn by schemathesis.

Holds no list of calls: what is described is called. Makes no server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from modelyard.gateway import deadline
from tests.described import NOWHERE, Document, Undescribed
from tests.fuzz.forms import SETTINGS
from tests.operations import KILLED, body_fields, goes_on, is_inference
from tests.serving import Server

JSON = "application/json"
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
ASKED_TO_WAIT = {503, 504}
"""Answers of 500 and more that are no fault: no capacity, and no answer in time. The document says so."""
CALL_S = 60.0
REQUEST_S = "5"
"""What an inference may take, in its header x-request-timeout: some params ask for very long answers."""


@dataclass(frozen=True)
class Finding:
    """What the server did that it must not: the call as a command, and what was wrong with the answer."""

    call: str
    problem: str

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.call}"


@dataclass
class Called:
    """What was called, and what came of it."""

    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


def call_all(
    server: Server, key: str, known: Mapping[str, Sequence[str]], draw: int, examples: int, tag: str | None = None
) -> Called:
    """Calls every operation, or all of one tag, `examples` times as its schema says and as often against it. `key`: of
    the account that calls; `known`: values of path parameters that lead somewhere; `draw`: the seed."""
    described = requests.get(f"{server.url}/openapi.json", timeout=CALL_S).json()
    document = Document(described)
    called = Called()
    for operation in operations_of(described):
        if tag is not None and tag not in operation.definition.raw["tags"]:
            continue
        for mode in MODES:
            cases = operation.as_strategy(generation_mode=mode)
            keys = [True] if mode is GenerationMode.POSITIVE else [True] * 7 + [False]

            settings_of = settings_for(body_fields(operation.definition.raw, described))

            def use(
                case: Case,
                data: st.DataObject,
                keys: Sequence[bool] = keys,
                settings_of: Sequence[st.SearchStrategy[Any]] = settings_of,
            ) -> None:
                lead_somewhere(case, data, known)
                set_something(case, data, settings_of)
                if data.draw(st.sampled_from(keys)):
                    case.headers["Authorization"] = f"Key {key}"
                called.operations[f"{case.method.upper()} {case.path}"] += 1
                call(server, case, document, called)

            draw_cases(cases, use, draw, examples)
    return called


def draw_cases(
    cases: st.SearchStrategy[Case], use: Callable[[Case, st.DataObject], None], draw: int, examples: int
) -> None:
    """Hands so many cases to `use`; none where there can be none, such as a wrong call without parameters."""

    @seed(draw)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, st.data())
    def draw_some(case: Case, data: st.DataObject) -> None:
        use(case, data)

    with suppress(Unsatisfiable):
        draw_some()


def operations_of(described: Mapping[str, Any]) -> Iterator[Any]:
    """Every operation of a document."""
    for result in schemathesis.openapi.from_dict(dict(described)).get_all_operations():
        yield result.ok()


def lead_somewhere(case: Case, data: st.DataObject, known: Mapping[str, Sequence[str]]) -> None:
    """Puts known values in half of the places where a name is asked for."""
    places = [case.path_parameters, case.body if isinstance(case.body, dict) else {}]
    for named in places:
        for name in sorted(set(named or {}) & known.keys()):
            if named is not None and data.draw(st.booleans()):
                named[name] = data.draw(st.sampled_from(known[name]))


def settings_for(fields: Set[str]) -> list[st.SearchStrategy[dict[str, Any]]]:
    """The drawn settings that a body has the fields for: each strategy names its fields in whatever it draws."""
    return [each for names, each in SETTINGS if names <= fields]


def set_something(case: Case, data: st.DataObject, settings_of: Sequence[st.SearchStrategy[Any]]) -> None:
    """Puts something drawn for texts into half of the bodies that have a field for it, beside what else is there."""
    if isinstance(case.body, dict) and settings_of and data.draw(st.booleans()):
        case.body.update(data.draw(data.draw(st.sampled_from(settings_of))))


def call(server: Server, case: Case, document: Document, called: Called) -> None:
    """Makes one call, and notes what is wrong with its answer."""
    if is_inference(case.operation.definition.raw):
        case.headers[deadline.HEADER] = REQUEST_S
    if goes_on(case.operation.definition.raw):
        case.query = {**(case.query or {}), "seconds": "0"}
    try:
        answer = case.call(base_url=server.url, timeout=CALL_S, allow_redirects=False)
    except requests.exceptions.InvalidHeader:  # such a header cannot be sent
        return
    except requests.RequestException as error:
        called.findings.append(Finding(shown(case), f"no answer: {error!r}"))
        return
    called.statuses[answer.status_code] += 1
    problem = problem_of(case, answer, document)
    if problem is not None:
        called.findings.append(Finding(shown(case), f"{problem}: {answer.content[:300]!r}"))


def problem_of(case: Case, answer: Any, document: Document) -> str | None:
    """What is wrong with an answer."""
    status = answer.status_code
    if status >= 500 and status not in ASKED_TO_WAIT:
        return f"{case.method} {case.path} answers {status}"
    if status >= 500 and any(each.encode() in answer.content for each in KILLED):
        return f"{case.method} {case.path} has ended replicas"
    content_type = (answer.headers.get("content-type") or [""])[0].partition(";")[0]
    if content_type == JSON:
        try:
            document.check(case.method.upper(), requests.utils.urlparse(answer.request.url).path, status, answer.json())
        except (Undescribed, ValueError) as error:
            return str(error)
        return None
    if status in NOWHERE | {400}:  # a path that leads elsewhere, or bytes that are no HTTP
        return None
    responses = case.operation.definition.raw["responses"]
    if str(status) not in responses:
        return f"{case.method} {case.path} does not describe an answer with {status}"
    accepted = responses[str(status)].get("content", {})
    if content_type not in accepted and not any(fits(content_type, each) for each in accepted):
        return f"{case.method} {case.path} {status} does not describe {content_type or 'no content type'}"
    return None


def fits(content_type: str, pattern: str) -> bool:
    """Whether a content type is of a range such as image/*."""
    return pattern == "*/*" or (pattern.endswith("/*") and content_type.startswith(pattern[:-1]))


def shown(case: Case) -> str:
    return str(case.as_curl_command())[:2000]
