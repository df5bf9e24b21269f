"""Encoders that the library's table of base models does not have: one of two, half of a model, a tower by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as library

from modelyard.errors import InvalidRequest
from modelyard.tasks.registry import get_task
from tests.builders import tokenizers
from tests.builders.fixtures import Ask

EMBED = get_task("feature-extraction")
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TEXTS = ["the cat", "Once upon a time there was a small fox who lived in the old forest."]


def question_encoder() -> tuple[Any, Any]:
    """DPR's, which is the one that the library takes for the type."""
    config = library.DPRConfig(vocab_size=400, max_position_embeddings=64, **SMALL)
    return tokenizers.wordpiece(), library.DPRQuestionEncoder(config)


def context_encoder() -> tuple[Any, Any]:
    """DPR's other one."""
    config = library.DPRConfig(vocab_size=400, max_position_embeddings=64, **SMALL)
    return tokenizers.wordpiece(), library.DPRContextEncoder(config)


def t5_encoder() -> tuple[Any, Any]:
    """T5 without its decoder, as sentence-t5 has it."""
    config = library.T5Config(vocab_size=300, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    return tokenizers.unigram(), library.T5EncoderModel(config)


def siglip_text() -> tuple[Any, Any]:
    """SigLIP's tower for texts."""
    config = library.SiglipTextConfig(vocab_size=400, max_position_embeddings=64, **SMALL)
    return tokenizers.wordpiece(), library.SiglipTextModel(config)


def flava() -> tuple[Any, Any]:
    """FLAVA, which reads images too."""
    config = library.FlavaConfig(
        text_config={"vocab_size": 400, "max_position_embeddings": 64, **SMALL},
        image_config={"image_size": 32, "patch_size": 8, **SMALL},
        multimodal_config=SMALL,
        hidden_size=32,
        projection_dim=16,
    )
    return tokenizers.wordpiece(), library.FlavaModel(config)


def fsmt() -> tuple[Any, Any]:
    """FSMT, whose encoder is no model by itself."""
    tokenizer = tokenizers.one_pair()
    sizes = {"src_vocab_size": tokenizer.src_vocab_size, "tgt_vocab_size": tokenizer.tgt_vocab_size}
    config = library.FSMTConfig(
        langs=["en", "de"], d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64, **sizes,
    )  # fmt: skip
    return tokenizer, library.FSMTModel(config)


@pytest.mark.parametrize(
    ("make", "kind", "output"),
    [
        (question_encoder, "DPRQuestionEncoder", "pooler_output"),
        (context_encoder, "DPRContextEncoder", "pooler_output"),
        (t5_encoder, "T5EncoderModel", "last_hidden_state"),
        (siglip_text, "SiglipTextModel", "last_hidden_state"),
        (flava, "FlavaModel", "text_embeddings"),
        (fsmt, "FSMTModel", "encoder_last_hidden_state"),
    ],
)
def test_each_is_loaded_with_its_own_class_and_gives_the_librarys_vector(
    made: Any, ask: Ask, make: Any, kind: str, output: str
) -> None:
    model = made(make, "feature-extraction")
    own = getattr(library, kind).from_pretrained(model.path).eval()
    wanted = []
    for text in TEXTS:
        with torch.inference_mode():
            states = own(**model.tokenizer(text, return_tensors="pt"))[output][0]
        wanted.append((states if output == "pooler_output" else states.mean(0)).numpy())
    np.testing.assert_allclose(ask(EMBED, model, {"text": TEXTS}), wanted, atol=1e-5)


def test_one_vector_is_pooled_by_nobody(made: Any, ask: Ask) -> None:
    model = made(question_encoder, "feature-extraction")
    answer = ask(EMBED, model, {"text": TEXTS[0], "params": {"pooling": "cls"}})
    assert isinstance(answer, InvalidRequest)
    assert (
        answer.message == "params.pooling: got 'cls'; accepted: nothing: this model makes one vector of a text itself"
    )
