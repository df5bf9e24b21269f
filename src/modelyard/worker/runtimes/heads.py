"""Heads of transformers' models: which of the library's classes loads a folder under which head, and what it must have.

Owns the tables. Loads nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import transformers
from transformers.models.auto import modeling_auto

from modelyard.errors import ModelRefused
from modelyard.tasks.base import Head

CONCEPTS = modeling_auto._LazyAutoMapping(
    modeling_auto.CONFIG_MAPPING_NAMES,
    OrderedDict({"sam3": "Sam3Model", "sam3_lite_text": "Sam3LiteTextModel"}),
)
"""As the library's own tables are, of the models that outline what a text names, for which it has none."""
HEADS: dict[Head, Any] = {
    "base": modeling_auto.MODEL_MAPPING,
    "causal-lm": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
    "seq2seq-lm": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    "masked-lm": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING,
    "sequence-classification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    "token-classification": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    "question-answering": modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    "image-classification": modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    "object-detection": modeling_auto.MODEL_FOR_OBJECT_DETECTION_MAPPING,
    "image-segmentation": modeling_auto.MODEL_FOR_IMAGE_SEGMENTATION_MAPPING,
    "semantic-segmentation": modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING,
    "instance-segmentation": modeling_auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING,
    "universal-segmentation": modeling_auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING,
    "depth-estimation": modeling_auto.MODEL_FOR_DEPTH_ESTIMATION_MAPPING,
    "mask-generation": modeling_auto.MODEL_FOR_MASK_GENERATION_MAPPING,
    "concept-segmentation": CONCEPTS,
    "zero-shot-image-classification": modeling_auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING,
    "zero-shot-object-detection": modeling_auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING,
    "image-text-to-text": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    "multimodal-lm": modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING,
    "vision-encoder-decoder": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    "visual-question-answering": modeling_auto.MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING,
    "document-question-answering": modeling_auto.MODEL_FOR_DOCUMENT_QUESTION_ANSWERING_MAPPING,
    "ctc": modeling_auto.MODEL_FOR_CTC_MAPPING,
    "rnnt": modeling_auto.MODEL_FOR_RNNT_MAPPING,
    "tdt": modeling_auto.MODEL_FOR_TDT_MAPPING,
    "speech-seq2seq": modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    "audio-classification": modeling_auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
    "video-classification": modeling_auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING,
    "text-to-waveform": modeling_auto.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING,
    "text-to-spectrogram": modeling_auto.MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING,
}
"""Head → the library's table from config class to model class. Looking a class up imports that architecture only."""

_REMOTE_CLASSES: dict[Head, str] = {
    "base": "AutoModel",
    "causal-lm": "AutoModelForCausalLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "masked-lm": "AutoModelForMaskedLM",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "image-classification": "AutoModelForImageClassification",
    "object-detection": "AutoModelForObjectDetection",
    "image-segmentation": "AutoModelForImageSegmentation",
    "semantic-segmentation": "AutoModelForSemanticSegmentation",
    "instance-segmentation": "AutoModelForInstanceSegmentation",
    "universal-segmentation": "AutoModelForUniversalSegmentation",
    "depth-estimation": "AutoModelForDepthEstimation",
    "mask-generation": "AutoModelForMaskGeneration",
    "concept-segmentation": "AutoModel",
    "zero-shot-image-classification": "AutoModelForZeroShotImageClassification",
    "zero-shot-object-detection": "AutoModelForZeroShotObjectDetection",
    "image-text-to-text": "AutoModelForImageTextToText",
    "multimodal-lm": "AutoModelForMultimodalLM",
    "vision-encoder-decoder": "AutoModelForImageTextToText",
    "visual-question-answering": "AutoModelForVisualQuestionAnswering",
    "document-question-answering": "AutoModelForDocumentQuestionAnswering",
    "ctc": "AutoModelForCTC",
    "rnnt": "AutoModelForRNNT",
    "tdt": "AutoModelForTDT",
    "speech-seq2seq": "AutoModelForSpeechSeq2Seq",
    "audio-classification": "AutoModelForAudioClassification",
    "video-classification": "AutoModelForVideoClassification",
    "text-to-waveform": "AutoModelForTextToWaveform",
    "text-to-spectrogram": "AutoModelForTextToSpectrogram",
}
"""Head → the name under which a repository's own code (`auto_map`) registers a class for it."""


def choose_class(config: Any, heads: Sequence[Head], *, remote_code: bool) -> tuple[Head, Any]:
    """The head to load and its class: the one the model was saved with if it is among `heads`, else the first known.

    Raises ModelRefused when the architecture has none of them.
    """
    auto_map = getattr(config, "auto_map", None) or {}
    found: list[tuple[Head, Any]] = []
    for head in heads:
        name = _REMOTE_CLASSES[head]
        if remote_code and name in auto_map:
            found.append((head, getattr(modeling_auto, name)))
        elif type(config) in HEADS[head]:
            kinds = HEADS[head][type(config)]
            found += [(head, kind) for kind in (kinds if isinstance(kinds, tuple) else (kinds,))]
        else:
            found += [(head, kind) for name in config.architectures or () if (kind := find_part(name, head, config))]
        if head == "question-answering":
            found += [(head, kind) for name in config.architectures or () if (kind := find_reader(name, config))]
        if head == "base":
            found += [(head, kind) for name in config.architectures or () if (kind := find_encoder(name, config))]
    if not found:
        raise ModelRefused(f"{config.model_type} models offer none of: {', '.join(heads)}.")
    saved = set(config.architectures or ())
    return next((pair for pair in found if pair[1].__name__ in saved), found[0])


def find_part(name: str, head: Head, config: Any) -> Any | None:
    """The library's class `name` where its table of `head` has it under the config of a larger model, of which this
    config is a part: a language model that was saved without its eyes. None for all others."""
    listed = HEADS[head]._model_mapping.values()
    kind = getattr(transformers, name, None)
    is_listed = any(name == each or (not isinstance(each, str) and name in each) for each in listed)
    return kind if is_listed and getattr(kind, "config_class", None) is type(config) else None


def find_reader(name: str, config: Any) -> Any | None:
    """The library's class `name` where it finds answers and the library's own table does not have it (DPR's reader)."""
    kind = getattr(transformers, name, None)
    return kind if name.endswith("Reader") and getattr(kind, "config_class", None) is type(config) else None


def find_encoder(name: str, config: Any) -> Any | None:
    """The library's class `name` where it is an encoder for this config that the library's own table does not have:
    one of two (DPR), half of a model (T5's encoder), or a tower by itself (SigLIP's for text). None for all others.
    """
    kind = getattr(transformers, name, None)
    if getattr(kind, "config_class", None) is not type(config):
        return None
    is_half = name.endswith("Encoder") or name.endswith("EncoderModel")
    is_tower = name.endswith("Model") and type(config) not in HEADS["base"]
    return kind if is_half or is_tower else None


def refuse_missing_weights(head: Head, missing: Sequence[str]) -> None:
    """Raises ModelRefused when the folder lacks weights that the answer depends on: the library fills in noise.

    A bare encoder's pooler is not used by any task, and many checkpoints come without one.
    """
    needed = sorted(key for key in missing if not (head == "base" and "pooler" in key))
    if needed:
        raise ModelRefused(
            f"The model's files hold no weights for {', '.join(needed[:3])}{' and others' if needed[3:] else ''}: "
            f"it was not trained for {head}. Choose a model of this task.",
            missing=needed,
        )
