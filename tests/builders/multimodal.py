"""Families of models that hear, see, or watch and write: each a tiny model with its real processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as library
from tokenizers import AddedToken

from tests.builders import tokenizers
from tests.builders.families import labelled, spread, write_json
from tests.builders.scripted import write_scripts

RATE = 16_000


def legible(model: Any, tokenizer: Any) -> Any:
    """The model, kept from writing tokens that are parts of characters.

    Random ones would mostly make up no character, and what a decoder shows for those depends on how many it sees.
    """
    parts = [
        index
        for token, index in tokenizer.get_vocab().items()
        if "\ufffd" in tokenizer.decode([index]) or token.startswith("<0x")
    ]
    kept = set(model.generation_config.suppress_tokens or ())
    model.generation_config.suppress_tokens = sorted(kept.union(parts))
    return model


def save_all(folder: Path, model: Any, *parts: Any) -> None:
    """Writes the model and its processors as a published repository would hold them."""
    library.utils.logging.disable_progress_bar()
    for part in parts:
        part.save_pretrained(folder)
    model.save_pretrained(folder)


def wav2vec2_config(**more: Any) -> library.Wav2Vec2Config:
    """The config that the Wav2Vec2 families share: one output per 40 samples, 400 a second."""
    return library.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16, 16),
        conv_stride=(8, 5),
        conv_kernel=(10, 5),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=16,
        feat_extract_norm="group",
        **more,
    )


def wav2vec2_classifier(folder: Path) -> None:
    """Wav2Vec2 that tells four kinds of sound apart."""
    model = library.Wav2Vec2ForSequenceClassification(wav2vec2_config(**labelled(["dog", "cat", "rain", "siren"])))
    save_all(folder, spread(model), library.Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=False))


def ast_classifier(folder: Path) -> None:
    """Audio spectrogram transformer with two labels, at a rate of 8 kHz; reads mel bands instead of samples."""
    config = library.ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        patch_size=8,
        frequency_stride=8,
        time_stride=8,
        max_length=64,
        num_mel_bins=16,
        **labelled(["music", "speech"]),
    )
    extractor = library.ASTFeatureExtractor(sampling_rate=8_000, num_mel_bins=16, max_length=64)
    save_all(folder, spread(library.ASTForAudioClassification(config)), extractor)


LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaonihsrdlumwcfgypbvkxjqz'"]


def wav2vec2_ctc(folder: Path) -> None:
    """Wav2Vec2 that spells."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", {letter: index for index, letter in enumerate(LETTERS)})
    tokenizer = library.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = library.Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=False)
    processor = library.Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer)
    model = library.Wav2Vec2ForCTC(wav2vec2_config(vocab_size=len(LETTERS), pad_token_id=0))
    save_all(folder, spread(model, 0.3), processor)


WHISPER_WINDOW_S = 2
WHISPER_MARKS = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|fr|>", "<|translate|>",
                 "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]  # fmt: skip


def whisper(folder: Path) -> None:
    """Whisper that reads windows of 2 seconds and knows three languages."""
    times = [f"<|{step * 0.02:.2f}|>" for step in range(int(WHISPER_WINDOW_S / 0.02) + 1)]
    plain = tokenizers.byte_level([])
    words = json.loads(plain.backend_tokenizer.to_str())["model"]
    tokenizer = library.WhisperTokenizer(vocab=words["vocab"], merges=[tuple(merge) for merge in words["merges"]])
    tokenizer.add_special_tokens({"additional_special_tokens": WHISPER_MARKS[1:]})
    tokenizer.add_tokens(times)
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in WHISPER_MARKS}
    end = ids["<|endoftext|>"]
    config = library.WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=WHISPER_WINDOW_S * 50,
        max_target_positions=64,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = spread(library.WhisperForConditionalGeneration(config), 0.3)
    model.generation_config = library.GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"],
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        max_length=40,
        begin_suppress_tokens=[end],
        suppress_tokens=[ids[mark] for mark in WHISPER_MARKS[1:] if mark != "<|notimestamps|>"],
        is_multilingual=True,
        lang_to_id={mark: ids[mark] for mark in ("<|en|>", "<|de|>", "<|fr|>")},
        task_to_id={task: ids[f"<|{task}|>"] for task in ("translate", "transcribe")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        max_initial_timestamp_index=50,
        alignment_heads=[[1, 0]],
    )
    extractor = library.WhisperFeatureExtractor(feature_size=16, chunk_length=WHISPER_WINDOW_S)
    save_all(
        folder, legible(model, tokenizer), library.WhisperProcessor(feature_extractor=extractor, tokenizer=tokenizer)
    )


SIDE = 32
"""Side of the square images that these models see, in pixels."""


def eyes() -> library.ViTImageProcessorPil:
    """What scales images to that side."""
    return library.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


def small(**more: Any) -> dict[str, Any]:
    """The sizes that the transformers of this file share."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return {**sizes, **more}


def vit_gpt2(folder: Path) -> None:
    """ViT that GPT-2 puts into words."""
    tokenizer = tokenizers.byte_level(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    encoder = library.ViTConfig(**small(image_size=SIDE, patch_size=8))
    decoder = library.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        is_decoder=True,
        add_cross_attention=True,
    )
    config = library.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = 0
    model = spread(library.VisionEncoderDecoderModel(config))
    model.generation_config = library.GenerationConfig(
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=0, max_length=16
    )
    save_all(folder, legible(model, tokenizer), eyes(), tokenizer)


def blip_config() -> library.BlipConfig:
    """The config that the BLIP families share."""
    text = small(
        vocab_size=400, max_position_embeddings=64, encoder_hidden_size=32, bos_token_id=2, sep_token_id=3,
        eos_token_id=3, pad_token_id=0, projection_dim=16,
    )  # fmt: skip
    vision = small(image_size=SIDE, patch_size=8, projection_dim=16)
    return library.BlipConfig(text_config=text, vision_config=vision, projection_dim=16)


def blip_processor() -> library.BlipProcessor:
    """BERT's words and images of one size."""
    image_processor = library.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    tokenizer = library.BertTokenizer(vocab=tokenizers.wordpiece().get_vocab())
    return library.BlipProcessor(image_processor=image_processor, tokenizer=tokenizer)


def blip_captioner(folder: Path) -> None:
    """BLIP that describes images, and goes on from a prompt."""
    save_all(folder, spread(library.BlipForConditionalGeneration(blip_config())), blip_processor())


def blip_vqa(folder: Path) -> None:
    """BLIP that answers questions in its own words."""
    save_all(folder, spread(library.BlipForQuestionAnswering(blip_config())), blip_processor())


def vilt_vqa(folder: Path) -> None:
    """ViLT that chooses one of five answers."""
    config = library.ViltConfig(
        **small(image_size=SIDE, patch_size=8, vocab_size=400, max_position_embeddings=64),
        **labelled(["yes", "no", "two", "red", "on the table"]),
    )
    processor = library.ViltProcessor(
        image_processor=library.ViltImageProcessorPil(size={"shortest_edge": SIDE}),
        tokenizer=library.BertTokenizer(vocab=tokenizers.wordpiece().get_vocab()),
    )
    save_all(folder, spread(library.ViltForQuestionAnswering(config)), processor)


def layoutlm_qa(folder: Path) -> None:
    """LayoutLM that finds answers among words and where they are on the page."""
    sizes = small(vocab_size=400, max_position_embeddings=64, max_2d_position_embeddings=1024)
    config = library.LayoutLMConfig(**sizes)
    save_all(folder, spread(library.LayoutLMForQuestionAnswering(config)), tokenizers.wordpiece())


DONUT_MARKS = ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"]


def donut(folder: Path) -> None:
    """Donut that reads pages without help, and answers questions about them."""
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = tokenizers.byte_level(["<s>", "<pad>", "</s>", "<unk>"], **names)
    tokenizer.add_tokens(DONUT_MARKS)
    encoder = library.DonutSwinConfig(
        image_size=[64, 32], patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    decoder = library.MBartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        max_position_embeddings=512,
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    config = library.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 0, 1, 2
    model = spread(library.VisionEncoderDecoderModel(config))
    model.generation_config = library.GenerationConfig(
        decoder_start_token_id=0, pad_token_id=1, eos_token_id=2, max_length=40
    )
    image_processor = library.DonutImageProcessorPil(size={"height": 64, "width": 32}, do_align_long_axis=False)
    save_all(
        folder, legible(model, tokenizer), library.DonutProcessor(image_processor=image_processor, tokenizer=tokenizer)
    )


BLOCK_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for block in message['content'] %}"
    "{% if block['type'] == 'text' %}{{ block['text'] }}{% else %}<{{ block['type'] }}>{% endif %}"
    "{% endfor %}{% endif %}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A chat template that puts a mark where a message has an image, a sound or a video."""


def talker(*marks: str) -> Any:
    """Llama's tokenizer with marks for turns, and for media."""
    turns = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    return tokenizers.byte_fallback(
        ["<unk>", "<s>", "</s>", "<pad>", *turns, *marks],
        unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
    )  # fmt: skip


def llama_text(tokenizer: Any) -> dict[str, Any]:
    """The language half of the models that talk about media."""
    return {
        "model_type": "llama",
        **small(num_key_value_heads=1, max_position_embeddings=512),
        "vocab_size": len(tokenizer),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }


TOOLS_TEMPLATE = "{# <tool_call> #}{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}" + BLOCK_TEMPLATE
"""The same with the functions that are offered in front."""
CALL_PIECES = ["I look.", "<tool_call>", '{"name": "look_up", ', '"arguments": ', '{"city": "Paris"}}', "</tool_call>"]
"""What `llava_caller` writes, whatever it is asked."""


def llava(folder: Path) -> None:
    """LLaVA: CLIP's eyes in front of Llama, 16 tokens for an image."""
    tokenizer = talker("<image>")
    model, processor = llava_of(tokenizer, BLOCK_TEMPLATE)
    save_all(folder, legible(spread(model), tokenizer), processor)


def llava_caller(folder: Path) -> None:
    """The same, whose template knows functions; it says something and calls one."""
    tokenizer = talker("<image>")
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in CALL_PIECES])
    model, processor = llava_of(tokenizer, TOOLS_TEMPLATE)
    script = tokenizer.convert_tokens_to_ids(["<|assistant|>", *CALL_PIECES, "<|end|>"])
    write_scripts(model.model.language_model, model.lm_head, [script])
    save_all(folder, model, processor)


def llava_of(tokenizer: Any, template: str) -> tuple[Any, Any]:
    """The model, its weights as they come, and its processor."""
    vision = {"model_type": "clip_vision_model", **small(image_size=SIDE, patch_size=8, projection_dim=16)}
    config = library.LlavaConfig(
        vision_config=vision,
        text_config=llama_text(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    image_processor = library.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    processor = library.LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=template,
    )
    return library.LlavaForConditionalGeneration(config), processor


def paligemma(folder: Path) -> None:
    """PaliGemma: SigLIP's eyes in front of Gemma; no chat template, the prompt is a plain text behind the image."""
    tokenizer = tokenizers.byte_fallback(
        ["<unk>", "<s>", "</s>", "<pad>", "<image>"],
        unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
    )  # fmt: skip
    vision = {"model_type": "siglip_vision_model", **small(image_size=SIDE, patch_size=8, projection_dim=32)}
    image_processor = library.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    image_processor.image_seq_length = 16
    processor = library.PaliGemmaProcessor(image_processor=image_processor, tokenizer=tokenizer)
    text = {
        "model_type": "gemma",
        **small(num_key_value_heads=1, max_position_embeddings=512, head_dim=16),
        "vocab_size": len(processor.tokenizer),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    config = library.PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=4, projection_dim=32, hidden_size=32
    )
    model = spread(library.PaliGemmaForConditionalGeneration(config))
    save_all(folder, legible(model, tokenizer), processor)


def qwen2_audio(folder: Path) -> None:
    """Qwen2-Audio: Whisper's ears in front of Qwen2, for sounds of up to 2 seconds."""
    tokenizer = talker("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
    audio = {
        "model_type": "qwen2_audio_encoder", "num_mel_bins": 16, "encoder_layers": 2, "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64, "d_model": 32, "max_source_positions": 100,
    }  # fmt: skip
    text = {**llama_text(tokenizer), "model_type": "qwen2"}
    config = library.Qwen2AudioConfig(
        audio_config=audio, text_config=text, audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    )
    processor = library.Qwen2AudioProcessor(
        feature_extractor=library.WhisperFeatureExtractor(feature_size=16, chunk_length=2),
        tokenizer=tokenizer,
        chat_template=BLOCK_TEMPLATE.replace("<{{ block['type'] }}>", "<|audio_bos|><|AUDIO|><|audio_eos|>"),
    )
    model = spread(library.Qwen2AudioForConditionalGeneration(config))
    save_all(folder, legible(model, tokenizer), processor)


def qwen2_vl(folder: Path) -> None:
    """Qwen2-VL: images of any shape as flattened patches; its processor has a part that wants torchvision."""
    tokenizer = talker("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in ("<|image_pad|>", "<|video_pad|>")}
    text = {**llama_text(tokenizer), "model_type": "qwen2_vl_text"}
    config = library.Qwen2VLConfig(
        text_config={**text, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}},
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    tokenizer.chat_template = BLOCK_TEMPLATE.replace(
        "<{{ block['type'] }}>", "<|vision_start|><|{{ block['type'] }}_pad|><|vision_end|>"
    )
    image_processor = library.Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 256, "longest_edge": 4096}
    )
    model = spread(library.Qwen2VLForConditionalGeneration(config))
    save_all(folder, legible(model, tokenizer), image_processor, tokenizer)


def mistral3(folder: Path) -> None:
    """Mistral 3: Pixtral's eyes, for images of any shape, in front of Mistral; its processor wants torchvision."""
    tokenizer = talker("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    tokenizer.chat_template = BLOCK_TEMPLATE.replace("<{{ block['type'] }}>", "[IMG]")
    config = library.Mistral3Config(
        vision_config={"model_type": "pixtral", **small(image_size=64, patch_size=8, head_dim=16)},
        text_config={**llama_text(tokenizer), "model_type": "mistral"},
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
    )
    image_processor = library.PixtralImageProcessorPil(size={"longest_edge": 32}, patch_size={"height": 8, "width": 8})
    model = spread(library.Mistral3ForConditionalGeneration(config))
    save_all(folder, legible(model, tokenizer), image_processor, tokenizer)
    write_json(
        folder / "processor_config.json",
        {"processor_class": "PixtralProcessor", "patch_size": 8, "spatial_merge_size": 2},
    )


def glm_ocr(folder: Path) -> None:
    """GLM-OCR: reads images as flattened patches; its processor has a part for videos that wants torchvision."""
    media = {kind: f"<|{kind}|>" for kind in ("image", "video")}
    edges = {f"{kind}_{edge}": f"<|{edge}_of_{kind}|>" for kind in media for edge in ("start", "end")}
    tokenizer = talker(*media.values(), *edges.values())
    tokenizer.chat_template = BLOCK_TEMPLATE.replace("<{{ block['type'] }}>", "<|{{ block['type'] }}|>")
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3], "partial_rotary_factor": 1.0}
    text = {**llama_text(tokenizer), "model_type": "glm_ocr_text", "head_dim": 16, "rope_parameters": rope}
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 32, "patch_size": 8,
        "image_size": 64, "spatial_merge_size": 2,
    }  # fmt: skip
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in {**media, **edges}.items()}
    config = library.GlmOcrConfig(text_config=text, vision_config=vision, **ids)
    image_processor = library.Glm46VImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 256, "longest_edge": 4096}
    )
    model = spread(library.GlmOcrForConditionalGeneration(config))
    save_all(folder, legible(model, tokenizer), image_processor, tokenizer)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    write_json(folder / "preprocessor_config.json", {**settings, "processor_class": "Glm46VProcessor"})


def moonshine(folder: Path) -> None:
    """Moonshine: an encoder-decoder that writes what it hears, straight from samples, and knows no times."""
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    tokenizer = tokenizers.byte_fallback(["<unk>", "<s>", "</s>", "<pad>"], **names)
    config = library.MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        decoder_start_token_id=1,
    )
    extractor = library.Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=True, do_normalize=False)
    model = spread(library.MoonshineForConditionalGeneration(config))
    save_all(folder, legible(model, tokenizer), extractor, tokenizer)


ACTIONS = ["running", "cooking", "dancing"]


def videomae(folder: Path) -> None:
    """VideoMAE that tells three actions apart in 4 frames."""
    config = library.VideoMAEConfig(
        **small(image_size=SIDE, patch_size=8, num_frames=4, tubelet_size=2), **labelled(ACTIONS)
    )
    processor = library.VideoMAEImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    save_all(folder, spread(library.VideoMAEForVideoClassification(config)), processor)


def timesformer(folder: Path) -> None:
    """TimeSformer that tells three actions apart in 3 frames."""
    config = library.TimesformerConfig(**small(image_size=SIDE, patch_size=8, num_frames=3), **labelled(ACTIONS))
    processor = library.VideoMAEImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    save_all(folder, spread(library.TimesformerForVideoClassification(config)), processor)


FAMILIES: dict[str, Callable[[Path], None]] = {
    "wav2vec2_classifier": wav2vec2_classifier,
    "ast_classifier": ast_classifier,
    "wav2vec2_ctc": wav2vec2_ctc,
    "whisper": whisper,
    "vit_gpt2": vit_gpt2,
    "blip_captioner": blip_captioner,
    "blip_vqa": blip_vqa,
    "vilt_vqa": vilt_vqa,
    "layoutlm_qa": layoutlm_qa,
    "donut": donut,
    "llava": llava,
    "llava_caller": llava_caller,
    "paligemma": paligemma,
    "qwen2_audio": qwen2_audio,
    "qwen2_vl": qwen2_vl,
    "mistral3": mistral3,
    "glm_ocr": glm_ocr,
    "moonshine": moonshine,
    "videomae": videomae,
    "timesformer": timesformer,
}
