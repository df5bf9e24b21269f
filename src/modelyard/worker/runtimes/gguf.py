"""Models in GGUF files, held by llama.cpp. Owns its server in this process: its start, what it is asked, its errors.

The binding has llama.cpp's own server, with its slots and its tokenizer, and nothing below it. Imports no torch. Any
thread may ask a loaded model to write; llama.cpp runs what it is asked at once together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xllamacpp

from modelyard.errors import BootFailed, InferenceFailed, InvalidRequest, ModelRefused, ModelyardError
from modelyard.protocol import FinishReason, Thought
from modelyard.records.gguf import CorruptGguf, GgufHeader, Texts
from modelyard.tasks.base import Head
from modelyard.tasks.model import OnStart, TextPrompt, Written
from modelyard.tasks.shared.generation import kept_tokens
from modelyard.tasks.shared.thinking import Thinking, ThoughtText
from modelyard.worker.runtimes.gguf_format import ChatFormat, read_format
from modelyard.worker.runtimes.gguf_settings import GgufPlan, plan_writing
from modelyard.worker.runtimes.grammar_text import FormCheck, Marks, write_grammar
from modelyard.worker.runtimes.no_model import NoModel
from modelyard.worker.runtimes.threads import get_threads

log = logging.getLogger(__name__)

WRITES, EMBEDS, RANKS = "causal-lm", "base", "sequence-classification"
SLOTS = 16
"""As many texts are written at once as other runtimes write in one batch."""
PROMPT_BATCH_TOKENS = 512
"""Of a prompt so many are read before llama.cpp looks whether anybody still waits."""
SOCKET = "http.sock"
ERRORS_ONLY = 1
"""Of the levels of llama.cpp's log."""
TOO_LONG = "exceed_context_size_error"
TOO_LARGE = re.compile(r"input \((\d+) tokens\) is too large.*batch size: (\d+)")
"""What it says of a text that is read in one pass, and is longer than that may be."""
LOAD_ERROR = "error loading model:"
"""Begins, in its log, why a model cannot be loaded."""
LAST_WORDS = re.compile("exiting due to (model loading|HTTP server) error|failed to initialize HTTP server")
"""The last line of its log about a load that failed. Source: xllamacpp, src/xllamacpp/server.cpp, `init`."""
LOG_LATENCY_S, LOG_POLL_S = 2.0, 0.005
SPARE_TOKENS = 8
"""What a vocabulary may put around a text besides what it makes of its bytes."""
END_KEYS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
"""Of a header: the tokens that end a text."""
L2, NOT_SCALED = 2, -1
"""Values of llama.cpp's `embd_normalize`."""


def load_model(
    file: Path, heads: tuple[Head, ...], *, context_tokens: int, device: str = "auto", slots: int | None = None
) -> GgufModel:
    """The model in `file` (the first of its parts), on the CPU, under the first of `heads` that it has.

    `context_tokens`: of prompt and answer together, that each of its slots may use. `slots`: most texts at once; None:
    SLOTS. Raises: ModelRefused when the file cannot be served, BootFailed when loading failed.
    """
    if device.startswith("cuda"):
        raise BootFailed(f"Device {device} was asked for, but GGUF models run on the CPU here. Use auto or cpu.")
    if not {WRITES, EMBEDS, RANKS}.intersection(heads):
        raise ModelRefused(f"{file.name} is a GGUF model, which offers none of: {', '.join(heads)}.")
    try:
        header, chat_format = read_format(file)
    except (CorruptGguf, OSError) as error:
        raise ModelRefused(f"{file.name} cannot be loaded: {error}.", path=str(file.parent)) from error
    return GgufModel(file, header, chat_format, context_tokens, slots or SLOTS, heads)


class GgufModel(NoModel):
    """One model in llama.cpp; see `tasks.model.TextModel`. It reads and writes texts, and computes nothing else."""

    def __init__(
        self,
        file: Path,
        header: GgufHeader,
        chat_format: ChatFormat,
        context_tokens: int,
        slots: int,
        heads: tuple[Head, ...],
    ) -> None:
        super().__init__(file.parent)
        self.tokenizer = chat_format
        self.max_length = context_tokens
        self.slots = slots
        self.context_tokens = context_tokens
        self._file = file
        self._values = header.values
        vocabulary = header.values.get("tokenizer.ggml.tokens")
        self._vocabulary = vocabulary.count if isinstance(vocabulary, Texts) else 0
        self._ends = [token for key in END_KEYS if isinstance(token := header.values.get(key), int)]
        self._embeds, self._ranks = WRITES not in heads, RANKS in heads
        self._threads = get_threads()
        self._server = self._open()

    def refresh(self) -> None:
        """Takes a new number of threads, for which llama.cpp is started anew. Only while nothing is being written."""
        if self._threads != get_threads():
            self._threads = get_threads()
            del self._server  # first, so that the context is never held twice
            self._server = self._open()

    def plan(self, params: Any) -> GgufPlan:
        """See TextModel."""
        return plan_writing(params, self._values)

    def most_tokens(self, prompt: TextPrompt, plan: GgufPlan) -> int:
        """See TextModel. No token is made of less than a byte."""
        prompt_tokens = min(len(prompt.text.encode()) + SPARE_TOKENS, self.context_tokens)
        return min(self.context_tokens, prompt_tokens + plan.limit_tokens(0, self.context_tokens))

    def write(
        self, prompt: TextPrompt, plan: GgufPlan, text: int, on_start: OnStart, on_piece: Callable[[str], bool]
    ) -> Written:
        """See TextModel."""
        limit = plan.new_tokens
        if limit is None and plan.total_tokens is not None:
            limit = plan.limit_tokens(self._count_tokens(prompt), self.context_tokens)
        writing = Writing(on_start, on_piece, plan, prompt.thinking)
        self._complete(
            {
                **plan.request,
                **self._held_to(prompt, plan),
                "preserved_tokens": list(kept_tokens(prompt)),
                "prompt": prompt.text,
                "n_predict": plan.limit_tokens(0, self.context_tokens) if limit is None else limit,
                "seed": plan.seed_of(text),
                "repeat_last_n": self.context_tokens,
                "timings_per_token": plan.most_s is not None,  # else the tokens are counted at the end
            },
            writing.take,
            prompt.field,
        )
        return writing.finish()

    def _held_to(self, prompt: TextPrompt, plan: GgufPlan) -> Mapping[str, Any]:
        """The grammar of an answer that may be thought about before it takes its form."""
        if plan.form is None or prompt.thinking is None:
            return {}
        marks = Marks(prompt.thinking, self.tokenizer.marks, self._ends, self._vocabulary)
        return {"grammar": write_grammar(plan.form, marks)}

    def embed_texts(self, texts: Sequence[str], *, normalize: bool) -> Sequence[Sequence[float]]:
        """See TextModel."""
        answer = self._server.handle_embeddings(
            {"input": list(texts), "embd_normalize": L2 if normalize else NOT_SCALED}
        )
        if "error" in answer:
            raise as_error(answer["error"], "text")
        return [entry["embedding"] for entry in sorted(answer["data"], key=lambda entry: int(entry["index"]))]

    def score_documents(self, query: str, documents: Sequence[str]) -> tuple[Sequence[float], int]:
        """See TextModel."""
        answer = self._server.handle_rerank({"query": query, "documents": list(documents)})
        if "error" in answer:
            raise as_error(answer["error"], "documents")
        scores = {int(each["index"]): float(each["relevance_score"]) for each in answer["results"]}
        return [scores[index] for index in range(len(documents))], int(answer["usage"]["prompt_tokens"])

    def _count_tokens(self, prompt: TextPrompt) -> int:
        """Tokens in a prompt: the reading of it ends before it has begun."""
        counts: list[int] = []

        def take(chunk: Mapping[str, Any]) -> bool:
            counts.append(chunk["prompt_progress"]["total"])
            return True

        self._complete({"prompt": prompt.text, "n_predict": 1}, take, prompt.field)
        return counts[0]

    def _complete(self, request: Mapping[str, Any], take: Callable[[Mapping[str, Any]], bool], field: str) -> None:
        """Has llama.cpp answer, chunk by chunk, until `take` returns True. Raises what it says was wrong."""
        failures: list[ModelyardError] = []

        def on_chunk(chunk: Mapping[str, Any]) -> bool:
            if "error" in chunk:
                failures.append(as_error(chunk["error"], field))
                return True
            try:
                return take(chunk)
            except ModelyardError as error:
                failures.append(error)
                return True
            except Exception as error:
                log.exception("a chunk of llama.cpp's answer could not be read")
                failures.append(InferenceFailed(f"The model's answer could not be read: {error}"))
                return True

        self._server.handle_completions({**request, "stream": True, "return_progress": True}, on_chunk)
        if failures:
            raise failures[0]

    def _open(self) -> Any:
        """Starts llama.cpp with the model. Raises ModelRefused."""
        with opening() as (address, said):
            try:
                return xllamacpp.Server(self._describe(address))
            except RuntimeError as error:
                words = find_complaint(heard_to_its_end(said)) or str(error)
                raise ModelRefused(f"{self._file.name} cannot be loaded: {words}.", path=str(self.path)) from error

    def _describe(self, address: str) -> Any:
        """llama.cpp's settings. Its own server of HTTP, which cannot be left out, listens where nobody finds it."""
        settings = xllamacpp.CommonParams()
        settings.model.path = str(self._file)
        settings.hostnames = [address]
        settings.n_threads_http = 1
        settings.ui = settings.endpoint_slots = False
        settings.verbosity = ERRORS_ONLY
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = self._threads
        settings.n_gpu_layers = 0
        settings.n_parallel = self.slots
        settings.n_ctx = self.context_tokens
        settings.kv_unified = True
        settings.ctx_shift = settings.fit_params = settings.warmup = False
        settings.cache_ram_mib = settings.n_ctx_checkpoints = 0
        batch = self.context_tokens if self._embeds else min(PROMPT_BATCH_TOKENS, self.context_tokens)
        settings.n_batch = settings.n_ubatch = batch
        settings.embedding = self._embeds
        if self._ranks:
            settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
        return settings


class Writing:
    """One text as it comes."""

    def __init__(
        self, on_start: OnStart, on_piece: Callable[[str], bool], plan: GgufPlan, thinking: Thinking | None
    ) -> None:
        """`thinking`: what may come before a form, and is not held to it."""
        self._on_start = on_start
        self._on_piece = on_piece
        self._ends_at = None if plan.most_s is None else time.monotonic() + plan.most_s
        self._check = None if plan.form is None else FormCheck(plan.form, plan.request["grammar"])
        self._thoughts = None if thinking is None else ThoughtText(thinking)
        self._pieces: list[str] = []
        self._prompt_tokens: int | None = None
        self._new_tokens = 0
        self._reason = FinishReason.LENGTH

    def take(self, chunk: Mapping[str, Any]) -> bool:
        """Adds what llama.cpp tells; True when it is to stop."""
        if self._prompt_tokens is None and "prompt_progress" in chunk:
            self._prompt_tokens = chunk["prompt_progress"]["total"]
            self._on_start(self._prompt_tokens)
        choice = chunk["choices"][0]
        if "timings" in chunk:
            self._new_tokens = chunk["timings"]["predicted_n"]
        if text := choice["text"]:
            if self._check is not None:
                for said in self._said(text):
                    self._check.take(said)
            self._pieces.append(text)
        if (reason := choice["finish_reason"]) is not None:
            self._prompt_tokens = chunk["usage"]["prompt_tokens"]
            self._new_tokens = chunk["usage"]["completion_tokens"]
            self._reason = FinishReason.STOP if reason == "stop" else FinishReason.LENGTH
        if self._on_piece(text):
            self._reason = FinishReason.CANCELLED
            return True
        if reason is None and self._ends_at is not None and time.monotonic() >= self._ends_at:
            self._reason = FinishReason.TIME
            return True
        return False

    def _said(self, text: str) -> Sequence[str]:
        """What of a piece, and of those before it, belongs to the answer."""
        if self._thoughts is None:
            return [text]
        return [piece for piece in self._thoughts.push(text) if not isinstance(piece, Thought)]

    def finish(self) -> Written:
        """What was written."""
        return Written("".join(self._pieces), self._prompt_tokens or 0, self._new_tokens, self._reason)


def as_error(error: Mapping[str, Any], field: str) -> ModelyardError:
    """What llama.cpp says went wrong, as one of this project's errors. `field`: of the request, that held the text."""
    message = str(error.get("message"))
    if error.get("type") == TOO_LONG:
        holds = "this model's context, which holds the prompt and the answer"
        return too_long(field, error["n_prompt_tokens"], error["n_ctx"], f"fewer than {error['n_ctx']}, {holds}")
    if found := TOO_LARGE.search(message):
        tokens, limit = int(found[1]), int(found[2])
        return too_long(field, tokens, limit, f"at most {limit}, which this model reads at once")
    if error.get("code") == 400:
        return InvalidRequest(f"params: {message}", field="params")
    return InferenceFailed(f"The model failed on this input: {message}")


def too_long(field: str, tokens: int, limit: int, accepted: str) -> InvalidRequest:
    """The error for a text that has more tokens than the model reads at once."""
    return InvalidRequest(
        f"{field}: got {tokens} tokens; accepted: {accepted}", field=field, tokens=tokens, limit=limit
    )


@contextlib.contextmanager
def opening() -> Iterator[tuple[str, Callable[[], str]]]:
    """Where llama.cpp's HTTP server may listen while it starts, and what the process has written to its standard error
    since. The address is a socket in a folder of its own, whose name is gone when the block ends: nobody can connect.

    By the folder's descriptor, as the path of a socket may have 107 bytes only. Source: unix(7).
    """
    folder = Path(tempfile.mkdtemp(prefix="llama-"))
    number = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        with recorded_errors() as said:
            yield f"/proc/self/fd/{number}/{SOCKET}", said
    finally:
        os.close(number)
        (folder / SOCKET).unlink(missing_ok=True)
        folder.rmdir()


@contextlib.contextmanager
def recorded_errors() -> Iterator[Callable[[], str]]:
    """What is written to this process's standard error in the block; it is passed on at its end."""
    errors = os.dup(2)
    with tempfile.TemporaryFile() as record:
        os.dup2(record.fileno(), 2)
        try:
            yield lambda: read_record(record.fileno())
        finally:
            os.dup2(errors, 2)
            os.close(errors)
            os.write(2, read_record(record.fileno()).encode())


def read_record(number: int) -> str:
    """What was written to an open file."""
    return os.pread(number, 64 * 1024, 0).decode("utf-8", "replace")


def heard_to_its_end(said: Callable[[], str]) -> str:
    """What llama.cpp has logged of a load that failed. A thread of its own writes its log, after the load has returned;
    what does not come in LOG_LATENCY_S is done without.
    """
    until = time.monotonic() + LOG_LATENCY_S
    while not LAST_WORDS.search(heard := said()) and time.monotonic() < until:
        time.sleep(LOG_POLL_S)
    return heard


def find_complaint(said: str) -> str | None:
    """Why llama.cpp has not loaded a model, by its log: the line that says so, else the first that names an error, else
    the first of all. Another model of this process may log what it was asked at the same time.
    """
    lines = [line.partition(":")[2].strip() or line.strip() for line in said.splitlines() if line.strip()]
    loading = [line for line in lines if LOAD_ERROR in line]
    telling = [line for line in lines if "error" in line.lower() or "unknown" in line.lower()]
    return next(iter([*loading, *telling, *lines]), None)
