"""A model: its name, what is known of it, what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.records.adapters import Adapter
from modelyard.records.files import spell, split_file
from modelyard.records.providers import ClosedModel
from modelyard.records.sentence_modules import TABLE
from modelyard.records.variants import VariantKind

# The hub's own rule for repository names: 1-96 of [A-Za-z0-9_.-], no leading or trailing dot or dash, no "..".
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_MODEL_ID = re.compile(rf"{_NAME}/{_NAME}")
_LABEL = re.compile(_NAME)

GGUF = "gguf"
"""The library of models in GGUF files, and the runtime that holds them."""

ADAPTED = "peft"
"""The library of adapters."""

ONNX = "onnx"
"""The library of models in ONNX files, made here or elsewhere, and the runtime that holds them."""

OPENVINO = "openvino"
"""The library of variants that were made here for OpenVINO, and the runtime that holds them."""

STATIC = "static"
"""The runtime that holds tables of vectors, one for each token."""

NO_MODEL_ID = "no model id"
"""Why a model's name is refused that only an alias could have."""

UNSAFE = "unsafe"
"""Why a model is refused that the operator may accept: its files run code when they are loaded."""


LIBRARIES = {
    "transformers": ("transformers", "sentence-transformers", ADAPTED),
    "diffusers": ("diffusers",),
    ONNX: (ONNX,),
    OPENVINO: (OPENVINO,),
    GGUF: (GGUF,),
    STATIC: (TABLE,),
}
"""By runtime, the libraries whose models it holds. sentence-transformers folders are transformers inside."""


def runtime_of(library: str) -> str:
    """The runtime that holds models of a library."""
    return next((runtime for runtime, held in LIBRARIES.items() if library in held), "transformers")


@lru_cache(maxsize=4096)
def check_model_id(model_id: str) -> str:
    """`model_id` itself when it is a well-formed `org/name`; of one of its files, `org/name:label`, its one spelling.
    Raises InvalidRequest otherwise."""
    repository, label = split_file(model_id)
    well_formed = _MODEL_ID.fullmatch(repository) and (label is None or _LABEL.fullmatch(label))
    if not well_formed or ".." in model_id or "--" in model_id:
        raise InvalidRequest(
            field="model",
            got=model_id,
            accepted="org/name, each 1-96 letters, digits, '-', '_' or '.', not starting or ending with '-' or '.'; "
            "or one of its files, as in org/name:Q4_K_M",
            cause=NO_MODEL_ID,
        )
    return model_id if label is None else spell(model_id)


class Source(StrEnum):
    """Where a model's files come from. PROVIDER: they stay with it."""

    FOLDER = "folder"
    HUB = "hub"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a model's files say.

    `task` is one of the contract's ids, or None when the files do not tell. `pickle_only` (opening its weights may run
    any code) and `remote_code` (loading runs code from its repository) are dangers that an operator may accept;
    `problem` is one that nobody can: a clause that follows the model's name. `weight_files`: the files that loading
    reads the weights from, the one that names the others first. `labels`: of files, by which `org/name:label` chooses
    one. `exported`: a graph that others have exported to ONNX; False of the variants made here. `token_bytes`: what a
    runtime that sets aside memory for its whole context takes for one token of it.
    `quantisation`: what its weights are quantised with, if they are, and `loaded_bytes` what those become when they
    are loaded on a CPU. `batch_bytes`: what a batch of requests takes beside them while it is computed. `precision`:
    BF16, where the operator wants its weights in that; None: as usual.
    `quality`: of a variant, how near its answers are to its original's, `original_mark` and `difference`: see
    records.variants. `warning`: what whoever takes it should know of its answers, in a sentence. `adapter`: what is
    particular to an adapter, whose task, architecture and length are its base's; None: it is a whole model.
    """

    task: str | None = None
    architecture: str | None = None
    library: str = "transformers"
    parameters: int | None = None
    weight_bytes: int | None = None
    dtype: str | None = None
    max_length: int | None = None
    license: str | None = None
    pipeline_tag: str | None = None
    remote_code: bool = False
    pickle_only: bool = False
    problem: str | None = None
    weight_files: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    exported: bool = False
    token_bytes: int = 0
    quantisation: str | None = None
    precision: str | None = None
    loaded_bytes: int | None = None
    batch_bytes: int = 0
    quality: Mapping[str, float] = field(default_factory=dict)
    original_mark: str | None = None
    difference: float | None = None
    warning: str | None = None
    adapter: Adapter | None = None

    def refused(self, problem: str | None, **more: Any) -> Inspection:
        """The same with that problem, if it is one, and with `more` found out."""
        return replace(self, problem=problem, **more)

    @property
    def keeps_context(self) -> bool:
        """Whether its runtime sets aside memory for a whole context when it loads the model."""
        return self.library == GGUF

    @property
    def is_one_file(self) -> bool:
        """Whether its runtime is told which file to load, since there may be others beside it."""
        return self.keeps_context or self.exported

    @property
    def runtime(self) -> str:
        """The runtime that holds such a model in a worker."""
        return runtime_of(self.library)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a model's download is. Bytes that were on this machine before count as done."""

    model_id: str
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]
"""Called on the event loop, some times a second; must be quick and must not raise."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model without loading it.

    `task` is the inspection's, or a word for models whose files do not tell it. `memory_bytes` is the measured peak
    when `measured`, else an estimate from the weights. `path` is the folder that holds the files when they are on this
    machine, else None. `device_bytes`: the measured peak on an accelerator, 0 where none was
    used. `max_batch`: most requests in one batch, as far as that was measured to pay; None: the task's
    own. `max_threads`: that a replica uses, where more were measured to slow it; None: its share of the cores.
    `refusal` says why the model must not be served (pickle weights, remote code, no weights). `base`: of an
    adapter, the model that it changes. `closed`: of a model that only its provider runs.
    """

    model_id: str
    task: str
    source: Source
    memory_bytes: int
    inspection: Inspection
    measured: bool = False
    path: Path | None = None
    revision: str | None = None
    max_batch: int | None = None
    device_bytes: int = 0
    refusal: str | None = None
    base: ModelCard | None = None
    max_threads: int | None = None
    closed: ClosedModel | None = None

    @property
    def is_here(self) -> bool:
        """Whether all its files are on this machine, and nobody has removed their folder meanwhile."""
        return self.path is not None and self.path.is_dir() and (self.base is None or self.base.is_here)

    @property
    def memory_source(self) -> str | None:
        """How `memory_bytes` is known; None for a model that cannot be loaded, of which it says nothing."""
        if self.measured:
            return "measured"
        return "estimated" if self.inspection.problem is None else None

    @property
    def has_pickles(self) -> bool:
        """Whether its weights, or its base's, are pickles, of which others are made before they are loaded."""
        return self.inspection.pickle_only or (self.base is not None and self.base.has_pickles)

    @property
    def refusal_cause(self) -> str | None:
        """UNSAFE when the operator may accept what its refusal says; None: nobody can."""
        return UNSAFE if self.refusal is not None and self.inspection.problem is None else None

    def check_served(self) -> None:
        """Raises ModelRefused when it must not be served."""
        if self.refusal is not None:
            raise ModelRefused(self.refusal, cause=self.refusal_cause, model=self.model_id)


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a model that serves: itself, or a variant of it that answers equally. `why`: by what figures.
    `threads`: that a replica uses at most, where more were measured to slow it; None: its share of the cores."""

    variant: VariantKind | None
    why: str
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """A model's peak memory as measured. `weight_bytes`: of the weights it was measured with; None: not known.
    `max_batch`: the most requests in one batch while it was measured; None: the task's own limit.
    `device_bytes`: its peak on an accelerator, 0 where it used none. `precision`: of the inspection it was made of.
    `form`: in which of its forms it answered fastest, where more than one was measured.

    It says nothing of weights of another size or precision: then the model is another one under the same name.
    """

    memory_bytes: int
    weight_bytes: int | None = None
    max_batch: int | None = None
    device_bytes: int = 0
    precision: str | None = None
    form: Form | None = None

    def holds_for(self, weight_bytes: int | None, precision: str | None = None) -> bool:
        """Whether it was made with weights of this size, as far as is known, and in this precision."""
        same_size = self.weight_bytes is None or weight_bytes is None or self.weight_bytes == weight_bytes
        return same_size and self.precision == precision


@dataclass(frozen=True, slots=True)
class Listing:
    """A model's line in the catalogue: what its files, a published list or a measurement say of it.

    `source`: folder, hub, published (a shipped list, files unseen), requested (asked for, files unseen) or variant.
    `memory_source`: measured, estimated or published; only the first two say what this server's replicas need.
    `refusal` says why it must not be served. `facts` is plain JSON, such as `{"load_ms": 412}`; its `weight_bytes`
    tells which weights a measurement was made with, its `refusal_cause` is the card's.
    """

    model_id: str
    source: str
    updated_at: datetime
    task: str | None = None
    memory_bytes: int | None = None
    memory_source: str | None = None
    parameters: int | None = None
    architecture: str | None = None
    revision: str | None = None
    license: str | None = None
    variant_of: str | None = None
    refusal: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
