"""A small tokenizer of any class of the library, with a vocabulary made here of a few lines of text."""

from __future__ import annotations

import inspect
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers, processors
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from tests.builders.tokenizers import CORPUS, byte_level, sentence_pieces

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
PIECES = 300
"""Of a vocabulary, beside single characters: all together stay below the vocabulary of sizes.toml."""


def small_tokenizer(family: str, extra: tuple[str, ...] = ()) -> Any:
    """A tokenizer of the class that models of type `family` have, or a general one where that class is the library's
    general one or cannot be made of a vocabulary alone. `extra`: more special tokens."""
    name = TOKENIZER_MAPPING_NAMES.get(family)
    kind = tokenizer_class_from_name(name) if name else None
    made = None
    if kind is not None and kind is not TokenizersBackend:
        try:
            made = _of_library(kind) if issubclass(kind, TokenizersBackend) else _of_files(kind)
            if len(read(made, "The house is wonderful.")["input_ids"]) < 2:
                made = None
        except Exception:  # some classes want more than a vocabulary: the general one stands in
            made = None
    tokenizer = made if made is not None else general()
    if made is None and family in CONFIG_MAPPING and getattr(CONFIG_MAPPING[family], "is_encoder_decoder", False):
        _end_texts(tokenizer)
    if extra:
        tokenizer.add_special_tokens({"additional_special_tokens": list(extra)})
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def read(tokenizer: Any, text: str, **options: Any) -> Any:
    """A text's ids; by one that reads words with boxes alone, of its words at the page's origin."""
    if "boxes" not in inspect.signature(type(tokenizer).__call__).parameters:
        return tokenizer(text, **options)
    words = text.split()
    return tokenizer(words, boxes=[[0, 0, 0, 0]] * len(words), **options)


def _end_texts(tokenizer: Any) -> None:
    """Has every text end with the end token, as encoders of encoder-decoders are used to."""
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )


def general() -> Any:
    """Byte-level pieces with the special tokens of BART, as the library's general class holds them."""
    return byte_level(
        list(SPECIALS),
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


def _of_library(kind: Any) -> Any:
    """One that the tokenizers library runs: its class takes a vocabulary, which must have its special tokens."""
    empty = kind()
    model = json.loads(empty.backend_tokenizer.to_str())["model"]
    specials = sorted(empty.get_vocab(), key=empty.get_vocab().get)
    entries = dict.fromkeys([*specials, *empty.all_special_tokens])
    kinds = {"BPE": _pairs, "WordPiece": _word_pieces, "Unigram": _unigram, "WordLevel": _word_pieces}
    return kinds[model["type"]](kind, empty, model, [str(entry) for entry in entries])


def _word_pieces(kind: Any, _empty: Any, _model: Any, entries: list[str]) -> Any:
    words = sorted({word.strip(".,!?:;").lower() for line in CORPUS for word in line.split()})
    letters = sorted({letter for line in CORPUS for letter in line.lower() if letter.strip()})
    pieces = [*entries, *letters, *(f"##{letter}" for letter in letters), *words]
    return kind(vocab={piece: place for place, piece in enumerate(dict.fromkeys(pieces))})


def _pairs(kind: Any, empty: Any, model: Any, entries: list[str]) -> Any:
    backend = empty.backend_tokenizer.to_str()
    suffix = model.get("end_of_word_suffix") or ""
    if "ByteLevel" in backend:
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        merges = [("t", "h"), ("th", "e"), ("i", "n"), ("Ġ", "t"), ("o", "n"), ("r", "e"), ("a", "n")]
    else:
        letters = [f"<0x{byte:02X}>" for byte in range(256)] if model.get("byte_fallback") else []
        letters += ["▁", *sorted({letter for line in CORPUS for letter in line if letter.strip()})]
        merges = [("t", "h"), ("th", "e"), ("i", "n"), ("▁", "t"), ("o", "n"), ("r", "e"), ("a", "n")]
    pieces = [*entries, *letters, *(f"{letter}{suffix}" for letter in letters if suffix)]
    known = set(pieces)
    merges = [pair for pair in merges if pair[0] in known | {a + b for a, b in merges}]
    pieces += [first + second for first, second in merges]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    takes = inspect.signature(kind.__init__).parameters
    return kind(vocab=vocabulary, **({"merges": merges} if "merges" in takes else {}))


def _unigram(kind: Any, empty: Any, _model: Any, entries: list[str]) -> Any:
    known = set(entries)
    pieces = [piece for piece in unigram_pieces() if piece not in known]
    scored = [
        (piece, 0.0 if place < len(entries) else -1.0 - place / 100) for place, piece in enumerate(entries + pieces)
    ]
    return kind(vocab=scored)


@cache
def unigram_pieces() -> tuple[str, ...]:
    """Pieces of the corpus's words, each first letter marked."""
    words = sorted({word.strip(".,!?:;") for line in CORPUS for word in line.split()})
    letters = sorted({letter for line in CORPUS for letter in line if letter.strip()})
    pieces = ["▁", *letters, *(f"▁{word}" for word in words)]
    return tuple(dict.fromkeys(pieces))[:PIECES]


def _of_files(kind: Any) -> Any:
    """One written in Python: it reads files, which are written here by what they are called."""
    names = kind.vocab_files_names
    if not names:
        return kind()
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for field, name in names.items():
            path = Path(folder) / name
            _write_file(path, kind)
            files[field] = str(path)
        tokenizer = kind(**files)
        tokenizer.save_pretrained(folder)
        return kind.from_pretrained(folder)


def _write_file(path: Path, kind: Any) -> None:
    letters = sorted({letter for line in CORPUS for letter in line if letter.strip()})
    words = sorted({word.strip(".,!?:;").lower() for line in CORPUS for word in line.split()})
    signature = inspect.signature(kind.__init__).parameters
    specials = [p.default for name, p in signature.items() if name.endswith("_token") and isinstance(p.default, str)]
    entries = [*specials, *letters, *(f"{letter}</w>" for letter in letters), *(f"##{letter}" for letter in letters)]
    entries = list(dict.fromkeys([*entries, *words, *(f"{word}</w>" for word in words)]))[:600]
    if path.name == "tokenizer_config.json":
        path.write_text("{}")
    elif path.suffix == ".json":
        path.write_text(json.dumps({entry: place for place, entry in enumerate(entries)}))
    elif "merges" in path.name or path.name.endswith(".codes"):
        path.write_text("#version: 0.2\nt h 10\nt h\n")
    elif path.suffix in {".model", ".spm"}:
        path.write_bytes(sentence_pieces(200, num_threads=1))
    else:
        path.write_text("\n".join(entries))
