"""From what a model's files say of themselves to the task it serves: tables first, in the order they are asked.

Pure: knows no files. Follows the hub's `pipeline_tag` where the author set one, then the architecture's name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from modelyard.catalog.rankers import has_one_label

if TYPE_CHECKING:
    from modelyard.tasks.base import Task


TAG_ALIASES = {"conversational": "chat", "ner": "token-classification", "sentiment-analysis": "text-classification"}

REFINEMENTS = {
    # The hub folded text2text-generation into text-generation, and has no tag of its own for chat.
    "text-generation": {"chat", "text2text-generation"},
    # Older cards of vision encoders say feature-extraction; NLI models are tagged as classifiers by the hub's default.
    "feature-extraction": {"image-feature-extraction"},
    # The hub's default for every classifier; and such as give several scores for a pair do not rank.
    "text-classification": {"text-ranking"},
    "text-ranking": {"text-classification", "zero-shot-classification"},
    # Cards of models that read a page's words as well as its image, such as UDOP, cannot say so.
    "image-text-to-text": {"document-question-answering"},
    "any-to-any": {"image-text-to-text", "audio-text-to-text", "video-text-to-text"},
}
"""Tag → the tasks, found from the architecture, that say the same more exactly and so win over it."""

UNSERVED_TAGS = frozenset({
    "audio-to-audio", "graph-ml", "image-to-3d", "image-to-video", "keypoint-detection", "keypoint-matching",
    "multiple-choice", "reinforcement-learning", "robotics", "table-question-answering", "tabular-classification",
    "tabular-regression", "text-to-3d", "time-series-forecasting", "video-to-video", "visual-document-retrieval",
    "voice-activity-detection",
})  # fmt: skip
"""Tasks of the hub's list that have no task here: such a model is not served as what its architecture may look like.
Other words that authors write there say nothing. Source: the hub's API, GET /api/tasks."""

ARCHITECTURES = {
    "BarkModel": "text-to-speech",
    "BertGenerationDecoder": "text-generation",
    "BlipForConditionalGeneration": "image-to-text",
    "Blip2ForConditionalGeneration": "image-to-text",
    "Blip2ForImageTextRetrieval": "zero-shot-image-classification",
    "ChameleonForConditionalGeneration": "image-text-to-text",
    "DepthProModel": "image-feature-extraction",
    "DPRReader": "question-answering",
    "Emu3ForConditionalGeneration": "image-text-to-text",
    "FastSpeech2ConformerModel": "text-to-speech",
    "Florence2ForConditionalGeneration": "image-text-to-text",
    "FlaubertWithLMHeadModel": "fill-mask",
    "FuyuForCausalLM": "image-text-to-text",
    "GPT2DoubleHeadsModel": "text-generation",
    "GitForCausalLM": "image-to-text",
    "ImageGPTModel": "image-feature-extraction",
    "MarianMTModel": "translation",
    "MusicgenForConditionalGeneration": "text-to-audio",
    "MusicgenMelodyForConditionalGeneration": "text-to-audio",
    "PPFormulaNetForConditionalGeneration": "image-to-text",
    "PerceiverForImageClassificationConvProcessing": "image-classification",
    "PerceiverForImageClassificationFourier": "image-classification",
    "PerceiverForImageClassificationLearned": "image-classification",
    "Pix2StructForConditionalGeneration": "image-to-text",
    "Phi4MultimodalForCausalLM": "audio-text-to-text",
    "Qwen2_5OmniModel": "image-text-to-text",
    "NemotronH_Omni_Reasoning_V3": "image-text-to-text",
    "ReformerModelWithLMHead": "text-generation",
    "Sam2HieraDetModel": "image-feature-extraction",
    "Sam3ViTModel": "image-feature-extraction",
    "Sam3LiteTextModel": "mask-generation",
    "SpeechEncoderDecoderModel": "automatic-speech-recognition",
    "T5Gemma2ForConditionalGeneration": "image-text-to-text",
    "TimmWrapperModel": "image-feature-extraction",
    "Tipsv2Model": "zero-shot-image-classification",
    "UdopForConditionalGeneration": "document-question-answering",
    "VisionEncoderDecoderModel": "image-to-text",
    "VitsModel": "text-to-speech",
    "XLMWithLMHeadModel": "fill-mask",
}
"""Architectures whose ending alone would mislead."""

_AUDIO = ("ASTFor", "Data2VecAudioFor", "HubertFor", "SEWFor", "SEWDFor", "UniSpeechFor", "UniSpeechSatFor", "Wav2Vec2",
          "WavLMFor", "Whisper")  # fmt: skip

FAMILIES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (_AUDIO, "ForSequenceClassification", "audio-classification"),
    (("LayoutLM",), "ForQuestionAnswering", "document-question-answering"),
    (("Vilt", "Blip", "Lxmert", "VisualBert"), "ForQuestionAnswering", "visual-question-answering"),
    (("OwlViT", "Owlv2", "GroundingDino", "MMGroundingDino", "OmDetTurbo"), "ForObjectDetection",
     "zero-shot-object-detection"),
    (("Sam", "Sam2", "SamHQ", "EdgeTam"), "Model", "mask-generation"),
    (("CLIP", "Siglip", "ALIGN", "Align", "AltCLIP", "ChineseCLIP", "MetaClip", "Blip"), "Model",
     "zero-shot-image-classification"),
    (("Whisper", "Speech2Text", "Moonshine", "CohereAsr", "Canary", "KyutaiSpeech", "Qwen3ASR",
      "FunAsr", "VibeVoiceAsr", "GlmAsr", "MossTranscribe", "Nemotron3_5Transcribe", "GraniteSpeech",
      "VoxtralRealtime"),
     "ForConditionalGeneration", "automatic-speech-recognition"),
    (("Qwen2Audio", "AudioFlamingo", "MusicFlamingo", "Voxtral"), "ForConditionalGeneration", "audio-text-to-text"),
    (("VideoLlava", "LlavaNextVideo", "VideoLlama", "InstructBlipVideo"), "ForConditionalGeneration",
     "video-text-to-text"),
    (("Csm", "Dia", "GradiumPhononTTS", "HiggsAudio", "PocketTTS", "VibeVoiceFor"), "ForConditionalGeneration",
     "text-to-speech"),
    (("M2M100", "MBart", "NllbMoe", "FSMT"), "ForConditionalGeneration", "translation"),
    (("Pegasus", "BigBirdPegasus", "LED"), "ForConditionalGeneration", "summarization"),
)  # fmt: skip
"""(how the name starts, how it ends, task): families that use an ending in their own sense."""

ENDINGS: tuple[tuple[str, str], ...] = (
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("ForMaskedLM", "fill-mask"),
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForQuestionAnsweringSimple", "question-answering"),
    ("ForDocumentQuestionAnswering", "document-question-answering"),
    ("ForImageClassification", "image-classification"),
    ("ForImageClassificationWithTeacher", "image-classification"),
    ("ForAudioClassification", "audio-classification"),
    ("ForVideoClassification", "video-classification"),
    ("ForObjectDetection", "object-detection"),
    ("ForSemanticSegmentation", "image-segmentation"),
    ("ForInstanceSegmentation", "image-segmentation"),
    ("ForUniversalSegmentation", "image-segmentation"),
    ("ForSegmentation", "image-segmentation"),
    ("ForDepthEstimation", "depth-estimation"),
    ("ForMaskGeneration", "mask-generation"),
    ("ForCTC", "automatic-speech-recognition"),
    ("ForRNNT", "automatic-speech-recognition"),
    ("ForTDT", "automatic-speech-recognition"),
    ("ForSpeechSeq2Seq", "automatic-speech-recognition"),
    ("ForSpeechToText", "automatic-speech-recognition"),
    ("ForTextToSpeech", "text-to-speech"),
    ("WithHifiGan", "text-to-speech"),
    ("ForTextToWaveform", "text-to-audio"),
    ("ForVisionText2Text", "image-text-to-text"),
    ("ForTextToText", "translation"),
    ("EncoderDecoderModel", "text2text-generation"),
)

GENERATION = "ForConditionalGeneration"
BARE = ("Model", "Encoder", "Backbone", "ForPreTraining")


def detect_task(
    *,
    tag: str | None,
    tags: Collection[str],
    config: Mapping[str, Any],
    chat_template: bool,
    embeds_sentences: bool = False,
    ranks: bool = False,
) -> str | None:
    """The task of a transformers model, or None when nothing tells.

    `tag` and `tags` are the card's or the hub's; `chat_template`: the tokenizer has one; `embeds_sentences`: the
    folder is a sentence-transformers pipeline; `ranks`: a classifier of one label ranks documents.
    """
    by_shape = "sentence-similarity" if embeds_sentences else _by_config(config)
    if by_shape == "text-classification" and ranks and has_one_label(config):
        by_shape = "text-ranking"
    if by_shape == "text-generation" and (chat_template or "conversational" in tags):
        by_shape = "chat"
    tag = TAG_ALIASES.get(tag, tag) if tag else None
    if tag == "text-generation" and by_shape is None and (chat_template or "conversational" in tags):
        return "chat"
    if by_shape in REFINEMENTS.get(tag or "", ()):
        return by_shape
    if is_for_pipelines(tag):
        return None
    if is_task(tag):
        return tag
    return None if tag in UNSERVED_TAGS else by_shape


def is_for_pipelines(tag: str | None) -> bool:
    """Whether it is the id of a task that pipelines of diffusers serve, and no model of transformers does."""
    task = known_task(tag) if tag else None
    return task is not None and bool(task.heads) and all(head.endswith("-pipeline") for head in task.heads)


def is_task(tag: str | None) -> TypeGuard[str]:
    """Whether it is the id of a task, ours or one of another installed package."""
    return tag is not None and known_task(tag) is not None


def known_task(task_id: str) -> Task | None:
    """The task of that id, or None. Imports the registry, and with it numpy, only when somebody asks."""
    from modelyard.tasks.registry import find_task

    return find_task(task_id)


def architecture(config: Mapping[str, Any]) -> str | None:
    """The class that config.json names first."""
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else None


def _by_config(config: Mapping[str, Any]) -> str | None:
    name = (architecture(config) or "").removeprefix("TF").removeprefix("Flax")
    task = ARCHITECTURES.get(name) or _by_tower(name, config) or _by_family(name) or _by_ending(name)
    if task is None and name.endswith(GENERATION):
        return _by_inputs(config)
    if task is None and name.endswith(BARE):
        return "image-feature-extraction" if _sees_images_only(config) else "feature-extraction"
    if task == "text-classification" and _entails(config):
        return "zero-shot-classification"
    return task


def _by_tower(name: str, config: Mapping[str, Any]) -> str | None:
    """One half of a model that reads images and texts, published by itself."""
    name = name.removesuffix("WithProjection")
    if not {"text_config", "vision_config"}.isdisjoint(config):
        return None
    if name.endswith(("VisionModel", "VisionTransformer")):
        return "image-feature-extraction"
    return "feature-extraction" if name.endswith("TextModel") else None


def _by_family(name: str) -> str | None:
    return next((task for starts, end, task in FAMILIES if name.startswith(starts) and name.endswith(end)), None)


def _by_ending(name: str) -> str | None:
    return next((task for ending, task in ENDINGS if name.endswith(ending)), None)


def _by_inputs(config: Mapping[str, Any]) -> str:
    """`...ForConditionalGeneration` of any family: what it reads, then what it was trained for."""
    if "vision_config" in config or "thinker_config" in config:  # the latter has the eyes of models that also speak
        return "image-text-to-text"
    if "audio_config" in config:
        return "audio-text-to-text"
    trained = _keys(config.get("task_specific_params"))
    if len(trained) == 1 and trained[0] == "summarization":
        return "summarization"
    if trained and all(task.startswith("translation") for task in trained):
        return "translation"
    return "text2text-generation"


def _sees_images_only(config: Mapping[str, Any]) -> bool:
    return (
        ("vocab_size" not in config or "use_mask_token" in config)  # a vocabulary of patches, as BEiT was trained on
        and "text_config" not in config
        and not {"image_size", "num_channels", "backbone_config"}.isdisjoint(config)
    )


def _entails(config: Mapping[str, Any]) -> bool:
    """Whether the labels are those of natural language inference, which is what zero-shot classification asks."""
    labels = config.get("id2label")
    return isinstance(labels, dict) and any(str(label).lower().startswith("entail") for label in labels.values())


def _keys(value: Any) -> Sequence[str]:
    return [str(key) for key in value] if isinstance(value, dict) else []
