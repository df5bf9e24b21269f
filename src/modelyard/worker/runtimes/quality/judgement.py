"""Asks an original and a graph made of it the same, and compares the answers by what the head is for."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from modelyard.records.variants import Cache, Figure
from modelyard.tasks.base import Call, Head
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.embedding import EmbeddingParams, embed
from modelyard.tasks.shared.encoding import NAMES, Row, collate, encode, forward_each
from modelyard.tasks.shared.scores import softmax, to_scores, trained_function
from modelyard.worker.runtimes.comparison import ask_graph, ask_original
from modelyard.worker.runtimes.export import Export
from modelyard.worker.runtimes.graph import Graph
from modelyard.worker.runtimes.onnx import OnnxModel
from modelyard.worker.runtimes.onnx_generation import CausalGraph, positions_of
from modelyard.worker.runtimes.onnx_session import Session
from modelyard.worker.runtimes.quality import figures
from modelyard.worker.runtimes.quality.samples import passages, pictures, sentences
from modelyard.worker.runtimes.transformers import TransformersModel

ROWS = (1, 4, 16)
"""How many samples run together where rounding is measured."""
PASSAGE_TOKENS = 128
"""Of each passage, half is read at once, as a prompt, and half token by token, as an answer is written."""
Answers = Callable[[Model], Sequence[Array]]


class Judge(NamedTuple):
    """How models of one head are compared: what each is asked, and how the answers are."""

    answers: Answers
    compare: Callable[[Sequence[Array], Sequence[Array]], tuple[Figure, ...]]


class Judgement:
    """One original, asked once, and the graphs made of it, each compared with what it answered."""

    def __init__(self, export: Export, original: TransformersModel) -> None:
        self._export, self._original = export, original
        self._judge = None if export.cache else find_judge(export.head, original)
        self._texts = [] if self._judge else [tokens for tokens in encode_passages(original) if len(tokens) > 1]
        with torch.inference_mode():
            self._wanted = self._judge.answers(original) if self._judge else [self._read(text) for text in self._texts]

    def compare(self, file: Path) -> tuple[Figure, ...]:
        """The figures of the graph in `file`."""
        if self._judge:
            return self._judge.compare(self._wanted, self._judge.answers(self._graph(file)))
        assert self._export.cache is not None  # noqa: S101 - no other has no judge
        graph = open_graph(file, self._original, self._export.cache)
        with torch.inference_mode():
            got = [read_on(graph, text) for text in self._texts]
        return figures.compare_words(self._wanted, got, [text[half(text) :] for text in self._texts])

    def _graph(self, file: Path) -> OnnxModel:
        original = self._original
        session = Session(file)
        return OnnxModel(
            original.path, original.max_length, original.module.config, session, original.tokenizer, original.processor
        )

    def _read(self, text: Array) -> Array:
        """The probabilities that the original gives each token of the second half of a text."""
        logits = self._original.module(input_ids=torch.from_numpy(text)[None]).logits
        return softmax(logits[0, half(text) - 1 : -1].float().numpy())


def measure_difference(export: Export, graph: Graph, original: TransformersModel) -> float:
    """How far rounding goes: the largest difference between an output of the graph, which computes in 32 bits
    as its original does, and the original's, over the standard deviation of that, for samples in batches of ROWS."""
    worst = 0.0
    for rows in ROWS:
        given = sample_batch(export, original, rows)
        inputs = [torch.from_numpy(given[name]) for name in export.inputs]
        mask = given.get("attention_mask")
        for got, wanted in zip(ask_graph(graph, export, inputs), ask_original(export, inputs), strict=True):
            if mask is not None and wanted.shape[:2] == mask.shape:  # what stands for padding is nobody's answer
                got, wanted = got[mask.astype(bool)], wanted[mask.astype(bool)]
            difference, spread = float(np.max(np.abs(got - wanted))), float(np.std(wanted))
            found = difference / spread if spread else (0.0 if difference == 0 else math.inf)
            worst = max(worst, math.inf if math.isnan(found) else found)
    return worst


def sample_batch(export: Export, original: TransformersModel, rows: int) -> Mapping[str, Array]:
    """The graph's inputs for the first samples, at most as many as there are."""
    if export.image_size is not None:
        pictures_seen = list(islice(prepare_pictures(original), rows))
        return {name: np.concatenate([each[name] for each in pictures_seen]) for name in export.inputs}
    return fill_in(export, collate(original, encode(original, sentences()[:rows])))


def fill_in(export: Export, given: Mapping[str, Array]) -> Mapping[str, Array]:
    """The graph's inputs, zeros for those that the tokenizer does not make."""
    return {name: given.get(name, np.zeros_like(given[NAMES[0]])) for name in export.inputs}


def find_judge(head: Head, original: TransformersModel) -> Judge:
    """How models of this head are compared, other than those that write text."""
    if head == "base":
        return Judge(ask_for_vectors, lambda wanted, got: figures.compare_vectors(np.stack(wanted), np.stack(got)))
    if trained_function(original) == "none" and head in ("sequence-classification", "image-classification"):
        return Judge(JUDGES[head], figures.compare_scores)
    return Judge(JUDGES[head], figures.compare_probabilities)


def ask_for_vectors(model: Model) -> Sequence[Array]:
    """Each sentence's vector, as the tasks make it."""
    call: Call[Any, EmbeddingParams] = Call(None, EmbeddingParams())
    return [np.array(vector) for vector in embed(model, [(call, sentence) for sentence in sentences()])]


def ask_for_labels(model: Model) -> Sequence[Array]:
    """The scores of each sentence's labels."""
    return forward_each(
        model, encode(model, sentences()), lambda found, place, _: to_scores(found["logits"][place], model)
    )


def ask_for_token_labels(model: Model) -> Sequence[Array]:
    """The probabilities of the labels of each token of the sentences."""

    def read(found: Mapping[str, Array], place: int, row: Row) -> Array:
        return softmax(found["logits"][place, : len(row["input_ids"])])

    return [token for sentence in forward_each(model, encode(model, sentences()), read) for token in sentence]


def ask_for_words(model: Model) -> Sequence[Array]:
    """The probabilities of what stands where one token of each sentence is hidden, the one in its middle."""
    rows = []
    for row in encode(model, sentences()):
        ids = [*row["input_ids"]]
        ids[len(ids) // 2] = model.tokenizer.mask_token_id
        rows.append({**row, "input_ids": ids})
    return forward_each(
        model, rows, lambda found, place, row: softmax(found["logits"][place, len(row["input_ids"]) // 2])
    )


def ask_for_spans(model: Model) -> Sequence[Array]:
    """Where answers to the questions among the sentences begin and end in passages, in probabilities."""
    questions = [sentence for sentence in sentences() if sentence.endswith("?")]
    contexts = [passages()[place % len(passages())] for place in range(len(questions))]
    rows = encode(model, questions, contexts, truncation="only_second")

    def read(found: Mapping[str, Array], place: int, row: Row) -> tuple[Array, Array]:
        length = len(row["input_ids"])
        return softmax(found["start_logits"][place, :length]), softmax(found["end_logits"][place, :length])

    return [end for both in forward_each(model, rows, read, most_rows=8) for end in both]


def ask_for_picture_labels(model: Model) -> Sequence[Array]:
    """The scores of each picture's labels."""
    return [to_scores(model.forward(pixels)["logits"][0], model) for pixels in prepare_pictures(model)]


JUDGES: Mapping[Head, Answers] = {
    "sequence-classification": ask_for_labels,
    "token-classification": ask_for_token_labels,
    "masked-lm": ask_for_words,
    "question-answering": ask_for_spans,
    "image-classification": ask_for_picture_labels,
}


def prepare_pictures(model: Model) -> Iterator[Mapping[str, Array]]:
    """Each picture as the model sees it."""
    for picture in pictures():
        yield dict(model.processor(images=[picture], return_tensors="np"))


def encode_passages(model: Model) -> list[Array]:
    """The beginning of each passage, as tokens."""
    most = min(PASSAGE_TOKENS, model.max_length or PASSAGE_TOKENS)
    return [np.array(row["input_ids"][:most], np.int64) for row in encode(model, passages())]


def half(text: Array) -> int:
    """How many of a text's tokens are read at once."""
    return len(text) // 2


def open_graph(file: Path, original: TransformersModel, cache: Cache) -> CausalGraph:
    """The graph as the runtime holds it."""
    config = copy.deepcopy(original.module.config)
    config._attn_implementation = "eager"  # the library asks whom it makes whether they have another
    return CausalGraph(config, Session(file, gives_back=False), cache)


def read_on(graph: CausalGraph, text: Array) -> Array:
    """The probabilities that the graph gives each token of the second half of a text, one by one."""
    tokens = torch.from_numpy(text)[None]
    found = graph(input_ids=tokens[:, : half(text)])
    logits = [found.logits[0, 0]]
    for place in range(half(text), len(text) - 1):
        found = graph(input_ids=tokens[:, place : place + 1], past_key_values=found.past_key_values)
        logits.append(found.logits[0, 0])
    return softmax(torch.stack(logits).numpy())


def sample_inputs(export: Export, original: TransformersModel) -> Iterator[Mapping[str, Array]]:
    """Inputs of the graph made of some of the samples."""
    if export.cache is not None:
        yield from (start_of(export, export.cache, text) for text in encode_passages(original)[::2])
    elif export.image_size is not None:
        yield from prepare_pictures(original)
    else:
        for row in encode(original, sentences()[::4]):
            yield fill_in(export, collate(original, [row]))


def start_of(export: Export, cache: Cache, text: Array) -> Mapping[str, Array]:
    """A text as the first step of a generation."""
    ids = text[None]
    mask = np.ones_like(ids)
    given = {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": positions_of(torch.from_numpy(mask), len(text)).numpy(),
    }
    empty = np.zeros((1, cache.heads, 0, cache.width), np.float32)
    return {name: given.get(name, empty) for name in export.inputs}
