"""Adapters over HTTP: models of their own, answered as PEFT's merged model answers, listed with their base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import peft
import pytest

from tests.builders.adapters import greedy, make_adapter, merged
from tests.builders.kept import build
from tests.serving import Server

BASE, TUNED, ALIEN = "tests/llama_chat", "people/tuned", "people/alien"
TEXT = "The quick brown fox"
GREEDY = {"params": {"do_sample": False, "max_new_tokens": 12}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, an adapter for it, and one for a base of another size under the same name."""
    models = tmp_path_factory.mktemp("models")
    base = build("llama_chat", models / BASE)
    lora = {"r": 4, "task_type": "CAUSAL_LM", "lora_alpha": 8}
    make_adapter(base, models / TUNED, peft.LoraConfig(target_modules=["q_proj", "v_proj"], **lora), base_id=BASE)
    other = build("gpt2", tmp_path_factory.mktemp("elsewhere") / "tests" / "gpt2")
    make_adapter(other, models / ALIEN, peft.LoraConfig(target_modules=["c_attn"], **lora), base_id=BASE)
    return models


@pytest.fixture(scope="module")
def server(models: Path, shared_server: Server) -> Iterator[Server]:
    with shared_server.with_models(models) as running:
        yield running


def test_an_adapter_writes_what_the_merged_model_writes(server: Server, models: Path) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(models / BASE)
    messages = [{"role": "user", "content": TEXT}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    expected = greedy(merged(models / BASE, models / TUNED), tokenizer, prompt)

    tuned = server.run(TUNED, text=TEXT, **GREEDY)
    plain = server.run(BASE, text=TEXT, **GREEDY)

    assert tuned["content"] == tokenizer.decode(expected, skip_special_tokens=True)
    assert plain["content"] != tuned["content"]


def test_it_is_listed_with_its_base(server: Server) -> None:
    (listed,) = server.client.get("/models/v2/list/models", params={"modelId": TUNED}).json()["output"]

    assert listed["task"] == "chat"
    assert listed["adapter"] == {
        "base": BASE, "type": "LORA", "rank": 4, "targetModules": ["q_proj", "v_proj"]
    }  # fmt: skip
    assert listed["architecture"] == "LlamaForCausalLM"


def test_one_that_does_not_fit_its_base_is_refused_and_says_so(server: Server) -> None:
    response = server.post(ALIEN, text=TEXT)

    assert response.status_code in (422, 503), response.text
    assert "not found in the base model" in response.json()["error"]
    assert server.run(BASE, text=TEXT, **GREEDY)["content"]
