"""Families of models that read pages: words and where they are, images in patches, both. Each a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as library

from tests.builders import tokenizers
from tests.builders.families import labelled, save, spread
from tests.builders.multimodal import legible, save_all, small

FIELDS = ["other", "name", "place"]
TEXT: dict[str, Any] = {"vocab_size": 400, "max_position_embeddings": 64}
SIDE = 32


def layoutlm_marker(folder: Path) -> None:
    """LayoutLM that tells what each word of a page is."""
    config = library.LayoutLMConfig(**small(**TEXT, max_2d_position_embeddings=1024), **labelled(FIELDS))
    save(folder, tokenizers.wordpiece(), spread(library.LayoutLMForTokenClassification(config)))


def layoutlm_classifier(folder: Path) -> None:
    """LayoutLM that tells pages apart."""
    config = library.LayoutLMConfig(**small(**TEXT, max_2d_position_embeddings=1024), **labelled(FIELDS))
    save(folder, tokenizers.wordpiece(), spread(library.LayoutLMForSequenceClassification(config)))


def bros_marker(folder: Path) -> None:
    """BROS that tells what each word of a page is, by places from 0 to 1."""
    config = library.BrosConfig(**small(**TEXT, hidden_size=64), **labelled(FIELDS))
    save(folder, tokenizers.wordpiece(), spread(library.BrosForTokenClassification(config)))


def boxes_tokenizer(model_max_length: int) -> library.LayoutLMv3Tokenizer:
    """LayoutLMv3's, which reads words with their boxes alone."""
    trained = tokenizers.byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    state = json.loads(trained.backend_tokenizer.to_str())["model"]
    merges = [tuple(each) for each in state["merges"]]
    return library.LayoutLMv3Tokenizer(vocab=state["vocab"], merges=merges, model_max_length=model_max_length)


def layoutlmv3_qa(folder: Path) -> None:
    """LayoutLMv3 that finds answers among a page's words, and looks at its image where it has one."""
    sizes = small(vocab_size=420, max_position_embeddings=130, max_2d_position_embeddings=1024, pad_token_id=1)
    places = {"coordinate_size": 5, "shape_size": 6, "input_size": SIDE, "patch_size": 8}
    config = library.LayoutLMv3Config(**sizes, **places, num_labels=2)
    images = library.LayoutLMv3ImageProcessorPil(size={"height": SIDE, "width": SIDE})
    processor = library.LayoutLMv3Processor(image_processor=images, tokenizer=boxes_tokenizer(128))
    save_all(folder, spread(library.LayoutLMv3ForQuestionAnswering(config)), processor)


def lilt_marker(folder: Path) -> None:
    """LiLT with the tokenizer of LayoutLMv3."""
    tokenizer = boxes_tokenizer(48)
    places = {"max_position_embeddings": 64, "max_2d_position_embeddings": 1024}
    sizes = small(vocab_size=420, hidden_size=48, pad_token_id=1, **places)
    config = library.LiltConfig(**sizes, **labelled(FIELDS))
    save(folder, tokenizer, spread(library.LiltForTokenClassification(config)))


def pix2struct_config() -> library.Pix2StructConfig:
    """The config that the families of Pix2Struct share."""
    text = {"vocab_size": 420, "hidden_size": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    sees = {"hidden_size": 32, "patch_embed_hidden_size": 768, "d_ff": 64, "d_kv": 16, "num_hidden_layers": 2}
    tokens = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    vision = {**sees, "num_attention_heads": 2, "seq_len": 64}
    return library.Pix2StructConfig(text_config={**text, **tokens}, vision_config=vision, **tokens)


def _pix2struct(folder: Path, *, reads_header: bool) -> None:
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = tokenizers.byte_level(["<s>", "<pad>", "</s>", "<unk>"], **names)
    images = library.Pix2StructImageProcessorPil(max_patches=64, is_vqa=reads_header)
    processor = library.Pix2StructProcessor(image_processor=images, tokenizer=tokenizer)
    model = spread(library.Pix2StructForConditionalGeneration(pix2struct_config()))
    save_all(folder, legible(model, tokenizer), processor)


def pix2struct(folder: Path) -> None:
    """Pix2Struct that describes images."""
    _pix2struct(folder, reads_header=False)


def pix2struct_header(folder: Path) -> None:
    """Pix2Struct that reads a question above the image, as DePlot and the one for documents do."""
    _pix2struct(folder, reads_header=True)


def git_vqa(folder: Path) -> None:
    """GIT, whose answer follows the question."""
    vision = small(image_size=SIDE, patch_size=8)
    tokens = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    config = library.GitConfig(**small(**TEXT, **tokens), vision_config=vision)
    processor = library.GitProcessor(
        image_processor=library.CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=library.BertTokenizer(vocab=tokenizers.wordpiece().get_vocab()),
    )
    save_all(folder, spread(library.GitForCausalLM(config)), processor)


def udop(folder: Path) -> None:
    """UDOP that answers questions about pages from their words and their image."""
    words = sorted({word for line in tokenizers.CORPUS for word in line.split()})
    pieces = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in words), *sorted(set("".join(words)))]
    tokenizer = library.UdopTokenizer(vocab=[(piece, -1.0) for piece in pieces], model_max_length=64)
    images = library.LayoutLMv3ImageProcessorPil(size={"height": SIDE, "width": SIDE})
    config = library.UdopConfig(
        vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, image_size=SIDE,
        patch_size=8, max_2d_position_embeddings=1024, decoder_start_token_id=0,
    )  # fmt: skip
    processor = library.UdopProcessor(image_processor=images, tokenizer=tokenizer)
    save_all(folder, spread(library.UdopForConditionalGeneration(config)), processor)


FAMILIES: dict[str, Callable[[Path], None]] = {
    "layoutlm_marker": layoutlm_marker,
    "layoutlm_classifier": layoutlm_classifier,
    "bros_marker": bros_marker,
    "layoutlmv3_qa": layoutlmv3_qa,
    "lilt_marker": lilt_marker,
    "pix2struct": pix2struct,
    "pix2struct_header": pix2struct_header,
    "git_vqa": git_vqa,
    "udop": udop,
}
