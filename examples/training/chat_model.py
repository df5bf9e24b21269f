"""tiny-chat: a small Llama trained on the chat grammar, with a chat template in its tokenizer."""

import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .chat_facts import LARGEST_NUMBER
from .chat_grammar import ALL_TOPICS, MOST_TOPICS, NAME_TOPICS, Message, Topics, dialogue
from .model_folder import parameter_count, write_model_folder
from .padding import IGNORED_LABEL, padded
from .tokenizers_from_text import byte_level_bpe
from .training_loop import Batch, train

NAME = "tiny-chat"
END_TOKEN = "<|end|>"
PAD_TOKEN = "<|pad|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message['role'] not in ['system', 'user', 'assistant'] -%}
        {{- raise_exception('tiny-chat knows the roles system, user and assistant only') -}}
    {%- endif -%}
    {{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>\\n' -}}
{%- endif -%}"""
SAMPLE_QUESTION = "Hello, how are you?"

TOKENIZER_DIALOGUES = 8000
VOCABULARY_SIZE = 1536
CONTEXT_TOKENS = 512
MOST_ANSWER_TOKENS = 160
WIDTH = 128
FEED_FORWARD_WIDTH = 352
LAYERS = 4
HEADS = 4
KEY_VALUE_HEADS = 2

# Training starts with dialogues about names only, because repeating a name is the hardest thing to learn here.
NAME_STEPS = 320
ALL_STEPS = 1760
DIALOGUES_PER_BATCH = 16
# Dialogues are drawn in pools and sorted by length inside a pool, so that a batch has little padding.
BATCHES_PER_POOL = 16
REPORT_EVERY_STEPS = 50
HELD_OUT_DIALOGUES = 300
# Larger than the 0.02 of big models: at this width, attention would be nearly flat and slow to learn.
INITIAL_WEIGHT_SCALE = 0.08


def build(out: Path, seed: int) -> None:
    """Train the tokenizer and the model, print the evaluation, and write the model folder."""
    rng = Random(f"{NAME} training {seed}")
    torch.manual_seed(seed)
    tokenizer = _tokenizer(rng)
    model = LlamaForCausalLM(_configuration(tokenizer))
    print(f"  {parameter_count(model):,} parameters, {len(tokenizer)} tokens")
    train(model, _batches(tokenizer, rng), NAME_STEPS + ALL_STEPS, REPORT_EVERY_STEPS)

    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=MOST_ANSWER_TOKENS,
    )
    perplexity = _held_out_perplexity(model, tokenizer, Random(f"{NAME} held out {seed}"))
    right_additions = _right_additions(model, tokenizer)
    result = (
        f"Perplexity per answer token on {HELD_OUT_DIALOGUES} held-out dialogues of the same grammar: "
        f"{perplexity:.3f}. Right additions of numbers from 0 to {LARGEST_NUMBER}: {right_additions:.0%}"
    )
    sample = answer(model, tokenizer, [{"role": "user", "content": SAMPLE_QUESTION}])
    print(f"  {result}\n  sample: {SAMPLE_QUESTION} -> {sample}")
    write_model_folder(
        out / NAME,
        model,
        tokenizer,
        card_values={
            "evaluation": result,
            "question": SAMPLE_QUESTION,
            "answer": sample,
            "parameters": f"{parameter_count(model):,}",
        },
    )


def answer(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, messages: list[Message]) -> str:
    """The greedy answer to the last message."""
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(prompt, return_tensors="pt")
    output = model.generate(**inputs, do_sample=False)
    return tokenizer.decode(output[0, inputs.input_ids.shape[1] :], skip_special_tokens=True)


def _tokenizer(rng: Random) -> PreTrainedTokenizerFast:
    tokenizer = byte_level_bpe(
        (message["content"] for _ in range(TOKENIZER_DIALOGUES) for message in dialogue(rng)),
        vocabulary_size=VOCABULARY_SIZE,
        context_tokens=CONTEXT_TOKENS,
        end_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        other_special_tokens=ROLE_TOKENS,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _configuration(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT_TOKENS,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD_WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        tie_word_embeddings=True,
        initializer_range=INITIAL_WEIGHT_SCALE,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _batches(tokenizer: PreTrainedTokenizerFast, rng: Random) -> Iterator[Batch]:
    """Endless batches of fresh dialogues of similar length: first about names, then about everything."""
    for _ in range(NAME_STEPS // BATCHES_PER_POOL):
        yield from _pool(tokenizer, rng, NAME_TOPICS, most_topics=1)
    while True:
        yield from _pool(tokenizer, rng, ALL_TOPICS, most_topics=MOST_TOPICS)


def _pool(tokenizer: PreTrainedTokenizerFast, rng: Random, topics: Topics, most_topics: int) -> Iterator[Batch]:
    dialogues = [dialogue(rng, topics, most_topics) for _ in range(BATCHES_PER_POOL * DIALOGUES_PER_BATCH)]
    rows = [_token_ids(tokenizer, messages) for messages in dialogues]
    rows.sort(key=len)
    starts = list(range(0, len(rows), DIALOGUES_PER_BATCH))
    rng.shuffle(starts)
    for start in starts:
        yield _batch(tokenizer, rows[start : start + DIALOGUES_PER_BATCH])


def _batch(tokenizer: PreTrainedTokenizerFast, rows: list[list[int]]) -> Batch:
    """The rows, with labels only where the assistant speaks."""
    return padded(rows, labels=[_labels(tokenizer, row) for row in rows], pad_token_id=tokenizer.pad_token_id)


def _token_ids(tokenizer: PreTrainedTokenizerFast, messages: list[Message]) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    return tokenizer(text).input_ids[:CONTEXT_TOKENS]


def _labels(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> list[int]:
    """The ids of the answers with their end tokens; everything else is ignored."""
    assistant = tokenizer.convert_tokens_to_ids("<|assistant|>")
    labels, in_answer = [], False
    for token in ids:
        labels.append(token if in_answer else IGNORED_LABEL)
        if token == assistant:
            in_answer = True
        elif token == tokenizer.eos_token_id:
            in_answer = False
    return labels


@torch.inference_mode()
def _held_out_perplexity(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rng: Random) -> float:
    loss_sum, predicted_tokens = 0.0, 0
    for _ in range(HELD_OUT_DIALOGUES):
        batch = _batch(tokenizer, [_token_ids(tokenizer, dialogue(rng))])
        predictions = int((batch["labels"] != IGNORED_LABEL).sum())
        loss_sum += model(**batch).loss.item() * predictions
        predicted_tokens += predictions
    return math.exp(loss_sum / predicted_tokens)


def _right_additions(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> float:
    """The share of right answers to every "What is a + b?" that the grammar can ask."""
    numbers = range(LARGEST_NUMBER + 1)
    right = 0
    for first in numbers:
        for second in numbers:
            question = {"role": "user", "content": f"What is {first} + {second}?"}
            right += answer(model, tokenizer, [question]).endswith(f" is {first + second}.")
    return right / len(numbers) ** 2
