"""Models whose memory is worth measuring: random weights in published shapes, of whatever size the caller asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as library

from tests.builders import tokenizers
from tests.builders.families import save

LABELS = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}


def text_classifier(folder: Path, **config: Any) -> None:
    """BERT that reads 512 tokens. `config`: as BertConfig takes it."""
    tokenizer = tokenizers.wordpiece()
    tokenizer.model_max_length = 512
    save(folder, tokenizer, library.BertForSequenceClassification(library.BertConfig(**config, **LABELS)))


def image_classifier(folder: Path, **config: Any) -> None:
    """ViT for pictures of 224 × 224 pixels. `config`: as ViTConfig takes it."""
    model = library.ViTForImageClassification(library.ViTConfig(**config, **LABELS))
    save(folder, library.ViTImageProcessorPil(), model)


def sound_classifier(folder: Path, **config: Any) -> None:
    """Wav2Vec2 that tells two kinds of sound apart. `config`: as Wav2Vec2Config takes it."""
    extractor = library.Wav2Vec2FeatureExtractor(sampling_rate=16_000, return_attention_mask=False)
    save(folder, extractor, library.Wav2Vec2ForSequenceClassification(library.Wav2Vec2Config(**config, **LABELS)))
