"""A trained model in quantised forms and in bf16: what it answers, how much worse it reads, what its replica holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import quantised
from tests.builders.quantised import IN_BF16, ORG, PLAIN
from tests.serving import Server, wait_until

pytestmark = pytest.mark.verify(part="variants")

FORMS = ("bitsandbytes-8-bit", "torchao-int8", "bitsandbytes-nf4")
MORE_PERPLEXITY = {"bitsandbytes-8-bit": 0.03, "torchao-int8": 0.03, "bitsandbytes-nf4": 0.25}
"""8 bits: the bound of variants. 4 bits cost a model of 135 million parameters more than larger ones."""
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
JOB_S = 500.0
PLANNED_TOO_LITTLE = 1.1
"""A measured peak above this much of the plan would be a plan that lets workers run into their limit."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, float]]]:
    """The models folder, and the figures of each form."""
    folder = tmp_path_factory.mktemp("real-forms")
    return folder, quantised.judge_real(folder, *FORMS)


@pytest.fixture(scope="module")
def server(judged: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = quantised.environment()["PYTHONPATH"]
    flags = ("--bf16", f"{ORG}/{IN_BF16}", "--job-benchmark-s", "2")
    with Server(tmp_path_factory.mktemp("real-forms-server"), judged[0], *flags, PYTHONPATH=path) as running:
        yield running


@pytest.mark.parametrize("form", FORMS)
def test_perplexity_grows_by_what_the_form_costs(judged: tuple[Path, dict[str, dict[str, float]]], form: str) -> None:
    assert judged[1][form]["perplexity_increase"] <= MORE_PERPLEXITY[form]


@pytest.mark.parametrize("form", [*FORMS, IN_BF16])
def test_a_question_is_answered(server: Server, form: str) -> None:
    answer = server.run(f"{ORG}/{form}", messages=QUESTION, params={"max_new_tokens": 24, "do_sample": False})

    assert "Paris" in answer["content"]


def row(server: Server, form: str) -> dict[str, Any]:
    query = {"modelId": f"{ORG}/{form}"}
    (found,) = server.client.get("/models/v2/list/models", params=query).json()["output"]
    return dict(found)


def measure(server: Server, form: str) -> tuple[float, float]:
    """What was planned and what was measured, in GB."""
    planned = row(server, form)["ramRequired"]
    path = f"/models/v2/request/{ORG}/{form}"
    assert server.client.post(path, json={}).status_code == 200
    job: dict[str, Any] = {}

    def over() -> bool:
        job.update(server.client.get(path).json()["output"])
        return job["endTime"] is not None

    wait_until(over, JOB_S, every_s=0.1)
    assert job["status"] == "done", job["message"]
    return planned, row(server, form)["ramRequired"]


@pytest.mark.timeout(len((PLAIN, IN_BF16, *FORMS)) * JOB_S)
def test_memory_is_planned_and_less_than_that_of_32_bits(server: Server) -> None:
    found = {form: measure(server, form) for form in (PLAIN, IN_BF16, *FORMS)}

    print(found)
    for form, (planned, measured) in found.items():
        assert measured <= planned * PLANNED_TOO_LITTLE, found
        assert form == PLAIN or measured < found[PLAIN][1], found
    assert found["bitsandbytes-nf4"][1] <= 0.7 * found[PLAIN][1]
