"""Makes tokenizers from text: byte-level BPE for the two generators, WordPiece for the classifier."""

import string
from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, PreTrainedTokenizerFast

LETTERS = string.ascii_lowercase + string.digits
CHARACTERS = LETTERS + string.punctuation


def byte_level_bpe(
    texts: Iterable[str],
    vocabulary_size: int,
    context_tokens: int,
    end_token: str,
    pad_token: str,
    other_special_tokens: tuple[str, ...] = (),
) -> PreTrainedTokenizerFast:
    """A GPT-2 style tokenizer. All 256 bytes are in its alphabet, so any text survives a round trip."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    special_tokens = list(dict.fromkeys((end_token, pad_token, *other_special_tokens)))
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=end_token,
        eos_token=end_token,
        pad_token=pad_token,
        model_max_length=context_tokens,
        clean_up_tokenization_spaces=False,
    )


def word_piece(texts: Iterable[str], fewest_uses: int, context_tokens: int) -> BertTokenizer:
    """A lower-casing BERT tokenizer that knows the frequent words whole and spells all others in letters.

    Its vocabulary is counted here because the WordPiece trainer of `tokenizers` gives another one in each run.
    """
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    uses = Counter(word for text in texts for word, _span in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    words = sorted(word for word, count in uses.items() if count >= fewest_uses and word not in CHARACTERS)
    later_letters = [f"##{letter}" for letter in LETTERS]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *later_letters, *words]
    return BertTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        do_lower_case=True,
        model_max_length=context_tokens,
    )
