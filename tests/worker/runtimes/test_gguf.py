"""GGUF models in llama.cpp: a real one answers through tasks and scheduler as by the binding used directly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import xllamacpp

from modelyard.errors import BootFailed, InferenceFailed, InvalidRequest, ModelRefused, ModelyardError
from modelyard.protocol import FinishReason, Outcome
from modelyard.tasks.body import read, to_call
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_model as load_transformers
from modelyard.worker.runtimes.gguf import find_complaint, heard_to_its_end, load_model
from modelyard.worker.runtimes.threads import set_threads
from modelyard.worker.schedulers.base import do_nothing
from modelyard.worker.schedulers.slots import Slots
from tests.builders import real
from tests.builders.bert_gguf import write_bert
from tests.builders.gguf import LLAMA, gguf_file

CONTEXT = 256
PARIS = {"messages": [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]}
ANSWER = "The capital of France is Paris."
PROMPT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nWhat is the capital of France? Answer in one sentence.<|im_end|>\n<|im_start|>assistant\n"
)
ENDLESS = {"max_new_tokens": 200, "min_new_tokens": 200}
DEADLINE_S = 250.0


class Asked:
    """One request, and what came of it."""

    def __init__(
        self, scheduler: Slots, body: dict[str, Any], *, stream: bool = False, on_begin: Callable[[], Any] = do_nothing
    ) -> None:
        """`on_begin` is called with the first piece, and holds up what comes after."""
        self.pieces: list[str] = []
        self.cancelled = False
        self._answer: Any = None
        self._done = threading.Event()
        self.begun = threading.Event()
        self._on_begin = on_begin
        inference = read(scheduler.task, body)
        call = to_call(
            scheduler.task,
            inference.fields,
            inference.params,
            emit=self._take if stream else None,
            cancelled=lambda: self.cancelled,
        )
        scheduler.submit(call, self._deliver)

    def _take(self, piece: str) -> None:
        self.pieces.append(piece)
        if not self.begun.is_set():
            self.begun.set()
            self._on_begin()

    def _deliver(self, answer: Outcome | ModelyardError) -> None:
        self._answer = answer
        self._done.set()

    def answer(self) -> Outcome | ModelyardError:
        assert self._done.wait(DEADLINE_S), "no answer"
        answer: Outcome | ModelyardError = self._answer
        return answer

    def outcome(self) -> Outcome:
        answer = self.answer()
        assert isinstance(answer, Outcome), answer
        return answer

    def error(self) -> ModelyardError:
        answer = self.answer()
        assert isinstance(answer, ModelyardError), answer
        return answer


@pytest.fixture(scope="module")
def model() -> Any:
    set_threads(1)
    return load_model(real.smollm2_gguf(), ("causal-lm",), context_tokens=CONTEXT, slots=4)


@pytest.fixture
def start(model: Any) -> Iterator[Any]:
    """Task id → a scheduler of it that runs."""
    running: list[tuple[Slots, threading.Thread]] = []

    def started(task_id: str, **more: Any) -> Slots:
        task = get_task(task_id)
        assert task.generation is not None
        scheduler = Slots(task, task.generation, model, **more)
        thread = threading.Thread(target=scheduler.run)
        thread.start()
        running.append((scheduler, thread))
        return scheduler

    yield started
    for scheduler, thread in running:
        scheduler.close()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_a_conversation_is_answered_streamed_and_not(start: Any) -> None:
    chat = start("chat")

    whole, streamed = Asked(chat, PARIS), Asked(chat, {**PARIS, "stream": True}, stream=True)

    assert whole.outcome().output.content == ANSWER
    assert streamed.outcome().output.content == ANSWER
    assert len(streamed.pieces) > 3
    assert "".join(streamed.pieces) == ANSWER


def test_counts_and_reasons_are_those_of_the_binding(start: Any) -> None:
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.verbosity = str(real.smollm2_gguf()), CONTEXT, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    direct = xllamacpp.Server(settings)
    chat = start("chat")

    for limit, reason in ((5, FinishReason.LENGTH), (50, FinishReason.STOP)):
        expected = direct.handle_completions({"prompt": PROMPT, "temperature": 0, "n_predict": limit})
        outcome = Asked(chat, {**PARIS, "params": {"max_new_tokens": limit}}).outcome()

        assert outcome.output.content == expected["choices"][0]["text"]
        assert outcome.usage.prompt_tokens == expected["usage"]["prompt_tokens"]
        assert outcome.usage.new_tokens == expected["usage"]["completion_tokens"]
        assert outcome.usage.finish_reason is reason


def test_texts_are_continued_alone_in_lists_and_up_to_a_length_in_all(start: Any) -> None:
    generation = start("text-generation")
    params = {"max_new_tokens": 6}

    one = Asked(generation, {"text": "The capital of France is", "params": params}).outcome()
    several = Asked(generation, {"text": ["The capital of France is", "Once upon a time"], "params": params}).outcome()
    in_all = Asked(generation, {"text": "The capital of France is", "params": {"max_length": 8}}).outcome()

    assert one.output.startswith("The capital of France is Paris")
    assert several.output[0] == one.output
    assert several.output[1].startswith("Once upon a time")
    assert several.usage.new_tokens == 12
    assert (in_all.usage.prompt_tokens, in_all.usage.new_tokens) == (5, 3)
    assert one.output.startswith(in_all.output)


def test_a_stop_string_ends_the_text_before_it(start: Any) -> None:
    outcome = Asked(start("chat"), {**PARIS, "params": {"stop": [" Paris"]}}).outcome()

    assert outcome.output.content == "The capital of France is"
    assert outcome.usage.finish_reason is FinishReason.STOP


def test_sampling_is_repeatable_by_its_seed_and_several_answers_differ(start: Any) -> None:
    generation = start("text-generation")
    params = {"temperature": 1.5, "max_new_tokens": 12, "seed": 7}
    body = {"text": "My favourite", "params": params}

    first, second = (Asked(generation, body).outcome().output for _ in range(2))
    several = Asked(generation, {**body, "params": {**params, "num_return_sequences": 3}}).outcome().output

    assert first == second
    assert len(set(several)) == 3


def test_too_long_a_prompt_is_refused_with_the_figures(start: Any) -> None:
    error = Asked(start("text-generation"), {"text": "hello world " * CONTEXT}).error()

    assert isinstance(error, InvalidRequest)
    assert "text: got 513 tokens; accepted: fewer than 256" in error.message
    assert error.data["limit"] == CONTEXT


def test_an_answer_ends_where_the_context_does(start: Any) -> None:
    body = {"text": "hello world " * 100, "params": {"max_new_tokens": 5000, "min_new_tokens": 5000}}

    usage = Asked(start("text-generation"), body).outcome().usage

    assert usage.prompt_tokens is not None
    assert usage.new_tokens == CONTEXT - usage.prompt_tokens
    assert usage.finish_reason is FinishReason.LENGTH


def test_an_answer_ends_when_its_time_is_over(start: Any) -> None:
    body = {"text": "Once upon a time", "params": {**ENDLESS, "max_time": 0.001}}

    usage = Asked(start("text-generation"), body).outcome().usage

    assert usage.finish_reason is FinishReason.TIME
    assert usage.new_tokens is not None
    assert usage.new_tokens < ENDLESS["max_new_tokens"]


def test_who_leaves_frees_the_slot(start: Any) -> None:
    generation = start("text-generation", max_batch=1)
    left = Asked(generation, {"text": "Once upon a time", "params": ENDLESS, "stream": True}, stream=True)
    assert left.begun.wait(DEADLINE_S)
    waits = Asked(generation, {"text": "The capital of France is", "params": {"max_new_tokens": 2}})

    left.cancelled = True
    generation.drop_cancelled()

    assert isinstance(left.error(), InferenceFailed)
    assert waits.outcome().usage.new_tokens == 2
    assert len(left.pieces) < 200


def test_what_is_asked_at_once_is_written_at_once(start: Any) -> None:
    generation = start("text-generation")
    both_begun = threading.Barrier(2)
    bodies = [{"text": text, "params": {"max_new_tokens": 4}, "stream": True} for text in ("One", "Two")]

    both = [Asked(generation, body, stream=True, on_begin=lambda: both_begun.wait(DEADLINE_S)) for body in bodies]

    assert [asked.outcome().usage.new_tokens for asked in both] == [4, 4]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"num_beams": 2}, "params.num_beams"),
        ({"no_repeat_ngram_size": 3}, "params.no_repeat_ngram_size"),
        ({"bad_words_ids": [[1]]}, "params.bad_words_ids"),
        ({"min_new_tokens": 3}, "params.min_new_tokens"),
        ({"num_return_sequences": 2}, "params.num_return_sequences"),
        ({"eos_token_id": 2}, "params.eos_token_id"),
    ],
)
def test_what_llama_cpp_cannot_do_is_refused_by_name(start: Any, params: dict[str, Any], field: str) -> None:
    error = Asked(start("chat"), {**PARIS, "params": params}).error()

    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == field


def test_an_image_is_refused_by_name(start: Any) -> None:
    content = [{"type": "image", "url": "https://example.com/a.png"}]

    error = Asked(start("chat"), {"messages": [{"role": "user", "content": content}]}).error()

    assert "messages[0].content[0].type" in error.message


def test_new_threads_are_taken_between_texts(start: Any, model: Any) -> None:
    chat = start("chat", between=lambda: set_threads(2))

    answers = [Asked(chat, {**PARIS, "params": {"max_new_tokens": 2}}).outcome()]
    set_threads(1)
    chat.poke()
    answers.append(Asked(chat, {**PARIS, "params": {"max_new_tokens": 2}}).outcome())

    assert answers[0].output == answers[1].output


def answers(model: Any, task_id: str, body: dict[str, Any]) -> Any:
    """What a task that answers in one pass makes of a body."""
    task = get_task(task_id)
    inference = read(task, body)
    (answer,) = task.run(model, [to_call(task, inference.fields, inference.params)])
    if isinstance(answer, ModelyardError):
        raise answer
    return answer.output if isinstance(answer, Outcome) else answer


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    set_threads(1)
    file = write_bert(real.minilm(), tmp_path_factory.mktemp("minilm") / "m-F16.gguf", gguf.PoolingType.MEAN)
    return load_model(file, ("base",), context_tokens=128)


def test_vectors_are_those_of_the_original(embedder: Any) -> None:
    texts = ["A man is eating food.", "A man is eating a piece of bread."]
    original = load_transformers("transformers", real.minilm(), ("base",), device="cpu")

    one, other = answers(embedder, "feature-extraction", {"text": texts})
    (alike,) = answers(embedder, "sentence-similarity", {"text": texts[0], "sentences": [texts[1]]})

    assert alike == pytest.approx(0.7553, abs=0.001)
    for vector, text in zip((one, other), texts, strict=True):
        assert np.dot(vector, answers(original, "feature-extraction", {"text": text})) == pytest.approx(1, abs=1e-4)


def test_vectors_are_scaled_where_wanted_and_of_long_texts_the_beginning_counts(embedder: Any) -> None:
    text = "the fox lives in the forest " * 100

    cut = answers(embedder, "feature-extraction", {"text": text})
    plain = answers(embedder, "feature-extraction", {"text": text, "params": {"normalize": False}})

    assert np.linalg.norm(cut) == pytest.approx(1)
    assert np.linalg.norm(plain) != pytest.approx(1, abs=0.01)
    assert np.dot(cut, plain) / np.linalg.norm(plain) == pytest.approx(1)
    with pytest.raises(InvalidRequest, match=r"got \d+ tokens; accepted: at most 128") as refused:
        answers(embedder, "feature-extraction", {"text": ["the fox", text], "params": {"truncate": False}})
    assert refused.value.data["limit"] == 128
    for params in ({"pooling": "cls"}, {"prompt_name": "query"}):
        with pytest.raises(InvalidRequest, match=f"params.{next(iter(params))}"):
            answers(embedder, "feature-extraction", {"text": "the fox", "params": params})
    with pytest.raises(InvalidRequest, match="not empty"):
        answers(embedder, "feature-extraction", {"text": ["the fox", ""]})


def test_documents_are_ranked_as_by_the_original(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """llama.cpp marks no segments, so neither does the original here."""
    query = "Where does Angela live?"
    documents = ["The film was a wonderful story.", "Angela lives in Paris.", "the fox " * 100]
    folder = model_folder("bert_ranker")
    original = load_transformers("transformers", folder, ("sequence-classification",), device="cpu")
    rows = [dict(original.tokenizer(query, each, return_tensors="np")) for each in documents[:2]]
    for row in rows:
        row["token_type_ids"] = row["token_type_ids"] * 0
    expected = [float(original.forward(row)["logits"][0][0]) for row in rows]
    set_threads(1)
    file = write_bert(folder, tmp_path / "m-F16.gguf", gguf.PoolingType.RANK)
    ranker = load_model(file, ("sequence-classification",), context_tokens=64)
    body = {"query": query, "documents": documents, "params": {"function_to_apply": "none"}}

    ranked = answers(ranker, "text-ranking", body)
    shares = answers(ranker, "text-ranking", {**body, "params": {"top_k": 1}})

    scores = {each.index: each.score for each in ranked}
    assert [scores[0], scores[1]] == pytest.approx(expected, abs=0.01)
    assert sorted(scores) == [0, 1, 2]
    assert shares[0].score == pytest.approx(1 / (1 + np.exp(-ranked[0].score)))
    with pytest.raises(InvalidRequest, match="at most 64"):
        answers(ranker, "text-ranking", {"query": "the fox " * 100, "documents": ["a"]})


def test_what_is_no_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(gguf_file({**LLAMA, "general.architecture": "nobody_knows_it"}))

    with pytest.raises(ModelRefused, match=r"m\.gguf cannot be loaded: .*nobody_knows_it"):
        load_model(file, ("causal-lm",), context_tokens=CONTEXT)
    with pytest.raises(ModelRefused, match="offers none of: ctc"):
        load_model(file, ("ctc",), context_tokens=CONTEXT)
    with pytest.raises(BootFailed, match="CPU"):
        load_model(file, ("causal-lm",), context_tokens=CONTEXT, device="cuda")


WHY = "0.10.905.706 E llama_model_load: error loading model: unknown model architecture: 'nobody_knows_it'\n"
LAST = "0.10.908.016 E srv          init: exiting due to model loading error\n"


def test_the_reason_is_found_beside_what_another_model_logs() -> None:
    another = "0.10.896.168 E srv    send_error: task id = 47, error: input (204 tokens) is too large to process\n"

    assert find_complaint(another + WHY + LAST) == find_complaint(WHY)
    assert "nobody_knows_it" in str(find_complaint(WHY))
    assert find_complaint(another) is not None
    assert find_complaint("") is None


@pytest.mark.parametrize(
    "last",
    [
        LAST,
        "0.00.012.301 E init: exiting due to HTTP server error\n",
        "0.00.012.301 E init: failed to initialize HTTP server\n",
    ],
)
def test_a_log_that_is_written_late_is_waited_for_until_its_last_line(last: str) -> None:
    parts = iter(["", WHY, WHY + last])

    assert heard_to_its_end(lambda: next(parts)) == WHY + last
