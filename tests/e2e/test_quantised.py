"""Quantised models over HTTP: served in confined workers where their library is installed, streamed, run together,
within the memory that was planned, which is their workers' limit; named with the command where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.builders import quantised
from tests.builders.quantised import ORG, Figures
from tests.command import run_command
from tests.serving import Server

SERVED = ("bitsandbytes-nf4", "fp8")
"""One of a library, and one without."""
MORE = ("torchao-int8-dynamic", "compressed-tensors-w4a16")
"""One of each other library. What they answer, tests/worker compares with the library's own."""
ASKED = {"text": "Hello there", "params": {"max_new_tokens": 8, "do_sample": False}}


@pytest.fixture(scope="module")
def models(quantised_forms: tuple[Path, dict[str, Figures]]) -> Path:
    return quantised_forms[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Server]:
    """One whose environment has the libraries."""
    path = quantised.environment()["PYTHONPATH"]
    with Server(tmp_path_factory.mktemp("server"), models, "--sandbox", "strict", PYTHONPATH=path) as running:
        yield running


@pytest.mark.parametrize(
    "form", [*SERVED, *(pytest.param(form, marks=pytest.mark.verify(part="variants")) for form in MORE)]
)
def test_a_quantised_model_is_served_within_what_was_planned(server: Server, form: str) -> None:
    model_id = f"{ORG}/{form}"

    answer = server.run(model_id, **ASKED)
    streamed = server.post(model_id, **ASKED, stream=True).text
    with ThreadPoolExecutor(4) as clients:
        together = list(clients.map(lambda _: server.run(model_id, **ASKED), range(4)))

    assert answer["content"] == streamed
    assert together == [answer] * 4
    assert server.delete(model_id).status_code == 200


def test_a_variant_of_quantised_weights_is_refused(server: Server) -> None:
    response = server.client.post(f"/models/v2/request/{ORG}/fp8.onnx.8-bit", json={})

    assert response.status_code == 422, response.text
    assert "is quantised with fp8 in blocks already" in response.text


def test_a_library_that_is_missing_is_named_with_its_command_before_any_boot(models: Path) -> None:
    model_id = f"{ORG}/bitsandbytes-nf4"
    command = ["models", "show", model_id, "--models-dir", str(models), "--no-hub", "--json"]

    shown = run_command(command)

    assert "run `pip install 'modelyard[bitsandbytes]'` where the server is installed" in shown.stdout, shown.stderr
