"""How much memory replicas of one model share: what a test asserts."""

from __future__ import annotations

import itertools
from pathlib import Path

import transformers as library

from modelyard.engine.link import Link
from modelyard.engine.local import LocalEngine
from tests.builders import tokenizers
from tests.builders.families import save
from tests.engine.harness import Harness, ask
from tests.peaks import total_bytes


def build_weighty(folder: Path) -> Path:
    """GPT-2 of 48 million parameters: 12 layers, 576 wide.

    Some 30 MiB of any replica are Python objects of the nursery's that its reference counts make its own; next to
    those, the weights of a smaller model would not matter.
    """
    tokenizer = tokenizers.byte_level(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    config = library.GPT2Config(
        vocab_size=len(tokenizer), n_positions=256, n_embd=576, n_layer=12, n_head=8, bos_token_id=0, eos_token_id=0
    )
    save(folder, tokenizer, library.GPT2LMHeadModel(config))
    return folder


async def costs_of(harness: Harness, replicas: int) -> list[int]:
    """What each of so many replicas of `harness.good()` adds to what all processes hold, once it has answered."""
    assert isinstance(harness.engine, LocalEngine)
    await harness.boot()  # so that the nursery has done all it does once
    await harness.clear()
    assert harness.engine.nursery_pid is not None
    assert harness.engine.standby_pid is not None
    pids = [harness.engine.nursery_pid, harness.engine.standby_pid]
    totals = [total_bytes(pids)]
    for _ in range(replicas):
        link = await harness.boot()
        await touch(link)
        pid = harness.engine.sightings()[harness.id_of(link)].pid
        assert pid is not None
        pids.append(pid)
        totals.append(total_bytes(pids))
    return [after - before for before, after in itertools.pairwise(totals)]


async def touch(link: Link) -> None:
    """Has every weight read."""
    await ask(link, "Once upon a time", max_new_tokens=8, min_new_tokens=8)
