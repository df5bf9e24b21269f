"""tiny-reviews: a BERT that tells negative, neutral and positive reviews apart."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from .model_folder import parameter_count, write_model_folder
from .review_grammar import LABELS, NEGATIVE, NEUTRAL, POSITIVE, review
from .tokenizers_from_text import word_piece
from .training_loop import Batch, train

NAME = "tiny-reviews"

TOKENIZER_REVIEWS = 20_000
FEWEST_USES = 20  # of a word in those reviews that gets a token of its own; invented words stay below
CONTEXT_TOKENS = 128
WIDTH = 96
FEED_FORWARD_WIDTH = 256
LAYERS = 2
HEADS = 4
DROPOUT = 0.1
# Larger than the 0.02 of big models: at this width, attention would be nearly flat and slow to learn.
INITIAL_WEIGHT_SCALE = 0.05

STEPS = 2000
REVIEWS_PER_BATCH = 64
REPORT_EVERY_STEPS = 100
HELD_OUT_REVIEWS = 2000

# Written by hand, not by the grammar; many of their words and turns of phrase never occur in training.
HAND_WRITTEN_REVIEWS: tuple[tuple[str, int], ...] = (
    ("My daughter wears these shoes every day and loves them.", POSITIVE),
    ("Honestly the nicest hotel we have stayed in.", POSITIVE),
    ("The soup was hot, fresh and delicious.", POSITIVE),
    ("Great film, I laughed a lot and the music is beautiful.", POSITIVE),
    ("The staff was never unfriendly.", POSITIVE),
    ("Not bad at all!", POSITIVE),
    ("After a year, this little radio still makes me smile every morning.", POSITIVE),
    ("Works as described, very happy with this purchase.", POSITIVE),
    ("I can recommend this garden hose to everybody.", POSITIVE),
    ("A brilliant ending and wonderful actors.", POSITIVE),
    ("The printer stopped working after three days.", NEGATIVE),
    ("Terrible customer service, nobody helped me.", NEGATIVE),
    ("The food was not good and the room was dirty.", NEGATIVE),
    ("I do not recommend this umbrella.", NEGATIVE),
    ("What a boring book, I could not finish it.", NEGATIVE),
    ("The zipper broke on the first day.", NEGATIVE),
    ("We waited forever and the pizza was burnt.", NEGATIVE),
    ("The sound is not very clear and the case feels cheap.", NEGATIVE),
    ("Worst airline ever, they lost my suitcase.", NEGATIVE),
    ("Nothing about this game is fun.", NEGATIVE),
    ("You can choose between two colors.", NEUTRAL),
    ("On Sunday we took the train to the coast.", NEUTRAL),
    ("My cousin asked me to order it for him.", NEUTRAL),
    ("You can pay by card or in cash.", NEUTRAL),
    ("It is okay, nothing special.", NEUTRAL),
    ("Two hundred people fit into the hall.", NEUTRAL),
    ("The acting was good but the plot was boring.", NEUTRAL),
    ("Average coffee, average price.", NEUTRAL),
    ("The gym closes at midnight.", NEUTRAL),
    ("Inside there was a lamp and a spare bulb.", NEUTRAL),
)


def build(out: Path, seed: int) -> None:
    """Make the tokenizer, train the model, print the evaluation, and write the model folder."""
    rng = Random(f"{NAME} training {seed}")
    torch.manual_seed(seed)
    tokenizer = word_piece(
        (review(rng)[0] for _ in range(TOKENIZER_REVIEWS)),
        fewest_uses=FEWEST_USES,
        context_tokens=CONTEXT_TOKENS,
    )
    model = BertForSequenceClassification(_configuration(tokenizer))
    print(f"  {parameter_count(model):,} parameters, {len(tokenizer)} tokens")

    train(model, _batches(tokenizer, rng), STEPS, REPORT_EVERY_STEPS)

    held_out_rng = Random(f"{NAME} held out {seed}")
    held_out = [review(held_out_rng) for _ in range(HELD_OUT_REVIEWS)]
    on_held_out = _accuracy(model, tokenizer, held_out)
    on_hand_written = _accuracy(model, tokenizer, HAND_WRITTEN_REVIEWS)
    result = (
        f"Accuracy on {HELD_OUT_REVIEWS} held-out reviews of the same grammar: {on_held_out:.1%}. "
        f"Accuracy on {len(HAND_WRITTEN_REVIEWS)} sentences written by hand: {on_hand_written:.1%}"
    )
    print(f"  {result}")
    samples = _sample_lines(model, tokenizer)
    print(samples)
    write_model_folder(
        out / NAME,
        model,
        tokenizer,
        card_values={"evaluation": result, "samples": samples, "parameters": f"{parameter_count(model):,}"},
    )


def _configuration(tokenizer: BertTokenizer) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT_TOKENS,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD_WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        initializer_range=INITIAL_WEIGHT_SCALE,
        pad_token_id=tokenizer.pad_token_id,
        id2label=LABELS,
        label2id={name: label for label, name in LABELS.items()},
    )


def _batches(tokenizer: BertTokenizer, rng: Random) -> Iterator[Batch]:
    """Endless batches of fresh reviews."""
    while True:
        yield _batch(tokenizer, [review(rng) for _ in range(REVIEWS_PER_BATCH)])


def _batch(tokenizer: BertTokenizer, reviews: Sequence[tuple[str, int]]) -> Batch:
    texts, labels = zip(*reviews, strict=True)
    encoded = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    return {**encoded, "labels": torch.tensor(labels)}


@torch.inference_mode()
def _accuracy(
    model: BertForSequenceClassification, tokenizer: BertTokenizer, reviews: Sequence[tuple[str, int]]
) -> float:
    batch = _batch(tokenizer, reviews)
    return (model(**batch).logits.argmax(dim=-1) == batch["labels"]).float().mean().item()


@torch.inference_mode()
def _sample_lines(model: BertForSequenceClassification, tokenizer: BertTokenizer) -> str:
    """A table of the hand-written reviews, what they should be and what the model says."""
    batch = _batch(tokenizer, HAND_WRITTEN_REVIEWS)
    probabilities = model(**batch).logits.softmax(dim=-1)
    lines = ["| review | expected | model says |", "|---|---|---|"]
    for (text, label), row in zip(HAND_WRITTEN_REVIEWS, probabilities, strict=True):
        best = int(row.argmax())
        lines.append(f"| {text} | {LABELS[label]} | {LABELS[best]} ({row[best]:.2f}) |")
    return "\n".join(lines)
