"""Models in whose answers padding shows: texts of other lengths beside one change nothing of its answer."""

from __future__ import annotations

from typing import Any

import pytest
import transformers as library

from modelyard.tasks.registry import get_task
from tests.builders import tokenizers
from tests.builders.families import NER_LABELS, labelled
from tests.builders.fixtures import Ask
from tests.tasks.comparison import assert_close

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXTS = ["a fox", "the cat", "Once upon a time there was a small fox who lived in the old forest."]
MASKED = ["the [MASK] cat", "Once upon a time there was a small [MASK] who lived in the old forest."]
CLASSES, ENTITIES = labelled(["low", "high"]), labelled(NER_LABELS)
FUNNEL = {"block_sizes": [1, 1], "num_decoder_layers": 1, "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64}
BOTTLENECK = {"embedding_size": 16, "true_hidden_size": 16, "intra_bottleneck_size": 16}


def bert_like(kind: str, config: str, **more: Any) -> Any:
    """Any model over the tokenizer of BERT's kind."""
    return tokenizers.wordpiece(), getattr(library, kind)(getattr(library, config)(vocab_size=400, **more))


MODELS = {
    "convbert": lambda: bert_like(
        "ConvBertForSequenceClassification", "ConvBertConfig", embedding_size=32, **SMALL, **CLASSES
    ),
    "fnet": lambda: bert_like(
        "FNetForSequenceClassification", "FNetConfig", use_tpu_fourier_optimizations=False, **SMALL, **CLASSES
    ),
    "funnel": lambda: bert_like("FunnelForMaskedLM", "FunnelConfig", **FUNNEL),
    "mobilebert": lambda: bert_like(
        "MobileBertForTokenClassification", "MobileBertConfig", **SMALL, **BOTTLENECK, **ENTITIES
    ),
    "xlnet": lambda: bert_like(
        "XLNetForSequenceClassification", "XLNetConfig", d_model=32, n_layer=2, n_head=2, d_inner=32, **CLASSES
    ),
}


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("convbert", "text-classification"),
        ("fnet", "text-classification"),
        ("funnel", "fill-mask"),
        ("mobilebert", "token-classification"),
        ("xlnet", "text-classification"),
    ],
)
def test_texts_together_are_answered_as_each_alone(made: Any, ask: Ask, name: str, task: str) -> None:
    model, served = made(MODELS[name], task), get_task(task)
    if name == "fnet":
        model.tokenizer.model_input_names = ["input_ids", "token_type_ids"]  # as its own tokenizer says
    bodies = [{"text": text} for text in (MASKED if task == "fill-mask" else TEXTS)]
    alone = [ask(served, model, body) for body in bodies]
    assert_close(ask(served, model, *bodies), alone)
