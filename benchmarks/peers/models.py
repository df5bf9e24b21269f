"""The models and texts of the rows: random weights, so that nothing is downloaded."""

from __future__ import annotations

import random
import string
from pathlib import Path

SENTENCE = "the cat sat on the mat and looked at the dog"
PARAGRAPH = " ".join([SENTENCE] * 3)
TEXTS = 256
FEWEST_TOKENS, MOST_TOKENS = 5, 500
PROMPT_LETTERS = 60
"""Some 30 tokens: the tokenizer of the model that writes has all pairs of letters."""


def echo(folder: Path) -> None:
    """No model: a folder that names the task."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("---\npipeline_tag: echo\n---\n")


def nano(folder: Path) -> None:
    """BERT of 2 layers × 64, which takes less than a millisecond."""
    make_classifier(folder, layers=2, width=64)


def classify(folder: Path) -> None:
    """BERT of 4 layers × 256."""
    make_classifier(folder, layers=4, width=256)


def make_classifier(folder: Path, layers: int, width: int) -> None:
    """A BERT that tells yes from no."""
    import torch

    from tests.builders.sized import text_classifier

    torch.manual_seed(0)
    text_classifier(
        folder,
        vocab_size=400,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
    )


def writer(folder: Path) -> None:
    """A Llama of 27M parameters."""
    from benchmarks.generation import llama

    llama(folder)


def smollm2(folder: Path) -> None:
    """SmolLM2-135M-Instruct, with its weights, as a model that goes on with a text: with the template of conversations
    we would write 30 tokens more around each text, and no peer would."""
    from tests.builders.real import convert_smollm2

    convert_smollm2(folder)
    (folder / "chat_template.jinja").unlink()
    (folder / "README.md").write_text("---\npipeline_tag: text-generation\n---\n")


def mixed_texts() -> tuple[str, ...]:
    """Texts of 5 to 500 words, a token each, the same in every run."""
    draw = random.Random(0)
    return tuple(" ".join(["cat"] * draw.randint(FEWEST_TOKENS, MOST_TOKENS)) for _ in range(TEXTS))


def prompts() -> tuple[str, ...]:
    """Prompts of equal length that share no beginning."""
    draw = random.Random(0)
    return tuple("".join(draw.choices(string.ascii_lowercase, k=PROMPT_LETTERS)) for _ in range(TEXTS))


def shifted_letters(places: int, text: str) -> str:
    """The text with each letter so many further in the alphabet, which begins anew behind its end."""
    places %= len(string.ascii_lowercase)
    shifted = string.ascii_lowercase[places:] + string.ascii_lowercase[:places]
    return text.translate(str.maketrans(string.ascii_lowercase, shifted))
