"""One model of each kind, as `make coverage` measures all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.coverage import architectures
from tests.coverage.cases import Case, Status

KINDS = {
    "text encoder": "bert/BertForTokenClassification",
    "text encoder of two arrays more": "roc_bert/RoCBertForSequenceClassification",
    "embedding": "electra/ElectraModel",
    "decoder": "llama/LlamaForCausalLM",
    "decoder of linear attention": "mamba2/Mamba2ForCausalLM",
    "language part of a larger model": "emu3/Emu3ForCausalLM",
    "encoder-decoder": "bart/BartForConditionalGeneration",
    "vision": "vit/ViTForImageClassification",
    "detection": "detr/DetrForObjectDetection",
    "segmentation told in words what to do": "oneformer/OneFormerForUniversalSegmentation",
    "audio": "wav2vec2/Wav2Vec2ForSequenceClassification",
    "speech": "speech-encoder-decoder/SpeechEncoderDecoderModel",
    "speech along the sound": "parakeet_rnnt/ParakeetForRNNT",
    "speech along the sound by durations": "parakeet_tdt/ParakeetForTDT",
    "speech along the sound, in chunks": "nemotron_asr_streaming/NemotronAsrStreamingForRNNT",
    "speech along the sound, told the language": "nemotron3_5_asr/Nemotron3_5AsrForRNNT",
    "speech on request": "glmasr/GlmAsrForConditionalGeneration",
    "speech on request, read out of the answer": "qwen3_asr/Qwen3ASRForConditionalGeneration",
    "speech on request, of several speakers": "moss_transcribe_diarize/MossTranscribeDiarizeForConditionalGeneration",
    "speech on request, by an encoder-decoder": "canary/CanaryForConditionalGeneration",
    "audio-language": "audioflamingo3/AudioFlamingo3ForConditionalGeneration",
    "audio-language of music": "musicflamingo/MusicFlamingoForConditionalGeneration",
    "audio-language with features of its own": "granite_speech/GraniteSpeechForConditionalGeneration",
    "audio-language beside vision": "phi4_multimodal/Phi4MultimodalForCausalLM",
    "audio-language that can speak": "qwen2_5_omni_thinker/Qwen2_5OmniThinkerForConditionalGeneration",
    "vision-language": "llava/LlavaForConditionalGeneration",
    "vision-language without its part for videos": "smolvlm/SmolVLMForConditionalGeneration",
    "vision-language of patches": "qwen2_vl/Qwen2VLForConditionalGeneration",
}
"""Kind → a family and a class of it."""


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    architectures.preload()
    return {f"{case.family}/{case.name}": case for case in architectures.list_cases()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_each_kind_answers_as_the_library_does(kind: str, cases: dict[str, Case], tmp_path: Path) -> None:
    finding = architectures.check(cases[KINDS[kind]], tmp_path)
    assert finding.status is Status.EQUAL, finding.detail


def test_every_class_of_the_librarys_tables_is_a_case_once(cases: dict[str, Case]) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES

    assert len(cases) == len({case.id for case in architectures.list_cases()})
    assert {f"{family}/{name}" for family, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()} <= set(cases)
    assert {family for family, name in MODEL_MAPPING_NAMES.items()} <= {case.family for case in cases.values()}


def test_a_class_under_several_heads_is_asked_what_it_was_trained_for(cases: dict[str, Case]) -> None:
    assert cases["bart/BartForConditionalGeneration"].head == "seq2seq-lm"
    assert cases["qwen2_audio/Qwen2AudioForConditionalGeneration"].head == "multimodal-lm"
    assert cases["clip/CLIPModel"].head == "zero-shot-image-classification"
    assert cases["bert/BertModel"].head == "base"
