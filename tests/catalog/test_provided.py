"""Which closed models there are, and which of them an id means."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.catalog.provided import Price, Provided, read_models
from modelyard.records.providers import UnitPrices, read_providers

GPT = Price("openai", "chat", 128_000, None, 2.5e-06, 1.25e-06, 1e-05)
LIST = {
    "gpt-4o": GPT,
    "ft:gpt-4o": GPT,
    "hd/1024-x-1024/dall-e-9": Price("openai", "image_generation", input_cost_per_image=0.04),
    "dall-e-9": Price("openai", "image_generation", input_cost_per_image=0.04),
    "whisper-1": Price("openai", "audio_transcription", input_cost_per_second=0.0001),
    "gemini/gemini-9": Price("gemini", "chat"),
    "gemini/gemma-3-27b-it": Price("gemini", "chat"),
    "command-a": Price("cohere_chat", "chat"),
    "together_ai/meta-llama/Llama-9": Price("together_ai", "chat", input_cost_per_token="free"),
    "bedrock/claude": Price("bedrock", "chat"),
    "anthropic-embedding": Price("anthropic", "embedding"),
}


@pytest.fixture(scope="module")
def provided() -> Provided:
    providers = read_providers(["acme=https://acme.example/v1"])
    return Provided(providers, {model.model_id: model for model in read_models(LIST, providers)})


def test_the_list_names_models_as_we_do(provided: Provided) -> None:
    from datetime import UTC, datetime

    rows = {each.model_id: each for each in provided.listings(datetime.now(UTC))}
    assert sorted(rows) == [
        "cohere/command-a", "google/gemini-9", "google/gemma-3-27b-it", "openai/dall-e-9", "openai/gpt-4o",
        "openai/whisper-1", "together/meta-llama/Llama-9",
    ]  # fmt: skip
    assert {each.source for each in rows.values()} == {"provider"}
    assert rows["openai/gpt-4o"].facts["max_length"] == 128_000
    assert rows["openai/gpt-4o"].facts["prices_pico"] == {
        "read_token": 2_500_000, "cached_token": 1_250_000, "new_token": 10_000_000,
    }  # fmt: skip
    assert rows["openai/dall-e-9"].facts["prices_pico"] == {"image": 40_000_000_000}
    assert "prices_pico" not in rows["together/meta-llama/Llama-9"].facts


@pytest.mark.parametrize(
    ("model_id", "given", "is_closed"),
    [
        ("openai/gpt-4o", {}, True),
        ("openai/gpt-4o", {"source": "hub"}, False),
        ("openai/gpt-4o", {"source": "hub", "has_key": True}, False),
        ("openai/whisper-large-v3", {}, False),
        ("openai/whisper-large-v3", {"has_key": True}, True),
        ("openai/whisper-large-v3", {"source": "provider"}, True),
        ("google/gemma-3-27b-it", {}, False),
        ("google/gemma-3-27b-it", {"has_key": True}, True),
        ("acme/anything", {}, True),
        ("acme/anything", {"source": "folder"}, False),
        ("openrouter/meta-llama/llama-3.1-8b", {}, True),
        ("someone/model", {"has_key": True, "source": "provider"}, False),
        ("openai/../x", {"has_key": True}, False),
        ("openai/", {"has_key": True}, False),
        ("openai", {"has_key": True}, False),
    ],
)
def test_which_model_an_id_means(provided: Provided, model_id: str, given: dict[str, Any], is_closed: bool) -> None:
    arguments = {"source": None, "has_key": False, **given}
    assert (provided.find(model_id, **arguments) is not None) is is_closed


def test_what_the_list_says_of_a_model_is_known_of_it(provided: Provided) -> None:
    model = provided.find("openai/gpt-4o", None, has_key=False)
    assert model is not None
    assert (model.task, model.context) == ("chat", 128_000)
    assert model.prices == UnitPrices(2_500_000, 1_250_000, 10_000_000)
