from typing import Any

import pytest

from modelyard.catalog.architectures import detect_task, is_for_pipelines
from modelyard.tasks.registry import OURS


def task(architecture: str, tag: str | None = None, *tags: str, chat: bool = False, **config: Any) -> str | None:
    return detect_task(tag=tag, tags=tags, config={"architectures": [architecture], **config}, chat_template=chat)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("GPT2LMHeadModel", "text-generation"),
        ("LlamaForCausalLM", "text-generation"),
        ("T5ForConditionalGeneration", "text2text-generation"),
        ("BartForConditionalGeneration", "text2text-generation"),
        ("PegasusForConditionalGeneration", "summarization"),
        ("MarianMTModel", "translation"),
        ("M2M100ForConditionalGeneration", "translation"),
        ("MBartForConditionalGeneration", "translation"),
        ("BertForMaskedLM", "fill-mask"),
        ("BertForSequenceClassification", "text-classification"),
        ("BertForTokenClassification", "token-classification"),
        ("BertForQuestionAnswering", "question-answering"),
        ("BertModel", "feature-extraction"),
        ("LayoutLMForQuestionAnswering", "document-question-answering"),
        ("LayoutLMv3ForQuestionAnswering", "document-question-answering"),
        ("ViltForQuestionAnswering", "visual-question-answering"),
        ("BlipForQuestionAnswering", "visual-question-answering"),
        ("BlipForConditionalGeneration", "image-to-text"),
        ("VisionEncoderDecoderModel", "image-to-text"),
        ("ViTForImageClassification", "image-classification"),
        ("SegformerForSemanticSegmentation", "image-segmentation"),
        ("Mask2FormerForUniversalSegmentation", "image-segmentation"),
        ("DetrForSegmentation", "image-segmentation"),
        ("YolosForObjectDetection", "object-detection"),
        ("OwlViTForObjectDetection", "zero-shot-object-detection"),
        ("GroundingDinoForObjectDetection", "zero-shot-object-detection"),
        ("DPTForDepthEstimation", "depth-estimation"),
        ("SamModel", "mask-generation"),
        ("Sam3TrackerModel", "mask-generation"),
        ("TimmWrapperForImageClassification", "image-classification"),
        ("TimmWrapperModel", "image-feature-extraction"),
        ("NemotronH_Omni_Reasoning_V3", "image-text-to-text"),
        ("CLIPModel", "zero-shot-image-classification"),
        ("SiglipModel", "zero-shot-image-classification"),
        ("Wav2Vec2ForCTC", "automatic-speech-recognition"),
        ("WhisperForConditionalGeneration", "automatic-speech-recognition"),
        ("Wav2Vec2ForSequenceClassification", "audio-classification"),
        ("ASTForAudioClassification", "audio-classification"),
        ("VideoMAEForVideoClassification", "video-classification"),
        ("VitsModel", "text-to-speech"),
        ("SpeechT5ForTextToSpeech", "text-to-speech"),
        ("DiaForConditionalGeneration", "text-to-speech"),
        ("MusicgenForConditionalGeneration", "text-to-audio"),
        ("Qwen2AudioForConditionalGeneration", "audio-text-to-text"),
        ("VideoLlavaForConditionalGeneration", "video-text-to-text"),
        ("IdeficsForVisionText2Text", "image-text-to-text"),
        ("TableTransformerForNothingKnown", None),
        ("CLIPVisionModel", "image-feature-extraction"),
        ("CLIPVisionModelWithProjection", "image-feature-extraction"),
        ("SiglipVisionModel", "image-feature-extraction"),
        ("CLIPTextModel", "feature-extraction"),
        ("CLIPTextModelWithProjection", "feature-extraction"),
        ("ImageGPTModel", "image-feature-extraction"),
        ("BertGenerationDecoder", "text-generation"),
        ("ReformerModelWithLMHead", "text-generation"),
        ("LiltForQuestionAnswering", "question-answering"),
        ("T5Gemma2ForConditionalGeneration", "image-text-to-text"),
    ],
)
def test_the_architecture_tells_the_task(architecture: str, expected: str | None) -> None:
    assert task(architecture) == expected


def test_what_a_generator_reads_tells_its_task() -> None:
    assert task("LlavaForConditionalGeneration", vision_config={}) == "image-text-to-text"
    assert task("NewAudioForConditionalGeneration", audio_config={}) == "audio-text-to-text"


def test_a_bare_vision_model_gives_image_features() -> None:
    assert task("ViTModel", image_size=224, num_channels=3) == "image-feature-extraction"


def test_labels_of_inference_make_a_zero_shot_classifier() -> None:
    labels = {"0": "contradiction", "1": "neutral", "2": "ENTAILMENT"}

    assert task("BartForSequenceClassification", id2label=labels) == "zero-shot-classification"
    assert task("BartForSequenceClassification", "text-classification", id2label=labels) == "text-classification"


def test_the_one_thing_a_model_was_trained_for_counts() -> None:
    assert task("BartForConditionalGeneration", task_specific_params={"summarization": {}}) == "summarization"
    many = {"summarization": {}, "translation_en_to_de": {}}
    assert task("T5ForConditionalGeneration", task_specific_params=many) == "text2text-generation"


def test_the_authors_tag_wins_over_the_architecture() -> None:
    assert task("T5ForConditionalGeneration", "summarization") == "summarization"
    assert task("BertModel", "sentence-similarity") == "sentence-similarity"
    assert task("VisionEncoderDecoderModel", "document-question-answering") == "document-question-answering"


def test_a_tag_that_is_no_task_anywhere_is_passed_over() -> None:
    assert task("BertForMaskedLM", "my-own-words") == "fill-mask"


def test_a_task_of_the_hub_that_is_not_served_is_not_taken_for_what_the_architecture_looks_like() -> None:
    assert task("BertForMaskedLM", "reinforcement-learning") is None
    assert task("TapasForQuestionAnswering", "table-question-answering") is None


def test_a_chat_template_or_tag_on_a_causal_model_makes_it_chat() -> None:
    assert task("LlamaForCausalLM", chat=True) == "chat"
    assert task("LlamaForCausalLM", "text-generation", "conversational") == "chat"
    assert task("UnseenArchitecture", "text-generation", "conversational") == "chat"


def test_a_chat_template_elsewhere_changes_nothing() -> None:
    assert task("T5ForConditionalGeneration", chat=True) == "text2text-generation"
    assert task("LlavaForConditionalGeneration", chat=True, vision_config={}) == "image-text-to-text"


def test_the_hubs_one_tag_for_all_generators_is_refined() -> None:
    assert task("T5ForConditionalGeneration", "text-generation") == "text2text-generation"
    assert task("GPT2LMHeadModel", "text-generation") == "text-generation"
    assert task("LlavaForConditionalGeneration", "any-to-any", vision_config={}) == "image-text-to-text"


def test_there_are_38_tasks() -> None:
    assert len(OURS) == 38


def test_every_task_can_be_told_from_files_or_a_tag() -> None:
    ids = {each.id for each in OURS}
    for_pipelines = {each for each in ids if is_for_pipelines(each)}
    assert {task("BertModel", tag) for tag in ids - for_pipelines} >= ids - {"feature-extraction"} - for_pipelines
    assert {task("BertModel", tag) for tag in for_pipelines} == {None}


@pytest.mark.imports_models
def test_native_model_types_are_those_of_the_library() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    from modelyard.catalog.library import native_model_types

    assert native_model_types() == set(CONFIG_MAPPING_NAMES)


@pytest.mark.imports_models
def test_no_architecture_of_the_library_with_a_head_is_misread() -> None:
    """The library's own tables, task by task, against ours."""
    import transformers.models.auto.modeling_auto as tables

    expected = {
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES": "image-classification",
        "MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES": "video-classification",
        "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES": "object-detection",
        "MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES": "depth-estimation",
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES": "token-classification",
        "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES": "image-segmentation",
        "MODEL_FOR_CTC_MAPPING_NAMES": "automatic-speech-recognition",
        "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES": "audio-classification",
        "MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES": "zero-shot-object-detection",
        "MODEL_FOR_MASK_GENERATION_MAPPING_NAMES": "mask-generation",
        "MODEL_FOR_DOCUMENT_QUESTION_ANSWERING_MAPPING_NAMES": "document-question-answering",
    }
    misread = [
        (name, task(name))
        for table, right in expected.items()
        for names in getattr(tables, table).values()
        for name in ([names] if isinstance(names, str) else names)
        if task(name) != right
    ]

    assert misread == []


@pytest.mark.imports_models
@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("BeitModel", "image-feature-extraction"),
        ("ViTModel", "image-feature-extraction"),
        ("Qwen2_5OmniForConditionalGeneration", "image-text-to-text"),
        ("LlavaForConditionalGeneration", "image-text-to-text"),
        ("BertModel", "feature-extraction"),
    ],
)
def test_the_config_that_the_library_writes_tells_what_a_model_reads(architecture: str, expected: str) -> None:
    import transformers

    config = getattr(transformers, architecture).config_class().to_dict()

    assert task(architecture, **{name: value for name, value in config.items() if name != "architectures"}) == expected
