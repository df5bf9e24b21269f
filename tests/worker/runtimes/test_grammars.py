"""Texts that are held to a form, by real models: every answer is of that form, and nobody beside them notices."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from modelyard.catalog.cards import make_card
from modelyard.catalog.found import Found
from modelyard.catalog.inspection import inspect_folder
from modelyard.engine.local import LocalEngine
from modelyard.errors import InvalidRequest
from modelyard.protocol import FinishReason
from modelyard.records.models import Source
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.model import TextPrompt
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.generation_params import GenerationParams, TextForm
from modelyard.units import GIB
from modelyard.worker.runtimes.grammar_text import write_grammar
from tests.builders import real
from tests.builders.fixtures import Ask, Load
from tests.builders.schemas import draw_schema
from tests.engine.harness import SECRET, Harness, new_id

CHAT, WRITE = get_task("chat"), get_task("text-generation")
LONGEST = 700
"""More tokens than the longest answer to any of the schemas has, each character of several bytes."""
READABLE = [
    ({"regex": r"[0-9]{4}-[01][0-9] a/b \/ c"}, r"[0-9]{4}-[01][0-9] a/b \/ c"),
    ({"grammar": 'root ::= word (", " word){2}\nword ::= [a-c]{1,3}'}, r"[a-c]{1,3}(, [a-c]{1,3}){2}"),
]
UNREADABLE = [
    ({"json_schema": {"type": "nothing"}}, "json_schema"),
    ({"json_schema": {"type": "string", "not": {"const": "a"}}}, "json_schema"),
    ({"json_schema": {"type": "array", "uniqueItems": True}}, "json_schema"),
    ({"json_schema": {"$ref": "https://example.org/schema.json"}}, "json_schema"),
    ({"json_schema": {"$ref": "#/nowhere"}}, "json_schema"),
    ({"regex": "("}, "regex"),
    ({"grammar": "root ::= nowhere"}, "grammar"),
    ({"grammar": "(((("}, "grammar"),
]

TOO_LARGE = {"json_schema": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2500)}}}
"""Can be read, and is too much to follow, which llama.cpp says to nobody."""


def check(content: str, schema: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(content), schema, jsonschema.Draft202012Validator)


@pytest.fixture
def gpt2(load: Load) -> Any:
    return load("gpt2", "causal-lm")


@pytest.mark.parametrize("seed", range(8))
def test_a_model_of_random_weights_writes_json_by_any_schema(gpt2: Any, ask: Ask, seed: int) -> None:
    schema = draw_schema(seed)
    params = {"max_new_tokens": LONGEST, "json_schema": schema, "temperature": 1.0, "seed": seed}
    answer = ask(WRITE, gpt2, {"text": "JSON:", "params": params})
    check(answer.removeprefix("JSON:"), schema)


@pytest.mark.parametrize(("form", "pattern"), READABLE)
def test_a_text_follows_a_regular_expression_or_a_grammar(gpt2: Any, ask: Ask, form: Any, pattern: str) -> None:
    for more in ({}, {"do_sample": True, "num_return_sequences": 3, "seed": 1}, {"num_beams": 2}):
        answer = ask(WRITE, gpt2, {"text": "So: ", "params": {"max_new_tokens": 60, **form, **more}})
        for text in answer if isinstance(answer, list) else [answer]:
            whole = answer[0] if isinstance(text, list) else text
            assert re.fullmatch(pattern, whole.removeprefix("So: "))


@pytest.mark.parametrize(("form", "field"), UNREADABLE)
def test_a_form_that_cannot_be_kept_is_refused_by_its_field(gpt2: Any, ask: Ask, form: Any, field: str) -> None:
    error = ask(WRITE, gpt2, {"text": "So: ", "params": form})
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == f"params.{field}"
    assert "cannot be followed" in error.message


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"regex": "a", "grammar": 'root ::= "a"'}, "params.grammar"),
        ({"regex": "a", "min_new_tokens": 3}, "params.min_new_tokens"),
        ({"json_schema": {}, "forced_eos_token_id": 0}, None),
        ({"regex": ""}, "params.regex"),
    ],
)
def test_what_contradicts_a_form_is_refused(params: dict[str, Any], field: str | None) -> None:
    from modelyard.tasks.body import read

    if field is None:
        assert read(WRITE, {"text": "a", "params": params})
        return
    with pytest.raises(InvalidRequest) as refused:
        read(WRITE, {"text": "a", "params": params})
    assert refused.value.data["field"] == field


def test_a_form_that_is_too_large_to_follow_is_refused(gpt2: Any, ask: Ask) -> None:
    error = ask(WRITE, gpt2, {"text": "So: ", "params": TOO_LARGE})
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == "params.json_schema"


def test_settings_that_forbid_all_that_a_form_allows_say_so(gpt2: Any, ask: Ask) -> None:
    tokens = gpt2.tokenizer("a", add_special_tokens=False)["input_ids"]
    error = ask(WRITE, gpt2, {"text": "So", "params": {"regex": "a", "suppress_tokens": tokens}})
    assert isinstance(error, InvalidRequest)
    assert "params.regex: no token can follow" in error.message


def test_a_text_that_the_limit_cuts_is_a_beginning_of_the_form(gpt2: Any, ask: Ask) -> None:
    answer = ask(WRITE, gpt2, {"text": "So: ", "params": {"max_new_tokens": 5, "regex": "[ab]{40}"}})
    assert re.fullmatch("[ab]{1,39}", answer.removeprefix("So: "))


@pytest.mark.parametrize(
    "form",
    [
        TextForm(regex="(yes|no)( indeed)?"),
        TextForm(
            json_schema={"type": "object", "properties": {"tag": {"enum": ["fox", "river"]}}, "required": ["tag"]}
        ),
    ],
)
def test_a_token_is_allowed_by_itself_where_the_scores_of_all_leave_it(gpt2: Any, form: TextForm) -> None:
    import torch

    from modelyard.worker.runtimes.grammars import Grammars

    vocabulary, own_end = len(gpt2.tokenizer), gpt2.tokenizer.eos_token_id
    draw = random.Random(5)
    for ends in (frozenset({own_end, 7}), frozenset({7})):
        grammars = Grammars(gpt2.tokenizer, vocabulary)
        alone, among_all = grammars.open(form, ends), grammars.open(form, ends)
        ids, ended = [3, 4], False
        while not ended:
            given = torch.tensor([ids])
            left = torch.isfinite(among_all(given, torch.zeros(1, vocabulary)))[0]
            assert [alone.allows(given, token) for token in range(vocabulary)] == left.tolist(), ids
            ids.append(draw.choice(left.nonzero()[:, 0].tolist()))
            ended = ids[-1] in ends
        assert len(ids) > 4


def test_a_model_without_a_fast_tokenizer_says_so(load: Load, model_folder: Callable[[str], Path]) -> None:
    from modelyard.worker.runtimes.grammars import Grammars

    with pytest.raises(InvalidRequest, match="no fast form"):
        Grammars(object(), 100).open(TextForm(regex="a"), frozenset({0}))
    with pytest.raises(InvalidRequest, match=r"params\.eos_token_id"):
        Grammars(load("gpt2", "causal-lm").tokenizer, 100).open(TextForm(regex="a"), frozenset())  # type: ignore[attr-defined]


def test_gguf_models_take_and_refuse_the_same_forms() -> None:
    from tests.worker.runtimes.gguf_models import load_kept

    model = load_kept(real.smollm2_gguf(), context_tokens=1024, slots=1)
    prompt = TextPrompt("<|im_start|>user\nThe capital of France as JSON.<|im_end|>\n<|im_start|>assistant\n")

    def write(**params: Any) -> Any:
        plan = model.plan(GenerationParams(max_new_tokens=300, temperature=0, **params))
        return model.write(prompt, plan, 0, lambda _tokens: None, lambda _piece: False)

    for seed in range(4):
        schema = draw_schema(seed)
        written = write(json_schema=schema)
        assert written.finish_reason is FinishReason.STOP
        check(written.text, schema)
    for form, pattern in READABLE:
        assert re.fullmatch(pattern, write(**form).text)
    for form, field in [*UNREADABLE, (TOO_LARGE, "json_schema")]:
        with pytest.raises(InvalidRequest) as refused:
            write(**form)
        assert refused.value.data["field"] == f"params.{field}"


def test_json_has_the_blanks_that_models_have_read_most_of() -> None:
    schema = {"type": "object", "x-guidance": {"whitespace_flexible": True}}
    grammar = write_grammar(TextForm(json_schema=schema))
    assert grammar.startswith("%llguidance {}\nstart: %json ")
    assert json.loads(grammar.partition("%json ")[2])["x-guidance"]["whitespace_flexible"] is False


@pytest.mark.verify(part="models")
@pytest.mark.parametrize("folder", [real.smollm2, lambda: real.smollm2_gguf().parent], ids=["torch", "gguf"])
async def test_two_hundred_schemas_are_kept_by_a_real_model(folder: Callable[[], Path]) -> None:
    """Sixteen at once, as the server asks a replica: every answer is JSON that fits its schema."""
    engine = LocalEngine(64 * GIB)
    await engine.start()
    try:
        there = Harness(engine)
        found = Found("real/smollm2", Source.FOLDER, inspect_folder(folder()), folder())
        spec = replace(ReplicaSpec.of(new_id(), make_card(found), folder()), secret=SECRET, threads=2)
        link = await there.boot(spec)
        sixteen = asyncio.Semaphore(16)

        async def ask(seed: int) -> None:
            params = {"max_new_tokens": LONGEST, "json_schema": draw_schema(seed)}
            async with sixteen:
                outcome = await link.request({"text": f"An example, number {seed}."}, params, stream=False).run()
            check(outcome.output["content"], params["json_schema"])

        await asyncio.gather(*(ask(seed) for seed in range(200)))
    finally:
        await engine.close()
