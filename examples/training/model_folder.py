"""Writes a trained model, its tokenizer and its model card as one Hugging Face-format folder."""

from pathlib import Path
from string import Template

from transformers import PreTrainedModel, PreTrainedTokenizerBase

CARDS = Path(__file__).parent / "cards"


def write_model_folder(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, card_values: dict[str, str]
) -> None:
    """Save everything under `folder`; cards/<folder name>.md, filled with `card_values`, is its README."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card = Template((CARDS / f"{folder.name}.md").read_text(encoding="utf-8"))
    (folder / "README.md").write_text(card.substitute(card_values), encoding="utf-8")
    size_kb = sum(file.stat().st_size for file in folder.iterdir()) / 1000
    print(f"  wrote {folder} ({size_kb:,.0f} kB)")


def parameter_count(model: PreTrainedModel) -> int:
    """How many parameters the model has; tied weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())
