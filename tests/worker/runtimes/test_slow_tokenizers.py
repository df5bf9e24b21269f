"""Tokenizers without a fast form: where their tokens are, long texts in windows, answers as the library's."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as library

from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.slow_tokenizers import find_offsets
from modelyard.worker.runtimes.base import load_model
from tests.builders import tokenizers
from tests.builders.families import NER_LABELS, labelled, save, spread
from tests.builders.fixtures import Ask
from tests.tasks.comparison import assert_close

TEXT = "Angela lives in Paris."
LIMIT = 64
MARK, FIND = get_task("token-classification"), get_task("question-answering")


@pytest.fixture(scope="module")
def canine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """(task) → CANINE of 2 layers, which reads at most 64 characters, special ones included; made once for each task:
    its tokenizer writes down a million characters whenever it is saved or loaded."""
    kinds = {"token-classification": "CanineForTokenClassification", "question-answering": "CanineForQuestionAnswering"}
    labels = {"token-classification": NER_LABELS, "question-answering": ["start", "end"]}

    @cache
    def load(task: str) -> Any:
        config = library.CanineConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=LIMIT, num_hash_buckets=64, **labelled(labels[task]),
        )  # fmt: skip
        folder = tmp_path_factory.mktemp(task)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            save(folder, library.CanineTokenizer(model_max_length=LIMIT), spread(getattr(library, kinds[task])(config)))
        return load_model("transformers", folder, get_task(task).heads, device="cpu")

    return load


def test_each_character_has_the_label_that_the_library_gives_it(canine: Callable[[str], Any], ask: Ask) -> None:
    model = canine("token-classification")
    own = library.CanineForTokenClassification.from_pretrained(model.path).eval()
    with torch.inference_mode():
        scores = own(**model.tokenizer(TEXT, return_tensors="pt")).logits[0, 1:-1].softmax(-1)
    found = ask(MARK, model, {"text": TEXT, "params": {"ignore_labels": []}})
    assert [(each["word"], each["start"], each["end"]) for each in found] == [
        (character, place, place + 1) for place, character in enumerate(TEXT)
    ]
    assert [each["entity"] for each in found] == [NER_LABELS[int(best)] for best in scores.argmax(-1)]
    np.testing.assert_allclose([each["score"] for each in found], scores.max(-1).values.numpy(), atol=1e-5)


def test_characters_beside_a_longer_text_are_marked_as_alone(canine: Callable[[str], Any], ask: Ask) -> None:
    model = canine("token-classification")
    bodies = [{"text": text, "params": {"ignore_labels": []}} for text in (TEXT, "Who?", TEXT[:9])]
    assert_close(ask(MARK, model, *bodies), [ask(MARK, model, body) for body in bodies])


def test_a_text_longer_than_the_model_reads_has_every_character_once(canine: Callable[[str], Any], ask: Ask) -> None:
    text = TEXT * 8
    found = ask(MARK, canine("token-classification"), {"text": text, "params": {"ignore_labels": []}})
    assert "".join(each["word"] for each in found) == text
    assert [each["start"] for each in found] == list(range(len(text)))


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_shorter_than_what_the_model_takes_for_one_token_is_answered(
    canine: Callable[[str], Any], ask: Ask, text: str
) -> None:
    found = ask(MARK, canine("token-classification"), {"text": text, "params": {"ignore_labels": []}})
    assert [each["word"] for each in found] == list(text)


@pytest.mark.parametrize("repeats", [1, 6])
def test_an_answer_is_the_span_that_the_library_scores_best(
    canine: Callable[[str], Any], ask: Ask, repeats: int
) -> None:
    model, context = canine("question-answering"), TEXT * repeats
    params = {"align_to_words": False, "max_answer_len": 5, "doc_stride": 0}
    answer = ask(FIND, model, {"question": "Who?", "context": context, "params": params})
    assert answer["answer"] == context[answer["start"] : answer["end"]]
    own = library.CanineForQuestionAnswering.from_pretrained(model.path).eval()
    room = LIMIT - len("Who?") - 3
    best = 0.0
    for start in range(0, len(context), room):
        stretch = context[start : start + room]
        with torch.inference_mode():
            logits = own(**model.tokenizer("Who?", stretch, return_tensors="pt"))
        kept = [0, *range(len("Who?") + 2, len("Who?") + 2 + len(stretch))]
        begin, end = (each[0, kept].softmax(-1)[1:] for each in (logits.start_logits, logits.end_logits))
        pairs = np.outer(begin.numpy(), end.numpy())
        best = max(best, float((np.triu(pairs) - np.triu(pairs, 5)).max()))
    assert answer["score"] == pytest.approx(best, abs=1e-5)


def test_answers_and_long_questions_are_cut_at_characters(canine: Callable[[str], Any], ask: Ask) -> None:
    body = {"question": "Who lives where? " * 9, "context": TEXT, "params": {"max_question_len": 20}}
    answer = ask(FIND, canine("question-answering"), body)
    words = answer["answer"].split(" ")
    assert all(word in TEXT.split(" ") for word in words if word)


@pytest.fixture
def rocbert(tmp_path: Path, made: Any) -> Any:
    """RoCBert: its tokenizer gives each token's shape and sound too, and knows no capitals."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "angela", "lives", "in", "par", "##is"]
    files = [tmp_path / name for name in ("vocab.txt", "shapes.json", "sounds.json")]
    files[0].write_text("\n".join(pieces))
    for file, count in zip(files[1:], (7, 5), strict=True):
        file.write_text(json.dumps({piece: index % count for index, piece in enumerate(pieces)}))

    def make() -> tuple[Any, Any]:
        config = library.RoCBertConfig(
            vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=16, pronunciation_vocab_size=8, shape_vocab_size=8, pronunciation_embed_dim=16,
            shape_embed_dim=16, **labelled(NER_LABELS),
        )  # fmt: skip
        return library.RoCBertTokenizer(*map(str, files)), library.RoCBertForTokenClassification(config)

    return made(make, "token-classification")


def test_tokens_are_found_in_their_text_with_the_librarys_labels(rocbert: Any, ask: Ask) -> None:
    own = library.RoCBertForTokenClassification.from_pretrained(rocbert.path).eval()
    wanted = library.TokenClassificationPipeline(model=own, tokenizer=rocbert.tokenizer, ignore_labels=[])(TEXT)
    found = ask(get_task("token-classification"), rocbert, {"text": TEXT, "params": {"ignore_labels": []}})
    assert [(each["word"], each["entity"]) for each in found] == [(each["word"], each["entity"]) for each in wanted]
    np.testing.assert_allclose([each["score"] for each in found], [each["score"] for each in wanted], atol=1e-5)
    places = [TEXT[each["start"] : each["end"]] for each in found]
    assert places == ["Angela", "lives", "in", "Par", "is", ""]  # the full stop is not in its vocabulary


def test_tokens_of_a_long_text_are_each_marked_once(rocbert: Any, ask: Ask) -> None:
    text = " ".join([TEXT] * 8)
    found = ask(get_task("token-classification"), rocbert, {"text": text, "params": {"ignore_labels": []}})
    assert [each["word"] for each in found] == rocbert.tokenizer.tokenize(text)
    places = [(each["start"], each["end"]) for each in found]
    assert places == find_offsets(rocbert.tokenizer, text)


def test_marks_of_words_and_capitals_are_not_of_the_text() -> None:
    tokenizer = tokenizers.one_pair()
    text = "The cat's hat, Ok."
    places = find_offsets(tokenizer, text)
    assert [text[start:end] for start, end in places][:4] == ["The", "c", "a", "t"]
    assert all(one <= other for (_, one), (other, _) in pairwise(places))
