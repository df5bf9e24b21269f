"""Adapters in the catalogue: what they are, with their base and without, and the sentences that refuse them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.adapters import find_task, runs_beside
from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.hub import Hub
from modelyard.catalog.index import listing_of
from modelyard.records.adapters import Adapter
from modelyard.records.models import ModelCard
from tests.catalog.models import Files, diffusers, model, text, weights, write
from tests.clock import HandClock
from tests.hub.server import HubServer, Repo

CHAT = {"tokenizer": {"chat_template": "{{ messages }}"}}


def adapter(base: str | None = "acme/base", **config: Any) -> Files:
    told = {"base_model_name_or_path": base, "peft_type": "LORA", "r": 8, "target_modules": ["v_proj", "q_proj"]}
    return {
        "adapter_config.json": text({**told, "task_type": "CAUSAL_LM", **config}),
        "adapter_model.safetensors": weights(500),
    }


def pickled(**config: Any) -> Files:
    """The same with its weights in a pickle alone."""
    return {"adapter_config.json": adapter(**config)["adapter_config.json"], "adapter_model.bin": b"\x80\x04."}


async def card_of(root: Path, files: Files, base: Files | None = None, **settings: Any) -> ModelCard:
    write(root / "acme" / "tuned", files)
    if base is not None:
        write(root / "acme" / "base", base)
    return await Catalog(Folders([root]), **settings).get("acme/tuned")


async def test_an_adapter_is_what_its_base_is_and_takes_the_memory_of_both(root: Path) -> None:
    card = await card_of(root, adapter(), model("LlamaForCausalLM", "llama", **CHAT))

    assert card.refusal is None
    assert card.base is not None
    assert (card.task, card.inspection.architecture, card.inspection.library) == ("chat", "LlamaForCausalLM", "peft")
    assert card.inspection.adapter == Adapter("acme/base", "LORA", 8, ("q_proj", "v_proj"), "CAUSAL_LM")
    assert card.inspection.parameters == 500
    assert card.memory_bytes == card.base.memory_bytes + 2000


async def test_lists_know_an_adapter_by_its_base_whichever_comes_first(root: Path) -> None:
    write(root / "acme" / "aaa", adapter())
    write(root / "acme" / "base", model("LlamaForCausalLM", "llama", **CHAT))
    write(root / "acme" / "zzz", adapter())
    catalog = Catalog(Folders([root]))

    surveyed = {each.model_id: each for each in await catalog.survey(dict.fromkeys(await catalog.folder_ids(), ""))}
    again = await catalog.survey({name: each.stamp for name, each in surveyed.items()})

    cards = {name: each.card for name, each in surveyed.items() if each.card}
    assert [cards[name].task for name in ("acme/aaa", "acme/zzz")] == ["chat", "chat"]
    assert [card.task for card in await catalog.list(task="chat")] == ["chat"] * 3
    assert {each.model_id for each in again} <= {"acme/aaa", "acme/zzz"}  # now stamped with their base
    stamps = {name: each.stamp for name, each in (surveyed | {each.model_id: each for each in again}).items()}
    assert await catalog.survey(stamps) == []
    write(root / "acme" / "base", model("GPT2LMHeadModel", "gpt2"))
    news = {each.model_id: each.card for each in await catalog.survey(stamps)}
    assert {name: card.task if card else None for name, card in news.items()} == dict.fromkeys(
        stamps, "text-generation"
    )


async def test_a_base_that_has_16_bits_by_itself_has_32_under_an_adapter(root: Path) -> None:
    base = model("LlamaForCausalLM", "llama", parameters=1_000_000)
    wide = await card_of(root, adapter(), base)
    narrow = await card_of(root, adapter(), bf16=frozenset({"acme/base"}))

    assert narrow.base is not None
    assert narrow.base.inspection.precision == "bf16"
    assert narrow.memory_bytes == wide.memory_bytes


async def test_its_row_names_its_base_and_is_no_variant_of_it(root: Path) -> None:
    card = await card_of(root, adapter(), model())

    listing = listing_of(card, HandClock().now())

    assert listing.variant_of is None
    assert listing.facts["adapter"] == {
        "base": "acme/base", "type": "LORA", "rank": 8, "targetModules": ["q_proj", "v_proj"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "base", "said"),
    [
        (adapter(), None, "acme/tuned is an adapter for acme/base, and there is no such model here."),
        (adapter("acme/tuned"), None, "is an adapter for acme/tuned, which is an adapter itself"),
        (adapter(), adapter("acme/tuned"), "is an adapter for acme/base, which is an adapter itself"),
        (adapter(), diffusers(), "which is in the form of diffusers"),
        (adapter(), {"config.json": text({})}, "is an adapter for acme/base, which cannot be served: acme/base has no"),
        (
            adapter(),
            model("LlamaForCausalLM", "llama", config={"quantization_config": {"quant_method": "fp8"}}),
            "is an adapter for acme/base, whose weights are quantised (fp8 in blocks), so that it cannot",
        ),
        (adapter("/srv/secret/base"), None, "names its base by a path, which says nothing here"),
        (adapter("../base"), model(), "names its base by a path"),
        (adapter(None), model(), "is an adapter that names no base"),
        (adapter(peft_type="PROMPT_TUNING"), model(), "is an adapter of the type PROMPT_TUNING, which"),
        (adapter(r=10**9), model(), "is an adapter of rank 1,000,000,000, and no adapter has more than 16,384"),
        ({**adapter(), "adapter_model.safetensors": b"no weights"}, model(), "cannot be loaded: adapter_model.safet"),
        ({"adapter_config.json": adapter()["adapter_config.json"]}, model(), "acme/base without weights: there is no"),
        (
            pickled(),
            model(),
            "acme/tuned has its weights only as pickle files, which can run any code when they are opened.",
        ),
    ],
)
async def test_what_cannot_be_served_is_refused_with_a_sentence(
    root: Path, files: Files, base: Files | None, said: str
) -> None:
    card = await card_of(root, files, base)

    assert said in (card.refusal or "")
    assert "/srv" not in (card.refusal or "")
    (listed,) = [each for each in await Catalog(Folders([root])).list() if each.model_id == "acme/tuned"]
    assert listed.refusal == card.refusal


async def test_pickled_weights_are_served_where_the_operator_allows_them(root: Path) -> None:
    by_setting = await card_of(root, pickled(), model(), pickles="on")
    by_name = await card_of(root, pickled(), model(), allow_unsafe=["acme/tuned"])
    off = await card_of(root, pickled(), model(), pickles="off")

    assert (by_setting.refusal, by_name.refusal) == (None, None)
    assert by_name.has_pickles
    assert by_name.inspection.weight_files == ("adapter_model.bin",)
    assert "which this server reads of no model" in (off.refusal or "")


@pytest.mark.parametrize(
    ("task_type", "tag", "base_task", "expected"),
    [
        ("CAUSAL_LM", None, "chat", "chat"),
        ("CAUSAL_LM", None, "fill-mask", "text-generation"),
        ("SEQ_CLS", None, "fill-mask", "text-classification"),
        ("SEQ_CLS", "text-ranking", "text-generation", "text-ranking"),
        ("TOKEN_CLS", None, "fill-mask", "token-classification"),
        ("QUESTION_ANS", None, "fill-mask", "question-answering"),
        ("SEQ_2_SEQ_LM", "summarization", "text2text-generation", "summarization"),
        ("SEQ_2_SEQ_LM", None, "automatic-speech-recognition", "automatic-speech-recognition"),
        ("FEATURE_EXTRACTION", None, "fill-mask", "feature-extraction"),
        (None, None, "image-classification", "image-classification"),
        ("CAUSAL_LM", None, None, "text-generation"),
        (None, "chat", None, "chat"),
    ],
)
def test_the_task_is_what_peft_calls_it_or_its_bases(
    task_type: str | None, tag: str | None, base_task: str | None, expected: str
) -> None:
    assert find_task(Adapter("acme/base", task_type=task_type), tag, base_task) == expected


def test_a_template_of_its_own_makes_it_a_chat() -> None:
    told = Adapter("acme/base", task_type="CAUSAL_LM")

    assert find_task(replace(told, has_template=True), None, "text-generation") == "chat"


async def test_an_adapter_of_the_hub_finds_its_base_there_and_both_are_fetched(
    server: HubServer, open_hub: Any, root: Path
) -> None:
    server.repos["acme/tuned"] = Repo(adapter())
    server.repos["acme/base"] = Repo(model("LlamaForCausalLM", "llama"))
    hub: Hub = open_hub()
    catalog = Catalog(Folders([root]), hub)

    card = await catalog.get("acme/tuned")
    assert card.base is not None
    assert (card.task, card.path, card.base.path) == ("text-generation", None, None)
    assert not card.is_here
    path = await catalog.ensure_files(card)
    await catalog.ensure_files(card.base)

    assert {each.name for each in path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert (await catalog.get("acme/tuned")).is_here
    assert {each.task for each in await catalog.hub_cards()} == {"text-generation"}


async def test_the_revision_of_a_base_is_the_one_that_is_served_or_refused(
    server: HubServer, open_hub: Any, root: Path
) -> None:
    server.repos["acme/base"] = Repo(model("LlamaForCausalLM", "llama"))
    hub: Hub = open_hub()
    commit = (await Catalog(Folders([root]), hub).get("acme/base")).revision or ""
    assert len(commit) == 40
    said = {}
    for revision in (None, "main", commit, commit[:8], commit[:3], "v2", "0123456789"):
        server.repos["acme/tuned"] = Repo(adapter(revision=revision))
        card = await Catalog(Folders([root]), open_hub()).get("acme/tuned")
        said[revision] = card.refusal

    assert [revision for revision, refusal in said.items() if refusal is None] == [None, "main", commit, commit[:8]]
    assert f"for acme/base at its revision 'v2', of which commit {commit} is served here" in (said["v2"] or "")
    assert (await card_of(root, adapter(revision="v2"), model())).refusal is None  # a folder is whatever it is


@pytest.mark.parametrize(
    ("config", "beside"),
    [
        ({}, True),
        ({"rank_pattern": {}, "alpha_pattern": None}, True),
        ({"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"^model.layers.0.q_proj": 1.5}}, True),
        ({"rank_pattern": {"(.*)*_proj": 2}}, False),
        ({"alpha_pattern": {"v_proj": "much"}}, False),
        ({"alpha_pattern": [["v_proj", 2]]}, False),
        ({"use_dora": True}, False),
    ],
)
async def test_ranks_and_weights_of_single_layers_are_no_reason_to_merge(
    root: Path, config: dict[str, Any], beside: bool
) -> None:
    card = await card_of(root, adapter(lora_alpha=16, **config), model("LlamaForCausalLM", "llama"))

    assert card.refusal is None
    assert runs_beside(card) is beside


async def test_a_base_that_an_account_may_not_see_is_one_that_is_not_there(
    server: HubServer, open_hub: Any, root: Path
) -> None:
    class OneAccount:
        def may_use(self, account_id: str | None, model_id: str) -> bool:
            return account_id in (None, "owner") or model_id != "acme/base"

        def note(self, model_id: str, restricted: bool) -> None: ...

    write(root / "acme" / "tuned", adapter())
    server.repos["acme/base"] = Repo(model("LlamaForCausalLM", "llama", **CHAT))
    access = OneAccount()
    hub = Hub(open_hub().settings, access=access)
    catalog = Catalog(Folders([root]), hub, access=access)

    theirs, others = await catalog.get("acme/tuned", "owner"), await catalog.get("acme/tuned", "other")
    listed = await catalog.list()
    await hub.aclose()

    assert (theirs.task, theirs.refusal) == ("chat", None)
    assert others.refusal == "acme/tuned is an adapter for acme/base, and there is no such model here."
    assert not catalog.may_use("other", theirs)
    assert {each.task for each in listed if each.model_id == "acme/tuned"} == {"text-generation"}
