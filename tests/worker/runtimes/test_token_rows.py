"""Rows that come and go get, token for token, what the library's own loop gives each of them alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import torch
import transformers as library
from transformers import GenerationConfig

from modelyard.protocol import CacheUse
from modelyard.tasks.token_model import Chosen
from modelyard.worker.runtimes import linear_products
from modelyard.worker.runtimes.kept_prefixes import MOST_SPARE
from modelyard.worker.runtimes.token_architectures import allows_rows
from modelyard.worker.runtimes.token_rows import TokenRows
from tests.builders.families import spread

VOCABULARY = 96
NEW_TOKENS = 24
GAP = 1e-4
"""Where the two best scores are nearer than this share of their spread, the order of additions decides."""

TEXT = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GROUPED = {**TEXT, "num_key_value_heads": 2}
SLIDING = {**GROUPED, "sliding_window": 8, "head_dim": 8}

ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: library.GPT2LMHeadModel(library.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4)),
    "llama": lambda: library.LlamaForCausalLM(library.LlamaConfig(**GROUPED)),
    "mistral, sliding": lambda: library.MistralForCausalLM(library.MistralConfig(**SLIDING)),
    "gemma2, sliding and global": lambda: library.Gemma2ForCausalLM(library.Gemma2Config(**SLIDING)),
    "gemma3, sliding and global": lambda: library.Gemma3ForCausalLM(library.Gemma3TextConfig(**SLIDING)),
    "llama4, chunks": lambda: library.Llama4ForCausalLM(
        library.Llama4TextConfig(
            **GROUPED, head_dim=8, attention_chunk_size=8, num_local_experts=2, intermediate_size_mlp=48
        )
    ),
    "qwen2": lambda: library.Qwen2ForCausalLM(library.Qwen2Config(**GROUPED)),
    "qwen3": lambda: library.Qwen3ForCausalLM(library.Qwen3Config(**GROUPED, head_dim=8)),
    "phi": lambda: library.PhiForCausalLM(library.PhiConfig(**TEXT)),
    "opt, positions by the mask": lambda: library.OPTForCausalLM(
        library.OPTConfig(
            **{**TEXT, "word_embed_proj_dim": 32, "ffn_dim": 48, "hidden_size": 32, "max_position_embeddings": 256}
        )
    ),
    "bloom, distances": lambda: library.BloomForCausalLM(
        library.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)
    ),
    "mpt, distances": lambda: library.MptForCausalLM(
        library.MptConfig(vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4, max_seq_len=256)
    ),
    "falcon": lambda: library.FalconForCausalLM(
        library.FalconConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    ),
    "gpt-neox": lambda: library.GPTNeoXForCausalLM(library.GPTNeoXConfig(**TEXT)),
    "stablelm": lambda: library.StableLmForCausalLM(library.StableLmConfig(**GROUPED)),
    "mixtral, experts": lambda: library.MixtralForCausalLM(
        library.MixtralConfig(**GROUPED, num_local_experts=4, sliding_window=None)
    ),
}


def build(name: str) -> Any:
    torch.manual_seed(5)
    model = spread(ARCHITECTURES[name]().eval())
    model.generation_config = GenerationConfig()
    return model


def rows_of(model: Any, cache_bytes: int = 10**9) -> TokenRows:
    assert allows_rows(model)
    return TokenRows(model, GenerationConfig(), 0, None, cache_bytes)


def some_prompts(*lengths: int) -> list[list[int]]:
    draw = random.Random(3)
    return [[draw.randrange(3, VOCABULARY) for _ in range(length)] for length in lengths]


def alone(model: Any, prompt: Sequence[int], seed: int | None = None, **options: Any) -> list[int]:
    """What the library gives the prompt, without any of our code."""
    if seed is not None:
        torch.manual_seed(seed)
    ids = torch.tensor([list(prompt)])
    given = {"attention_mask": torch.ones_like(ids), "pad_token_id": 0, "eos_token_id": None, **options}
    made: list[int] = model.generate(ids, max_new_tokens=NEW_TOKENS, **given)[0, len(prompt) :].tolist()
    return made


class Loop:
    """Opens, reads and steps rows, as a scheduler does; `texts` by the number of the prompt."""

    def __init__(self, rows: TokenRows) -> None:
        self.rows = rows
        self.texts: dict[int, list[int]] = {}
        self._numbers: dict[Any, int] = {}
        self.most_at_once = 0

    def read(self, prompts: dict[int, Sequence[int]], piece: int, **options: Any) -> None:
        plan = self.rows.find_plan({"max_new_tokens": NEW_TOKENS, **options})
        opened = [self.rows.open_rows(prompt, plan) for prompt in prompts.values()]
        for number, (row,) in zip(prompts, opened, strict=True):
            self._numbers[row] = number
            self.texts[number] = []
        while any(row.unread for (row,) in opened):
            self.note(self.rows.read(opened, piece))
            self.step()

    def spared(self) -> list[int]:
        """By the number of the prompt: how many of its tokens were not read."""
        return [row.spared for row, _ in sorted(self._numbers.items(), key=lambda each: each[1])]

    def step(self) -> None:
        answers = list(self.rows.step())
        self.most_at_once = max(self.most_at_once, len(answers))
        self.note(answers)

    def note(self, answers: Iterable[Any]) -> None:
        for answer in answers:
            assert isinstance(answer, Chosen), answer
            assert answer.error is None, answer
            text = self.texts[self._numbers[answer.row]]
            text.append(answer.token)
            if len(text) == NEW_TOKENS:
                self.rows.release([answer.row])

    def finish(self) -> None:
        while any(len(text) < NEW_TOKENS for text in self.texts.values()):
            self.step()


def find_gap(model: Any, prompt: Sequence[int], one: Sequence[int], other: Sequence[int]) -> float:
    """Where two texts first differ: how far apart the two best scores are there, as a share of all scores' spread."""
    at = next(place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    with torch.inference_mode():
        scores = model(torch.tensor([[*prompt, *one[:at]]])).logits[0, -1]
    best = scores.topk(2).values
    return float((best[0] - best[1]) / scores.std())


def check_same(model: Any, prompts: Sequence[Sequence[int]], texts: dict[int, list[int]], expected: Any) -> None:
    for number, prompt in enumerate(prompts):
        if texts[number] != expected[number]:
            gap = find_gap(model, prompt, texts[number], expected[number])
            print(f"prompt {number} differs where the two best scores are {gap:.1e} of their spread apart")
            assert gap <= GAP, (number, texts[number], expected[number])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_that_come_and_go_get_what_each_gets_alone(name: str) -> None:
    model = build(name)
    prompts = some_prompts(12, 30, 7, 21, 5)
    expected = [alone(model, prompt, do_sample=False) for prompt in prompts]
    loop = Loop(rows_of(model))
    loop.read({0: prompts[0]}, 8)
    loop.step()
    loop.read({1: prompts[1]}, 8)  # in pieces, while the first goes on
    loop.read({2: prompts[2], 3: prompts[3]}, 64)  # together, of different lengths
    for _ in range(NEW_TOKENS - 8):
        loop.step()
    loop.read({4: prompts[4]}, 64)  # in the place of one that has ended
    loop.finish()
    assert loop.most_at_once >= 3
    check_same(model, prompts, loop.texts, expected)


@pytest.mark.parametrize("name", ["gpt2", "mistral, sliding"])
def test_seeded_rows_draw_what_each_draws_alone(name: str) -> None:
    model = build(name)
    prompts = some_prompts(12, 9, 20)
    sampled = {"do_sample": True, "temperature": 0.9, "top_k": 20, "top_p": 0.95}
    expected = [alone(model, prompt, seed=number, **sampled) for number, prompt in enumerate(prompts)]
    loop = Loop(rows_of(model))
    for number, prompt in enumerate(prompts):
        loop.read({number: prompt}, 64, seed=number, **sampled)
    loop.finish()
    check_same(model, prompts, loop.texts, expected)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bloom, distances", "mixtral, experts"])
def test_rows_that_are_multiplied_by_either_product_in_turns_get_what_each_gets_alone(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(linear_products, "LEAST_WEIGHTS", 1)  # those of tests' models are smaller
    monkeypatch.setattr(linear_products, "SAMPLES", 10**6)  # so that both go on being compared
    model = build(name)
    by_onednn: list[int] = []
    multiply = linear_products.multiply_by_onednn
    monkeypatch.setattr(
        linear_products,
        "multiply_by_onednn",
        lambda layer, inputs: by_onednn.append(inputs.shape[1]) or multiply(layer, inputs),
    )
    prompts = some_prompts(*range(5, 17))
    expected = [alone(model, prompt, do_sample=False) for prompt in prompts]
    loop = Loop(rows_of(model))
    loop.read(dict(enumerate(prompts)), 64)
    loop.finish()
    assert loop.most_at_once == len(prompts)
    assert min(by_onednn) == 1, "in steps"
    assert max(by_onednn) > 1 or name == "gpt2", "in reading, of which GPT-2's one linear layer sees the last column"
    check_same(model, prompts, loop.texts, expected)


def test_a_lone_rows_steps_are_the_librarys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_products, "LEAST_WEIGHTS", 1)
    model = build("llama")
    own: list[bool] = []
    layer = model.lm_head
    layer.register_forward_hook(lambda *_: own.append("forward" not in vars(layer)))
    loop = Loop(rows_of(model))
    loop.read({0: some_prompts(12)[0]}, 64)
    loop.finish()
    assert own == [False] + [True] * (NEW_TOKENS - 1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_another_row_began_with_is_not_read_again(name: str) -> None:
    model = build(name)
    first, second, short = some_prompts(70, 9, 12)
    loop = Loop(rows_of(model))
    loop.read({0: first}, 64)
    loop.finish()
    turn = [*first, *loop.texts[0], *second]  # of a chat that goes on
    other = [*first[:50], *second]
    prompts = [first, turn, other, short]
    expected = [alone(model, prompt, do_sample=False) for prompt in prompts]
    loop.read({1: turn}, 64)
    loop.read({2: other, 3: short}, 64)  # together, of which one shares what is being written to
    loop.finish()
    assert loop.spared() == [0, 70 + NEW_TOKENS - 1, 50 - 3, 0]
    check_same(model, prompts, loop.texts, expected)


def test_a_long_row_that_lies_alone_is_kept_without_a_copy() -> None:
    model = build("gpt2")
    (long, more, short) = some_prompts(600, 9, 70)
    rows = rows_of(model)
    loop = Loop(rows)
    loop.read({0: short}, 1000)
    loop.read({1: long}, 1000)
    batches = {batch.rows[0].prompt_tokens: batch for batch in rows._stepped}
    places = {length: [layer.keys.data_ptr() for layer in batch.cache.layers] for length, batch in batches.items()}
    allocated = batches[600].cache.columns_with(0)
    loop.finish()
    kept = {len(row.ids): row for row in rows._kept}
    spans = {length: row.parts[0][0].untyped_storage().data_ptr() for length, row in kept.items()}
    assert spans[600 + NEW_TOKENS - 1] == places[600][0]
    assert spans[70 + NEW_TOKENS - 1] != places[70][0]
    assert rows._kept.tokens == allocated + 70 + NEW_TOKENS - 1
    assert allocated <= MOST_SPARE * 600
    turn = [*long, *loop.texts[1], *more]
    loop.read({2: turn}, 1000)
    loop.finish()
    assert loop.spared()[2] == 600 + NEW_TOKENS - 1
    check_same(model, [long, turn], {0: loop.texts[1], 1: loop.texts[2]}, [
        alone(model, long, do_sample=False), alone(model, turn, do_sample=False),
    ])  # fmt: skip
    assert rows._kept.tokens == sum(row.tokens for row in rows._kept)


def test_what_was_of_use_the_longest_time_ago_makes_room() -> None:
    model = build("gpt2")
    rows = rows_of(model, 2 * 2 * 32 * 4 * 600)  # 600 tokens
    one, other, third = some_prompts(100, 100, 100)
    for prompt in (one, other, one, third, third, third, third):
        opened = rows.open_rows(prompt, rows.find_plan({"max_new_tokens": 2}))
        assert rows.has_room([opened])
        rows.read([opened], 200)
        rows.release(opened)
    assert [len(row.ids) for row in rows._kept] == [100, 100, 100]
    (large,) = some_prompts(300)
    opened = rows.open_rows(large, rows.find_plan({"max_new_tokens": 2}))
    assert rows.has_room([opened])
    assert [list(row.ids) for row in rows._kept] == [third]
    rows.read([opened], 400)
    rows.release(opened)
    assert rows._column_bytes * rows._kept.tokens <= rows._cache_bytes


def test_rows_far_apart_in_length_go_through_the_model_apart() -> None:
    model = build("gpt2")
    prompts = some_prompts(6, 700)
    expected = [alone(model, prompt, do_sample=False) for prompt in prompts]
    loop = Loop(rows_of(model))
    loop.read({0: prompts[0]}, 64)
    loop.read({1: prompts[1]}, 700)
    widths: list[int] = []
    model.register_forward_pre_hook(lambda _, __, given: widths.append(len(given["input_ids"])), with_kwargs=True)
    step = loop.rows.step()
    loop.note([next(step)])
    assert widths == [1], "who is short does not wait for the long one's pass"
    loop.note(step)
    loop.finish()
    assert widths[:2] == [1, 1]
    check_same(model, prompts, loop.texts, expected)


def test_rows_that_were_set_back_go_on_where_they_were() -> None:
    model = build("llama")
    prompts = some_prompts(12, 9)
    expected = [alone(model, prompt, do_sample=False) for prompt in prompts]
    rows = rows_of(model)
    plan = rows.find_plan({"max_new_tokens": NEW_TOKENS})
    opened = [rows.open_rows(prompt, plan) for prompt in prompts]
    made: dict[Any, list[int]] = {row: [] for (row,) in opened}

    def note(answers: Sequence[Any]) -> None:
        for answer in answers:
            made[answer.row].append(answer.token)

    note(rows.read(opened, 64))
    note(rows.step())
    rows.set_back(opened[0])
    note(rows.step())
    assert opened[0][0].unread == 12 + 2
    note(rows.read(opened[:1], 64))
    while any(len(text) < NEW_TOKENS for text in made.values()):
        note(rows.step())
    texts = {number: made[row][:NEW_TOKENS] for number, (row,) in enumerate(opened)}
    check_same(model, prompts, texts, expected)


def test_what_was_read_of_a_long_prompt_is_not_moved_while_it_is_read_on() -> None:
    rows = rows_of(build("llama"))
    (prompt,) = some_prompts(200)
    opened = rows.open_rows(prompt, rows.find_plan({"max_new_tokens": NEW_TOKENS}))
    places: list[int] = []
    while opened[0].unread:
        rows.read([opened], 16)
        assert opened[0].batch is not None
        places.append(layer_parts(opened[0].batch.cache.layers[0])[0].data_ptr())
    assert len(places) == 13
    assert len(set(places)) == 1


def test_what_all_rows_hold_stays_within_their_memory() -> None:
    model = build("gpt2")
    cache_bytes = 2 * 2 * 32 * 4 * 400  # 2 layers, keys and values, 32 numbers of 4 bytes: 400 tokens
    rows = rows_of(model, cache_bytes)
    plan = rows.find_plan({"max_new_tokens": NEW_TOKENS})
    first, *others = [rows.open_rows(prompt, plan) for prompt in some_prompts(*([40] * 12))]
    assert rows.cache_use() is None
    assert rows.has_room([first])
    rows.read([first], 64)
    joined = 0
    while rows.has_room([others[joined]]):
        rows.read([others[joined]], 64)
        joined += 1
    assert 1 <= joined < len(others)
    held = sum(part.nbytes for batch in rows._stepped for layer in batch.cache.layers for part in layer_parts(layer))
    assert held <= cache_bytes
    assert rows.cache_use() == CacheUse(used=held // (cache_bytes // 400), kept=0, room=400)
    rows.release([row for prompt in [first, *others[:joined]] for row in prompt])
    assert rows.has_room([others[-1]])
    assert not rows._stepped


def layer_parts(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.keys, layer.values


@pytest.mark.parametrize(
    ("build_model", "why"),
    [
        (
            lambda: library.T5ForConditionalGeneration(library.T5Config(d_model=16, num_layers=1, num_heads=2)),
            "encoder",
        ),
        (lambda: library.MambaForCausalLM(library.MambaConfig(hidden_size=16, num_hidden_layers=1)), "no keys"),
        (
            lambda: library.LlamaForCausalLM(
                library.LlamaConfig(**GROUPED, rope_parameters={"rope_type": "dynamic", "factor": 2.0})
            ),
            "positions by the longest row",
        ),
        (lambda: library.BertLMHeadModel(library.BertConfig(hidden_size=24, num_hidden_layers=1)), "looks ahead"),
        (
            lambda: library.BartForCausalLM(library.BartConfig(d_model=16, decoder_layers=1, vocab_size=VOCABULARY)),
            "positions by column",
        ),
    ],
)
def test_models_whose_rows_depend_on_one_another_are_left_alone(build_model: Callable[[], Any], why: str) -> None:
    assert not allows_rows(build_model()), why
