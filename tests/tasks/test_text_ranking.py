"""Documents ranked for a query, as CrossEncoder of sentence-transformers ranks them: that library's own formula, which
its documentation gives, is applied to the outputs of the model library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import transformers

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.protocol import Outcome
from modelyard.tasks.body import read, to_call
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_model
from tests.builders import families, tokenizers
from tests.builders.fixtures import Ask, Load
from tests.builders.reference import library_model
from tests.tasks.comparison import assert_close

RANK = get_task("text-ranking")
QUERY = "Where does Angela live?"
DOCUMENTS = [
    "The film was a wonderful story about friendship.",
    "Angela lives in Paris and works for the United Nations.",
    "",
    "Once upon a time there was a small fox who lived in the old forest by the river. " * 8,
    "Paris is the capital of France.",
]
BODY = {"query": QUERY, "documents": DOCUMENTS}
LIMIT = 64
IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"
UNSAID: dict[str, Any] = {"config_sentence_transformers": None}


@pytest.fixture
def ranker(load: Load) -> Model:
    return load("bert_ranker", "sequence-classification")


@pytest.fixture
def changed(model_folder: Callable[[str], Path], tmp_path: Path) -> Callable[..., Model]:
    """The ranker's folder with other settings in its files → its model; None: without that file."""

    def load_changed(**files: dict[str, Any] | None) -> Model:
        folder = tmp_path / "ranker"
        shutil.copytree(model_folder("bert_ranker"), folder)
        for name, settings in files.items():
            path = folder / f"{name}.json"
            kept = json.loads(path.read_text())
            path.unlink()
            if settings is not None:
                path.write_text(json.dumps({**kept, **settings}))
        return cast("Model", load_model("transformers", folder, RANK.heads, device="cpu"))

    return load_changed


def expected(
    folder: Path,
    activate: Callable[[Any], Any] = lambda logits: logits,
    query: str = QUERY,
    documents: list[str] = DOCUMENTS,
    limit: int = LIMIT,
) -> list[dict[str, Any]]:
    """What the library's own rank answers, each pair alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = library_model("AutoModelForSequenceClassification", folder)
    scores = []
    for document in documents:
        pair = tokenizer(
            [[query, document]], padding=True, truncation="longest_first", max_length=limit, return_tensors="pt"
        )
        with torch.inference_mode():
            scores.append(activate(model(**pair).logits).squeeze().item())
    ranked = [{"index": index, "score": score} for index, score in enumerate(scores)]
    return sorted(ranked, key=lambda each: each["score"], reverse=True)


def test_documents_are_ranked_as_by_the_library_best_first(ranker: Model, ask: Ask) -> None:
    answer = ask(RANK, ranker, BODY)
    assert_close(answer, expected(ranker.path))
    assert len({round(each["score"], 3) for each in answer}) == len(DOCUMENTS)


def test_equal_documents_keep_their_order(ranker: Model, ask: Ask) -> None:
    answer = ask(RANK, ranker, {"query": QUERY, "documents": ["the same"] * 5})
    assert [each["index"] for each in answer] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["top_k", "top_n"])
def test_only_the_best_are_answered(ranker: Model, ask: Ask, name: str) -> None:
    whole = ask(RANK, ranker, BODY)
    assert_close(ask(RANK, ranker, {**BODY, "params": {name: 2}}), whole[:2])
    assert_close(ask(RANK, ranker, {**BODY, "params": {name: 100}}), whole)


def test_documents_are_returned_where_that_is_asked_for(ranker: Model, ask: Ask) -> None:
    answer = ask(RANK, ranker, {**BODY, "params": {"return_documents": True}})
    assert [each["text"] for each in answer] == [DOCUMENTS[each["index"]] for each in answer]


@pytest.mark.parametrize(("function", "apply"), [("sigmoid", torch.sigmoid), ("none", lambda logits: logits)])
def test_function_to_apply(ranker: Model, ask: Ask, function: str, apply: Any) -> None:
    answer = ask(RANK, ranker, {**BODY, "params": {"function_to_apply": function}})
    assert_close(answer, expected(ranker.path, apply))


@pytest.mark.parametrize(
    ("files", "apply"),
    [
        ({"config_sentence_transformers": {"activation_fn": SIGMOID}}, torch.sigmoid),
        ({"config_sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}, torch.tanh),
        ({"config_sentence_transformers": {"activation_fn": "somebody.elses.Function"}}, torch.sigmoid),
        (UNSAID, torch.sigmoid),
        ({**UNSAID, "config": {"sentence_transformers": {"activation_fn": IDENTITY}}}, None),
        ({**UNSAID, "config": {"sbert_ce_default_activation_function": IDENTITY}}, None),
    ],
    ids=["sigmoid", "tanh", "unknown", "unsaid", "config of version 4", "config of version 3"],
)  # fmt: skip
def test_scores_are_made_as_the_folder_says(changed: Callable[..., Model], ask: Ask, files: Any, apply: Any) -> None:
    model = changed(**files)
    assert_close(ask(RANK, model, BODY), expected(model.path, apply or (lambda logits: logits)))


def test_a_function_that_is_not_known_is_named(changed: Callable[..., Model], ask: Ask) -> None:
    model = changed(config_sentence_transformers={"activation_fn": "torch.nn.modules.activation.Mish"})
    with pytest.raises(ModelRefused, match="Mish"):
        ask(RANK, model, BODY)


def test_the_folders_length_case_and_prompt_are_followed(changed: Callable[..., Model], ask: Ask) -> None:
    prompts = {"prompts": {"query": "Translate: "}, "default_prompt_name": "query"}
    model = changed(
        sentence_bert_config={"max_seq_length": 20, "do_lower_case": True}, config_sentence_transformers=prompts
    )
    lower = [document.lower() for document in DOCUMENTS]
    wanted = expected(model.path, query=f"Translate: {QUERY}".lower(), documents=lower, limit=20)
    assert_close(ask(RANK, model, BODY), wanted)


def test_a_batch_answers_as_one_by_one(ranker: Model, ask: Ask) -> None:
    bodies = [BODY, {"query": "a fox", "documents": DOCUMENTS[:2]}, {"query": "music", "documents": ["cooking"]}]
    assert_close(ask(RANK, ranker, *bodies), [ask(RANK, ranker, body) for body in bodies])


def test_what_was_read_is_said(ranker: Model) -> None:
    inference = read(RANK, BODY)
    (outcome,) = RANK.run(ranker, [to_call(RANK, inference.fields, inference.params)])
    assert isinstance(outcome, Outcome)
    tokens = [len(ranker.tokenizer(QUERY, document)["input_ids"]) for document in DOCUMENTS if document]
    empty = len(ranker.tokenizer([QUERY], [""])["input_ids"][0])
    assert outcome.usage.prompt_tokens == sum(min(LIMIT, count) for count in tokens) + empty


def qwen3() -> Any:
    """A decoder whose last token's state is scored."""
    return transformers.Qwen3ForSequenceClassification(
        transformers.Qwen3Config(
            vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, max_position_embeddings=LIMIT, num_labels=1, pad_token_id=0,
        )
    )  # fmt: skip


def modernbert() -> Any:
    """Without segments, with rotary positions."""
    return transformers.ModernBertForSequenceClassification(
        transformers.ModernBertConfig(
            vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=LIMIT, num_labels=1, pad_token_id=0, bos_token_id=2, eos_token_id=3,
            cls_token_id=2, sep_token_id=3,
        )
    )  # fmt: skip


def xlm_roberta() -> Any:
    """As the rerankers of BAAI are: positions start behind the padding index."""
    return transformers.XLMRobertaForSequenceClassification(
        transformers.XLMRobertaConfig(
            vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=LIMIT + 1, type_vocab_size=1, num_labels=1, pad_token_id=0,
        )
    )  # fmt: skip


@pytest.mark.parametrize("make", [qwen3, modernbert, xlm_roberta])
def test_rankers_of_other_families(make: Callable[[], Any], ask: Ask, tmp_path: Path) -> None:
    tokenizer = tokenizers.wordpiece()
    if make is not qwen3:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        families.save(tmp_path, tokenizer, families.spread(make()))
    model: Any = load_model("transformers", tmp_path, RANK.heads, device="cpu")
    assert_close(ask(RANK, model, BODY), expected(tmp_path, torch.sigmoid))


def test_a_classifier_of_several_labels_says_that_it_does_not_rank(load: Load, ask: Ask) -> None:
    answer = ask(RANK, load("bert_classifier", "sequence-classification"), BODY)
    assert isinstance(answer, InvalidRequest)
    assert "3 scores" in answer.message
    assert "text-ranking" in answer.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"query": QUERY}, "documents: missing"),
        ({"documents": DOCUMENTS}, "query: missing"),
        ({"text": "a", "text_pair": "b"}, "query: missing.*text-ranking does not read text, text_pair"),
        ({"query": "", "documents": DOCUMENTS}, "query"),
        ({"query": QUERY, "documents": []}, "documents"),
        ({"query": QUERY, "documents": ["a"] * 1025}, "documents.*1024"),
        ({"query": QUERY, "documents": [{"text": "a"}]}, "documents"),
        ({**BODY, "params": {"top_k": 0}}, r"params\.top_k"),
        ({**BODY, "params": {"top_k": 1, "top_n": 2}}, r"params\.top_n: got 2; accepted: the same as top_k, 1"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(body: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read(RANK, body)
