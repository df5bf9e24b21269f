"""tiny-stories: a GPT-2 trained on the story grammar."""

import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from .model_folder import parameter_count, write_model_folder
from .padding import padded
from .story_grammar import story
from .tokenizers_from_text import byte_level_bpe
from .training_loop import Batch, train

NAME = "tiny-stories"
END_TOKEN = "<|endoftext|>"
PROMPT = "Once upon a time there was a"

TOKENIZER_STORIES = 4000
VOCABULARY_SIZE = 1408
CONTEXT_TOKENS = 256
WIDTH = 128
LAYERS = 5
HEADS = 4

# Training starts with the beginnings of stories. There the hero is alone, so the model soon learns to repeat
# a name it has read; with whole stories only, it takes many times longer to find that out.
SHORT_STEPS = 600
SHORT_TOKENS = 64
SHORT_STORIES_PER_BATCH = 16
LONG_STEPS = 1100
LONG_STORIES_PER_BATCH = 8
REPORT_EVERY_STEPS = 50
HELD_OUT_STORIES = 200
# Some stories begin with the end token, so that generation from an empty prompt works as well.
EMPTY_PROMPT_SHARE = 0.1
# Some stories do not begin at position 0, so that the model gets to know all its positions: no story is as long
# as the context.
SHIFTED_SHARE = 0.25
# Larger than the 0.02 of big models: at this width, attention would be nearly flat and slow to learn.
INITIAL_WEIGHT_SCALE = 0.08


def build(out: Path, seed: int) -> None:
    """Train the tokenizer and the model, print the evaluation, and write the model folder."""
    rng = Random(f"{NAME} training {seed}")
    torch.manual_seed(seed)
    tokenizer = byte_level_bpe(
        (story(rng) for _ in range(TOKENIZER_STORIES)),
        vocabulary_size=VOCABULARY_SIZE,
        context_tokens=CONTEXT_TOKENS,
        end_token=END_TOKEN,
        pad_token=END_TOKEN,
    )
    model = GPT2LMHeadModel(_configuration(tokenizer))
    print(f"  {parameter_count(model):,} parameters, {len(tokenizer)} tokens")
    train(model, _batches(tokenizer, rng), SHORT_STEPS + LONG_STEPS, REPORT_EVERY_STEPS)

    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_length=CONTEXT_TOKENS,
    )
    perplexity = _held_out_perplexity(model, tokenizer, Random(f"{NAME} held out {seed}"))
    result = f"Perplexity per token on {HELD_OUT_STORIES} held-out stories of the same grammar: {perplexity:.3f}"
    sample = _continuation(model, tokenizer, PROMPT)
    print(f"  {result}\n  sample: {sample}")
    write_model_folder(
        out / NAME,
        model,
        tokenizer,
        card_values={"evaluation": result, "sample": sample, "parameters": f"{parameter_count(model):,}"},
    )


def _configuration(tokenizer: PreTrainedTokenizerFast) -> GPT2Config:
    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT_TOKENS,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        initializer_range=INITIAL_WEIGHT_SCALE,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _batches(tokenizer: PreTrainedTokenizerFast, rng: Random) -> Iterator[Batch]:
    """Endless batches of fresh stories: first their beginnings only, then whole ones."""
    for _ in range(SHORT_STEPS):
        yield _batch(tokenizer, rng, SHORT_STORIES_PER_BATCH, SHORT_TOKENS)
    while True:
        yield _batch(tokenizer, rng, LONG_STORIES_PER_BATCH, CONTEXT_TOKENS)


def _batch(tokenizer: PreTrainedTokenizerFast, rng: Random, stories: int, most_tokens: int) -> Batch:
    rows = []
    for _ in range(stories):
        start = [tokenizer.eos_token_id] if rng.random() < EMPTY_PROMPT_SHARE else []
        rows.append((start + _token_ids(tokenizer, story(rng)))[:most_tokens])
    batch = padded(rows, labels=rows, pad_token_id=tokenizer.pad_token_id)
    length = batch["input_ids"].shape[1]
    shifts = [rng.randint(0, CONTEXT_TOKENS - length) if rng.random() < SHIFTED_SHARE else 0 for _ in rows]
    batch["position_ids"] = torch.arange(length) + torch.tensor(shifts).unsqueeze(1)
    return batch


def _token_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """A whole story with its end token."""
    return [*tokenizer(text).input_ids, tokenizer.eos_token_id]


@torch.inference_mode()
def _held_out_perplexity(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, rng: Random) -> float:
    """Perplexity per token over single stories, from the second token to the end token."""
    loss_sum, predicted_tokens = 0.0, 0
    for _ in range(HELD_OUT_STORIES):
        ids = torch.tensor([_token_ids(tokenizer, story(rng))])
        predictions = ids.shape[1] - 1
        loss_sum += model(input_ids=ids, labels=ids).loss.item() * predictions
        predicted_tokens += predictions
    return math.exp(loss_sum / predicted_tokens)


def _continuation(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    """The prompt and its greedy continuation."""
    output = model.generate(**tokenizer(prompt, return_tensors="pt"), do_sample=False)
    return tokenizer.decode(output[0], skip_special_tokens=True)
