"""Real tokenizers, one per kind that the families use, trained on a few lines of text."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import FSMTTokenizer, MBartTokenizer, PreTrainedTokenizerFast

CORPUS = [
    "Once upon a time there was a small fox who lived in the old forest by the river.",
    "The capital of France is Paris, and the capital of Germany is Berlin.",
    "I love this film! It was a wonderful story about friendship and a long journey home.",
    "Angela lives in Paris and works for the United Nations; her brother moved to New York.",
    "You are a helpful assistant. What is the weather like today? It is sunny and warm.",
    "Translate English to German: the house is wonderful. Das Haus ist wunderbar.",
    "The café served naïve piñatas; 你好世界 — こんにちは 🙂🎉 déjà vu, Ελληνικά, привет.",
    "This example is about politics, sports, science, cooking and music.",
] * 4


def sentence_pieces(size: int, **settings: Any) -> bytes:
    """A SentencePiece model of at most `size` pieces, as a file of it holds it."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=trained,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        **settings,
    )
    return trained.getvalue()


def byte_level(specials: list[str], **names: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE, as GPT-2 has it: any text can be written, and characters fall apart into bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def byte_level_of_size(size: int, specials: list[str], **names: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE with exactly `size` entries, for timings: as large to read as a published one, nothing to train.

    Beyond the bytes its entries are the pairs and triples of printable ASCII, so that nearly any token is text.
    """
    printable = [chr(code) for code in range(33, 127)]
    pairs = [(first, second) for first in printable for second in printable]
    triples = [(first + second, third) for first, second in pairs for third in printable]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = (pairs + triples)[: size - len(specials) - len(alphabet)]
    entries = [*specials, *alphabet, *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={entry: index for index, entry in enumerate(entries)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def byte_fallback(specials: list[str], **names: str) -> PreTrainedTokenizerFast:
    """Llama's kind: words marked by a leading space, rare characters as bytes."""
    words = Tokenizer(models.BPE(unk_token="<unk>"))
    lines = ["▁" + line.replace(" ", "▁") for line in CORPUS]
    # Chosen here: among equally frequent characters the trainer would keep others each time it runs.
    common = sorted(Counter("".join(lines)).items(), key=lambda pair: (-pair[1], pair[0]))[:60]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=specials,
        initial_alphabet=[character for character, _ in common],
        limit_alphabet=len(common),
        show_progress=False,
    )
    words.train_from_iterator(lines, trainer)
    learnt = json.loads(words.to_str())["model"]
    pieces = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *list(learnt["vocab"])[len(specials) :]]
    merges = [tuple(merge) for merge in learnt["merges"]]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.add_special_tokens(specials)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def wordpiece() -> PreTrainedTokenizerFast:
    """BERT's kind: lower case, word parts marked by ##."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    # Chosen here: among equally frequent pieces the trainer would keep others each time it runs.
    words = {word for line in CORPUS for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(line))}
    letters = set("".join(words))
    pieces = sorted(letters | words) + sorted(
        {f"##{letter}" for letter in letters} | {f"##{word[-2:]}" for word in words}
    )
    vocabulary = {piece: index for index, piece in enumerate([*specials, *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(specials)
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def unigram() -> PreTrainedTokenizerFast:
    """T5's kind: SentencePiece unigram, every text ended by </s>."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )


def multilingual() -> MBartTokenizer:
    """mBART's kind: the source language is a token at the end, the target language the first token made."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    words = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    return MBartTokenizer(
        vocab=[(word, -1.0 - index / 100) for word, index in words], src_lang="en_XX", tgt_lang="de_DE"
    )


def one_pair() -> FSMTTokenizer:
    """FSMT's kind: Moses' rules, then BPE, with a vocabulary for each of its two languages; has no fast form."""
    letters = sorted({letter for line in CORPUS for letter in line.lower() if letter.isascii() and letter != " "})
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *letters, *(f"{letter}</w>" for letter in letters), "th", "the</w>"]
    with TemporaryDirectory() as folder:
        source, target, merges = (Path(folder) / name for name in ("source.json", "target.json", "merges.txt"))
        source.write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}))
        target.write_text(json.dumps({piece: index for index, piece in enumerate([*pieces, "haus</w>", "ist</w>"])}))
        merges.write_text("t h\nth e</w>\n")
        return FSMTTokenizer(["en", "de"], str(source), str(target), str(merges), do_lower_case=True)
