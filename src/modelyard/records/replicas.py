"""What a worker is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:  # a worker that boots needs no card
    from modelyard.records.models import ModelCard


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """Everything a worker needs to serve one model. `secret` authenticates the connection to it.

    `remote_code`: the model needs it, and the operator has allowed it. `max_batch`: most calls in one batch, at least
    1; None: the task's own. `memory_limit_bytes`: what the worker may allocate for its model, weights included; None:
    as much as there is. `device`: what it computes on, by its number among those that it sees, which `visible_devices`
    names as CUDA_VISIBLE_DEVICES does; None: all that its engine sees. With a `device_count` above 1 it lies on so many
    of them, and may take `device_share_bytes` of each. `reserved_bytes`: what of its devices, or else of its node, is
    set aside for it, which what it keeps between requests stays within; None: not told. `owner`: whose it is, as far as
    the engine needs to tell owners apart; no worker is told. `cluster_id`, `need_bytes`, `need_device_bytes`: of which
    cluster it is, and what is set aside for it on its node and its device, for the server that finds it when the one
    that launched it has ended; no worker is told. `sandbox`: off, or auto, or strict, here the same: confined;
    `network`: it may open connections all the same; `scratch`: the folder it makes for itself to write in. `weights`:
    the file in `path` to load, and `context_tokens` how long its texts are, prompt and answer together, where the
    runtime needs to be told. `base`: of an adapter, the folder of the model that it changes. `beside`: the replica of
    that model in whose process it is to run; None: in one of its own. `threads`: of one operation, the engine's to say;
    `most_threads`: that it may say, None: any; `all_cores`: of all cores rather than of a share of them, for a replica
    that is measured beside others which are idle meanwhile.
    """

    replica_id: str
    model_id: str
    path: str
    task: str
    runtime: str = "transformers"
    device: str = "auto"
    visible_devices: str | None = None
    device_count: int = 1
    device_share_bytes: int = 0
    threads: int = 1
    remote_code: bool = False
    secret: str = ""
    log_path: str | None = None
    max_batch: int | None = None
    memory_limit_bytes: int | None = None
    owner: str = ""
    sandbox: str = "off"
    network: bool = False
    scratch: str | None = None
    weights: str | None = None
    context_tokens: int | None = None
    precision: str | None = None
    base: str | None = None
    beside: str | None = None
    most_threads: int | None = None
    all_cores: bool = False
    reserved_bytes: int | None = None
    cluster_id: str = ""
    need_bytes: int = 0
    need_device_bytes: int = 0

    @classmethod
    def of(cls, replica_id: str, card: ModelCard, path: Path | None, **more: Any) -> Self:
        """For a model whose files are at `path`. `more`: what its card does not say."""
        inspection = card.inspection
        return cls(
            replica_id=replica_id,
            model_id=card.model_id,
            path=str(path),
            task=card.task,
            runtime=inspection.runtime,
            remote_code=inspection.remote_code,
            weights=inspection.weight_files[0] if inspection.is_one_file else None,
            context_tokens=inspection.max_length if inspection.is_one_file else None,
            base=str(card.base.path) if card.base is not None else None,
            precision=inspection.precision,
            **more,
        )
