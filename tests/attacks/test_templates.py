"""Chat templates and tokenizers that a stranger wrote: what they take concerns their own requests alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.memory import MIB, workers_measured
from tests.attacks.registry import attack_on
from tests.builders import build
from tests.serving import Server, wait_until

TEMPLATES = {
    "large": "{% for a in range(5000) %}{{ 'a' * 1000000 }}{% endfor %}",
    "repeating": "{{ 'a' * 5000000000 }}",
    "endless": "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
    "deep": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "wide": "{{ range(1000000000) }}",
}
VERIFIED = pytest.mark.verify(part="attacks")
"""Of the one that takes all of its 5 s of a core. What comes of it is told by the worker's own tests as well."""
MOST_MIB = 700
"""What a worker may take for a template: 256 MiB, and what else its process and the test's neighbours do."""
BACKTRACKING = {"type": "Split", "pattern": {"Regex": "(a|aa)+$"}, "behavior": "Isolated", "invert": False}
"""Needs twice as many steps for each two letters more; the library gives up on more than ten million for one match."""
TOO_LONG, AS_LONG_AS_MAY_BE = "a" * 100 + "b", ("a" * 24 + "b") * 1000


def write_models(models: Path) -> None:
    """One model per template, which follows the usual one where the conversation does not ask for `evil`."""
    for name, template in TEMPLATES.items():
        folder = models / "evil" / name
        build("llama_chat", folder)
        usual = (folder / "chat_template.jinja").read_text()
        both = "{% if messages[-1]['content'] == 'evil' %}" + template + "{% else %}" + usual + "{% endif %}"
        (folder / "chat_template.jinja").write_text(both)


@pytest.fixture(scope="module")
def server(
    model_folder: Callable[[str], Path], attacked_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("templates")
    write_models(models)
    backtracking = models / "evil" / "backtracking"
    shutil.copytree(model_folder("gpt2"), backtracking)
    tokenizer = json.loads((backtracking / "tokenizer.json").read_text())
    rest = tokenizer["pre_tokenizer"]
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [BACKTRACKING, rest]}
    (backtracking / "tokenizer.json").write_text(json.dumps(tokenizer))
    (models / "tiny").mkdir()
    shutil.copytree(model_folder("gpt2"), models / "tiny" / "gpt2")
    with attacked_server.with_models(models) as server:
        server.run("tiny/gpt2", text="a", params={"max_new_tokens": 1})
        yield server


@attack_on(write_models)
def render_what_repeats(server: Server) -> None:
    assert server.post("evil/repeating", text="evil").status_code == 422
    server.delete("evil/repeating")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=VERIFIED) if name == "endless" else name for name in TEMPLATES]
)
def test_a_template_without_measure_fails_its_request_alone(server: Server, name: str):
    model_id = f"evil/{name}"
    server.run(model_id, text="hello", params={"max_new_tokens": 1})
    workers = set(server.worker_pids())
    with workers_measured(server) as taken:
        answer = server.post(model_id, {"x-request-timeout": "30"}, text="evil")
    assert answer.status_code == 422, answer.text
    assert "chat template refuses them" in answer.json()["error"]
    assert len(answer.content) < 2_000
    assert taken.most_bytes < MOST_MIB * MIB, f"{taken.most_bytes // MIB} MiB"
    server.run(model_id, text="hello", params={"max_new_tokens": 1})
    assert set(server.worker_pids()) == workers
    server.delete(model_id)


def test_a_tokenizer_that_gives_up_on_a_text_fails_that_request_alone(server: Server):
    server.run("evil/backtracking", text="hello", params={"max_new_tokens": 1})
    workers = server.worker_pids()
    answer = server.post("evil/backtracking", text=TOO_LONG)
    assert "retry-limit-in-match" in answer.json()["error"], answer.text
    server.run("evil/backtracking", text="hello", params={"max_new_tokens": 1})
    assert server.worker_pids() == workers


def test_a_tokenizer_that_takes_for_ever_is_ended_with_its_replica_alone(server: Server):
    server.run("evil/backtracking", text="hello", params={"max_new_tokens": 1})
    neighbours = set(server.worker_pids())
    answer = server.post("evil/backtracking", {"x-request-timeout": "2"}, text=AS_LONG_AS_MAY_BE)
    assert answer.status_code == 504, answer.text
    assert server.run("tiny/gpt2", text="a", params={"max_new_tokens": 1})
    wait_until(lambda: len(neighbours - set(server.worker_pids())) == 1)
    wait_until(lambda: server.load() == (0, 0))
    server.run("evil/backtracking", text="hello", params={"max_new_tokens": 1})
