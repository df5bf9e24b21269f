"""Pickled models made into safetensors by a confined program: once, whole or not at all, within what they may take."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.cards import make_card
from modelyard.catalog.found import Found
from modelyard.catalog.inspection import inspect_folder
from modelyard.catalog.made_files import list_conversions, size_of
from modelyard.control.conversions import Conversions
from modelyard.errors import ModelRefused
from modelyard.records.models import ModelCard, Source
from modelyard.units import MIB
from tests.catalog.models import Files, model, write
from tests.catalog.test_adapters import pickled as pickled_adapter
from tests.later import Later

torch, tensors = Later("torch"), Later("safetensors.torch")
pytestmark = pytest.mark.imports_models

NOBODY = (sys.executable, "-c", "raise SystemExit('nobody was to be asked')")
COPIER = """
import json, os, sys
order = json.load(sys.stdin)
os.makedirs(order["target"])
open(order["target"] + "/model.safetensors", "wb").write(b"x" * 1000)
print(json.dumps({"done": {}}))
"""
"""Makes a folder without a model library."""


def pickled(folder: Path, **held: Any) -> ModelCard:
    """A model with these tensors in a pickle, and without other weights."""
    files = model("BertForSequenceClassification", "bert")
    del files["model.safetensors"]
    write(folder, files)
    torch.save(held, folder / "pytorch_model.bin")
    return card_of(folder)


def card_of(folder: Path) -> ModelCard:
    model_id = f"{folder.parent.name}/{folder.name}"
    return make_card(Found(model_id, Source.FOLDER, inspect_folder(folder), folder), pickles="on")


async def test_an_adapters_pickle_becomes_the_file_that_adapters_have(tmp_path: Path) -> None:
    folder = write(tmp_path / "acme" / "tuned", pickled_adapter())
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    torch.save({name: torch.eye(3)}, folder / "adapter_model.bin")

    made = await Conversions(tmp_path / "converted").ensure(card_of(folder), folder)

    assert {each.name for each in made.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert torch.equal(tensors.load_file(made / "adapter_model.safetensors")[name], torch.eye(3))
    assert inspect_folder(made).adapter == inspect_folder(folder).adapter


async def test_a_folder_is_converted_once_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "acme" / "m"
    card = pickled(folder, a=torch.ones(3))
    (folder / "pytorch_model.bin").unlink()
    shards = {f"pytorch_model-0000{number}-of-00002.bin": torch.full((2,), float(number)) for number in (1, 2)}
    for name, tensor in shards.items():
        torch.save({name[14:19]: tensor}, folder / name)
    weight_map = {name[14:19]: name for name in shards}
    more: Files = {
        "pytorch_model.bin.index.json": json.dumps({"metadata": {"total_size": 16}, "weight_map": weight_map}).encode(),
        "modules.json": json.dumps(
            [{"idx": at, "path": path, "type": f"sentence_transformers.models.{kind}"}
             for at, (path, kind) in enumerate([("", "Transformer"), ("1_Dense", "Dense")])]
        ).encode(),
        "1_Dense/config.json": b"{}",
        "tf_model.h5": b"x",
        ".git/config": b"x",
    }  # fmt: skip
    write(folder, more)
    torch.save({"linear.weight": torch.eye(2)}, folder / "1_Dense" / "pytorch_model.bin")
    card = card_of(folder)
    made = await Conversions(tmp_path / "converted").ensure(card, folder)

    names = {str(each.relative_to(made)) for each in made.rglob("*") if each.is_file()}
    assert names == {
        "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "model.safetensors.index.json",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "1_Dense/config.json",
        "1_Dense/model.safetensors",
    }  # fmt: skip
    assert torch.equal(tensors.load_file(made / "model-00002-of-00002.safetensors")["00002"], torch.tensor([2.0, 2.0]))
    found = inspect_folder(made)
    assert (found.problem, found.pickle_only, found.task) == (None, False, card.task)
    assert await Conversions(tmp_path / "converted", program=NOBODY).ensure(card, folder) == made


async def test_what_is_no_pickle_is_left_where_it_is(tmp_path: Path) -> None:
    write(tmp_path / "acme" / "m", model())
    card = card_of(tmp_path / "acme" / "m")
    assert await Conversions(tmp_path / "c", program=NOBODY).ensure(card, tmp_path) == tmp_path
    assert not (tmp_path / "c").exists()


class Command:
    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> Any:
        return os.system, (self._command,)


async def test_a_hostile_pickle_does_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    card = pickled(tmp_path / "acme" / "m", a=torch.ones(3), b=Command(f"touch {canary}"))

    with pytest.raises(
        ModelRefused, match=r"acme/m has pickled .*: pytorch_model\.bin cannot be read as weights alone"
    ):
        await Conversions(tmp_path / "converted").ensure(card, tmp_path / "acme" / "m")

    assert not canary.exists()
    assert list((tmp_path / "converted" / "acme" / "m").iterdir()) == []


@pytest.mark.verify(part="attacks")
async def test_a_pickle_that_unfolds_meets_its_limit(tmp_path: Path) -> None:
    folder = tmp_path / "acme" / "m"
    pickled(folder, a=torch.ones(3))
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/version", "3")
        with archive.open("archive/data.pkl", "w") as entry:
            for _ in range(1000):
                entry.write(bytes(1024**2))

    with pytest.raises(ModelRefused, match=r"needs more than|cannot be read as weights alone"):
        await Conversions(tmp_path / "converted").ensure(card_of(folder), folder)


async def test_files_that_changed_are_converted_anew_and_the_old_ones_go(tmp_path: Path) -> None:
    folder, conversions = tmp_path / "acme" / "m", Conversions(tmp_path / "c", program=copier())
    first = await conversions.ensure(pickled(folder, a=torch.ones(3)), folder)
    second = await conversions.ensure(pickled(folder, a=torch.ones(30)), folder)

    assert first != second
    assert [each.name for each in (tmp_path / "c" / "acme" / "m").iterdir()] == [second.name]


async def test_memory_and_room_are_kept_while_it_is_made_and_it_counts_for_who_asked(tmp_path: Path) -> None:
    kept, folder = list[str](), tmp_path / "c"

    def note(what: str) -> None:
        kept.append(f"{what}, {len(list(folder.glob('*/*/*')))} made")

    @asynccontextmanager
    async def memory_for(_name: str, memory_bytes: int) -> AsyncIterator[int]:
        note(f"{memory_bytes // MIB} MB of memory")
        yield memory_bytes
        note("memory given back")

    @asynccontextmanager
    async def room_for(model_id: str, _needed_bytes: int, account_id: str) -> AsyncIterator[None]:
        note(f"room for {model_id} of {account_id}")
        yield
        note("room given back")

    conversions = Conversions(folder, program=copier(), memory_for=memory_for, room_for=room_for)
    made = await conversions.ensure(pickled(tmp_path / "acme" / "m", a=torch.ones(3)), tmp_path / "acme" / "m", "ada")

    assert kept == [
        "room for acme/m of ada, 0 made", "512 MB of memory, 0 made", "memory given back, 1 made",
        "room given back, 1 made",
    ]  # fmt: skip
    (found,) = list_conversions(folder)
    assert (found.model_id, found.account_id, found.path) == ("acme/m", "ada", made)


async def test_those_unused_for_longest_make_room(tmp_path: Path) -> None:
    folders = [tmp_path / "acme" / name for name in "abc"]
    cards = [pickled(folder, a=torch.ones(3)) for folder in folders]
    one_bytes = cards[0].inspection.weight_bytes or 0
    conversions = Conversions(tmp_path / "c", limit_bytes=1500 + one_bytes, program=copier())
    a, b = [await conversions.ensure(card, folder) for card, folder in zip(cards[:2], folders[:2], strict=True)]
    os.utime(a, (10, 10))
    os.utime(b, (5, 5))
    await conversions.ensure(cards[0], folders[0])  # used again

    c = await conversions.ensure(cards[2], folders[2])

    assert (a.is_dir(), b.is_dir(), c.is_dir()) == (True, False, True)
    assert size_of(c) == 1000


def copier() -> tuple[str, ...]:
    return (sys.executable, "-c", COPIER)


async def test_one_conversion_serves_all_who_ask_at_once(tmp_path: Path) -> None:
    import asyncio

    folder, counts = tmp_path / "acme" / "m", tmp_path / "counts"
    counts.mkdir()
    program = (sys.executable, "-c", f"import tempfile; tempfile.mkstemp(dir={str(counts)!r})\n{COPIER}")
    card, conversions = pickled(folder, a=torch.ones(3)), Conversions(tmp_path / "c", program=program)

    made = await asyncio.gather(*(conversions.ensure(card, folder) for _ in range(5)))

    assert len(set(made)) == len(list(counts.iterdir())) == 1
