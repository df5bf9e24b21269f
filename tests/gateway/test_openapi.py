"""What the document says, beyond what every answer in the tests is held against."""

from __future__ import annotations

from modelyard.errors import BodyTooLarge, InputTooLarge
from modelyard.gateway.openapi import Schemas, build
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.base import FAILURES
from modelyard.gateway.shapes.models import Model
from modelyard.gateway.surfaces import inference
from modelyard.gateway.surfaces.inference import V1_INFERENCE, V2_INFERENCE
from modelyard.tasks.registry import TASKS
from tests.operations import inferences


def test_a_listed_models_benchmark_is_described() -> None:
    operation = Operation(path="/", summary="", tag="", answer=Model)
    schemas = Schemas([operation, V2_INFERENCE, V1_INFERENCE], TASKS).components()

    assert "benchmark" in schemas["Model"]["properties"]
    assert schemas["Model"]["properties"]["benchmark"]["description"]


def test_a_status_is_described_for_all_that_it_stands_for() -> None:
    assert BodyTooLarge.status == InputTooLarge.status == 413
    assert "body" in FAILURES[413]
    assert "memory" in FAILURES[413]


def test_every_inference_is_told_from_other_calls_by_its_deadline() -> None:
    """Load and fuzz know inferences by it: an inference of another surface joins them by describing one."""
    described = [each for each in vars(inference).values() if isinstance(each, Operation)]
    assert inferences(build(described, TASKS)).keys() == {each.path for each in described if each.handler is None}


def test_a_field_is_described_in_every_form_that_a_task_takes() -> None:
    fields = build([V2_INFERENCE, V1_INFERENCE], TASKS)["components"]["schemas"]["Inference"]["properties"]
    kinds = [form.get("type", form.get("$ref")) for form in fields["text"]["anyOf"]]
    assert kinds == ["string", "array", "array", "#/components/schemas/TextPair"]
    assert fields["question"]["type"] == "string"
