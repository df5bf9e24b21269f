"""What the document says, beyond what every answer in the tests is held against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelyard.errors import BodyTooLarge, InputTooLarge
from modelyard.gateway.kept_responses import KeptResponses, ResponseLimits
from modelyard.gateway.openapi import Schemas, build, common_failures
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.base import FAILURES
from modelyard.gateway.shapes.models import Model
from modelyard.gateway.surfaces.every import INFERENCES, open_surfaces
from modelyard.gateway.surfaces.inference import V1_INFERENCE, V2_INFERENCE
from modelyard.media.artefacts import Artefacts
from modelyard.store.store import Store
from modelyard.tasks.registry import TASKS
from tests.clock import HandClock
from tests.operations import inferences, operations


def test_a_listed_models_benchmark_is_described() -> None:
    operation = Operation(path="/", summary="", tag="", answer=Model)
    schemas = Schemas([operation, V2_INFERENCE, V1_INFERENCE], TASKS).components()

    assert "benchmark" in schemas["Model"]["properties"]
    assert schemas["Model"]["properties"]["benchmark"]["description"]


def test_a_status_is_described_for_all_that_it_stands_for() -> None:
    assert BodyTooLarge.status == InputTooLarge.status == 413
    assert "body" in FAILURES[413]
    assert "memory" in FAILURES[413]


def test_what_is_said_before_a_call_is_known_is_described_of_every_call() -> None:
    document = build([V2_INFERENCE, V1_INFERENCE], TASKS)
    for _, _, operation in operations(document):
        schema = operation["responses"]["431"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Error"}


def test_who_needs_no_key_may_be_told_to_come_back_where_calls_count() -> None:
    read = Operation(path="/", summary="", tag="", answer=Model, public=True)
    assert 429 in common_failures(read)
    assert 429 not in common_failures(replace(read, cost=0))


def test_every_inference_is_told_from_other_calls_by_its_deadline() -> None:
    """Load and fuzz know inferences by it: an inference of another surface joins them by describing one."""
    assert inferences(build(INFERENCES, TASKS)).keys() == {each.path for each in INFERENCES if each.handler is None}


def test_every_inference_that_is_served_at_a_path_of_its_own_is_described(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/modelyard.db") as store:
        kept = KeptResponses(store.responses, HandClock(), ResponseLimits(0, 0, 0))
        served = open_surfaces(Artefacts(tmp_path, 60, HandClock()), kept, 1024, "", ["openai"])
    described = {each.path for each in INFERENCES}
    assert served.at.keys() <= described
    for prefix, below in served.named.items():
        assert {f"{prefix}{{org}}/{{model}}{end}" for end in below} <= described
    for path in described:
        assert served.find(path.format(org="org", model="name", provider="openai")) is not None


def test_a_field_is_described_in_every_form_that_a_task_takes() -> None:
    fields = build([V2_INFERENCE, V1_INFERENCE], TASKS)["components"]["schemas"]["Inference"]["properties"]
    kinds = [form.get("type", form.get("$ref")) for form in fields["text"]["anyOf"]]
    assert kinds == ["string", "array", "array", "#/components/schemas/TextPair", "array"]
    assert fields["question"]["type"] == "string"
