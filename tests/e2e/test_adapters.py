"""Adapters over HTTP: models of their own, answered as PEFT's merged model answers, listed with their base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.tasks.shared.detokenizer import Detokenizer
from tests.builders.adapters import greedy, make_adapter, merged, peft_config
from tests.builders.kept import build
from tests.builders.real import SMOLLM2, smollm2
from tests.peaks import total_bytes
from tests.serving import Server

BASE, TUNED, ALIEN = "tests/llama_chat", "people/tuned", "people/alien"
MORE = ("people/second", "people/third", "people/fourth")
SHARE = 1.1
"""The most that a base and its adapters may hold, as a multiple of what all of them take by themselves."""
TEXT = "The quick brown fox"
GREEDY = {"params": {"do_sample": False, "max_new_tokens": 12}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, an adapter for it, and one for a base of another size under the same name."""
    models = tmp_path_factory.mktemp("models")
    base = build("llama_chat", models / BASE)
    lora = {"r": 4, "task_type": "CAUSAL_LM", "lora_alpha": 8}
    make_adapter(
        base, models / TUNED, peft_config("LoraConfig", target_modules=["q_proj", "v_proj"], **lora), base_id=BASE
    )
    for seed, model_id in enumerate(MORE, 1):
        config = peft_config("LoraConfig", target_modules=["q_proj", "down_proj"], **lora)
        make_adapter(base, models / model_id, config, base_id=BASE, seed=seed)
    other = build("gpt2", tmp_path_factory.mktemp("elsewhere") / "tests" / "gpt2")
    make_adapter(other, models / ALIEN, peft_config("LoraConfig", target_modules=["c_attn"], **lora), base_id=BASE)
    return models


@pytest.fixture(scope="module")
def server(models: Path, shared_server: Server) -> Iterator[Server]:
    with shared_server.with_models(models) as running:
        yield running


def written_by_merged(base: Path, folder: Path) -> str:
    """The tokens that PEFT's own merged model writes, as text: random ones are not whole characters, so by our way."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    messages = [{"role": "user", "content": TEXT}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    detokenizer = Detokenizer(tokenizer)
    return detokenizer.push(greedy(merged(base, folder), tokenizer, prompt)) + detokenizer.finish()


def test_an_adapter_writes_what_the_merged_model_writes(server: Server, models: Path) -> None:
    expected = written_by_merged(models / BASE, models / TUNED)

    tuned = server.run(TUNED, text=TEXT, **GREEDY)
    plain = server.run(BASE, text=TEXT, **GREEDY)

    assert tuned["content"] == expected
    assert plain["content"] != tuned["content"]


def hold_together(server: Server, base: str, adapters: Sequence[str], models: Path) -> None:
    """A base and four adapters answer at once in one process, as merged models would, and hold no more than all of them
    take by themselves, and a tenth."""
    for model_id in (base, *adapters):
        server.delete(model_id)
    plain = server.run(base, text=TEXT, **GREEDY)["content"]
    pid = server.worker_pid()
    alone_bytes = total_bytes([pid])
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(server.run, model_id, text=TEXT, **GREEDY) for model_id in (*adapters, base) * 2]
        written = [each.result()["content"] for each in asked]

    expected = [written_by_merged(models / base, models / each) for each in adapters]
    assert written == [*expected, plain] * 2
    assert len({*written}) == len(adapters) + 1
    assert server.worker_pid() == pid
    stored_bytes = sum((models / each / "adapter_model.safetensors").stat().st_size for each in adapters)
    held_bytes = total_bytes([pid])
    print(f"{base} alone {alone_bytes}, with {len(adapters)} adapters of {stored_bytes} together {held_bytes}")
    assert held_bytes <= SHARE * (alone_bytes + stored_bytes)
    for model_id in (base, *adapters):
        server.delete(model_id)


def test_a_base_and_four_adapters_share_one_process(server: Server, models: Path) -> None:
    hold_together(server, BASE, (TUNED, *MORE), models)


@pytest.mark.verify(part="variants")
def test_a_real_base_and_four_adapters_share_one_process(tmp_path: Path, shared_server: Server) -> None:
    base = smollm2()
    adapters = [f"tuned/smollm2-{number}" for number in range(4)]
    for number, model_id in enumerate(adapters):
        config = peft_config(
            "LoraConfig", r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
        )
        make_adapter(base, tmp_path / model_id, config, base_id=SMOLLM2, seed=number, scale=0.05)
    (tmp_path / SMOLLM2).parent.mkdir()
    (tmp_path / SMOLLM2).symlink_to(base)
    with shared_server.with_models(tmp_path) as running:
        hold_together(running, SMOLLM2, adapters, tmp_path)


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
