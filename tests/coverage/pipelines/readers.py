"""Tiny parts that read a text, 32 wide: an encoder and a tokenizer of its kind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers.processors import TemplateProcessing

from tests.builders import generative, tokenizers

WIDTH = 32
"""Of what every reader here gives."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A conversation as Qwen's tokenizers write it."""
SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 37,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
}
"""Of a decoder that only reads."""

Reader = tuple[Any, Any]
"""A text encoder and its tokenizer."""


@dataclass(frozen=True)
class Whole:
    """A processor of the class `kind`, as its files alone: the library makes no object of them without torchvision."""

    kind: str
    images: Any
    tokenizer: Any
    settings: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Writes them."""
        self.images.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / "processor_config.json").write_text(json.dumps({"processor_class": self.kind, **self.settings}))


def clip(**more: Any) -> Any:
    """A text encoder with a projection."""
    return transformers.CLIPTextModelWithProjection(
        generative.clip_text_config(hidden_act="gelu", projection_dim=WIDTH, **more)
    )


def clip_of_77() -> Any:
    """One without, for pipelines that always give it 77 tokens."""
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(**{**generative.clip_text_config().to_dict(), "max_position_embeddings": 77})
    )


t5 = generative.t5
"""T5, or what is made like it."""


def roberta_tokenizer() -> Any:
    """CLAP's tokenizer."""
    trained = tokenizers.byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    state = json.loads(trained.backend_tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in state["merges"]]
    return transformers.RobertaTokenizer(vocab=state["vocab"], merges=merges, model_max_length=16)


def bert() -> Reader:
    """BERT."""
    tokenizer = tokenizers.wordpiece()
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
    )
    return transformers.BertModel(config), tokenizer


def chatglm() -> Reader:
    """ChatGLM, and its tokenizer, whose file lives in this process alone."""
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel
    from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

    file = os.memfd_create("tokenizer.model")
    os.write(file, tokenizers.sentence_pieces(200, unk_id=0, bos_id=1, eos_id=2))
    tokenizer = ChatGLMTokenizer(f"/proc/self/fd/{file}")
    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=256,
        hidden_size=WIDTH,
        ffn_hidden_size=37,
        kv_channels=8,
        num_attention_heads=4,
        seq_length=64,
        original_rope=True,
    )
    encoder = ChatGLMModel(config)
    with torch.no_grad():
        for weights in encoder.parameters():  # whose constructor leaves in them what was in the memory
            weights.normal_(0.0, 0.02) if weights.dim() > 1 else weights.fill_(1.0)
    return encoder, tokenizer


def qwen_tokenizer() -> Any:
    """Qwen's kind, with its marks of a conversation and of an image."""
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
    trained = tokenizers.byte_level([*marks, "<|video_pad|>"])
    state = json.loads(trained.backend_tokenizer.to_str())["model"]
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=state["vocab"],
        merges=[tuple(merge) for merge in state["merges"]],
        additional_special_tokens=[*marks[1:], "<|video_pad|>"],
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def qwen(kind: Any, layers: int = 2) -> Reader:
    """A text model of Qwen's, of the class `kind`."""
    tokenizer = qwen_tokenizer()
    shape = {**SHAPE, "num_hidden_layers": layers}
    return kind(kind.config_class(vocab_size=len(tokenizer), **shape)), tokenizer


def sentence_pieces(*marks: str) -> Any:
    """Llama's and Gemma's kind, with these marks: a text begins with <s>."""
    tokenizer = tokenizers.byte_fallback(
        ["<pad>", "<s>", "</s>", "<unk>", *marks],
        pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>", padding_side="right",
    )  # fmt: skip
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def decoder(kind: Any) -> Reader:
    """A text model of the class `kind` whose tokenizer is of Llama's or Gemma's kind."""
    tokenizer = sentence_pieces()
    return kind(kind.config_class(vocab_size=len(tokenizer), pad_token_id=0, **SHAPE)), tokenizer


def t5_gemma() -> Reader:
    """The half of T5Gemma that reads."""
    tokenizer = sentence_pieces()
    shape = {**SHAPE, "vocab_size": len(tokenizer), "pad_token_id": 0}
    config = transformers.T5GemmaConfig(
        encoder=shape, decoder=shape, is_encoder_decoder=False, vocab_size=len(tokenizer)
    )
    return transformers.T5GemmaEncoderModel(config), tokenizer


def qwen_that_sees() -> tuple[Any, Any, Whole]:
    """Qwen2.5-VL, its tokenizer, and the processor of both."""
    tokenizer = qwen_tokenizer()
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **{name: value for name, value in SHAPE.items() if name != "head_dim"},
            "vocab_size": len(tokenizer),
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1000000.0},
        },
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 37,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "fullatt_block_indexes": [1],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    images = transformers.Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112})
    model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    return model, tokenizer, Whole("Qwen2VLProcessor", images, tokenizer)


def llava() -> tuple[Any, Any, Any]:
    """Llava, its tokenizer, and how an image is made ready for it: as the 576 parts that HunyuanVideo counts on."""
    tokenizer = sentence_pieces("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>")
    config = transformers.LlavaConfig(
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), "pad_token_id": 0, **SHAPE},
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": WIDTH,
            "intermediate_size": 37,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 48,
            "patch_size": 2,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        pad_token_id=0,
    )
    images = transformers.CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48})
    return transformers.LlavaForConditionalGeneration(config), tokenizer, images


def mistral_that_sees(layers: int) -> tuple[Any, Whole]:
    """Mistral 3, and the processor of its texts and images."""
    tokenizer = sentence_pieces("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    tokenizer.chat_template = (
        "{% for message in messages %}[{{ message['role'] }}]{% for part in message['content'] %}{{ part['text'] }}"
        "{% endfor %}{% endfor %}"
    )
    config = transformers.Mistral3Config(
        text_config={
            "model_type": "mistral",
            "vocab_size": len(tokenizer),
            "pad_token_id": 0,
            **SHAPE,
            "num_hidden_layers": layers,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": WIDTH,
            "intermediate_size": 37,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "head_dim": 16,
            "image_size": 32,
            "patch_size": 8,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
    )
    images = transformers.PixtralImageProcessorPil(size={"longest_edge": 32}, patch_size={"height": 8, "width": 8})
    settings = {"patch_size": 8, "spatial_merge_size": 2}
    model = transformers.Mistral3ForConditionalGeneration(config)
    return model, Whole("PixtralProcessor", images, tokenizer, settings)


def gemma_that_sees() -> Reader:
    """Gemma 3."""
    tokenizer = sentence_pieces()
    config = transformers.Gemma3Config(
        text_config={"model_type": "gemma3_text", "vocab_size": len(tokenizer), "pad_token_id": 0, **SHAPE},
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": WIDTH,
            "intermediate_size": 37,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
        },
        mm_tokens_per_image=4,
    )
    return transformers.Gemma3ForConditionalGeneration(config), tokenizer
