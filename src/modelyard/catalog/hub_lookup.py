"""What hub and cache together say of a model: is there one, what is it, which of its files are still to fetch.

Blocking, for threads; remembers nothing but the inspections of cached snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelyard.catalog.folders import Inspections
from modelyard.catalog.found import Found
from modelyard.catalog.hub_cache import HubCache
from modelyard.catalog.hub_client import BAD_CREDENTIALS, HubClient, HubUnreachable, Repository, RepositoryMissing
from modelyard.catalog.hub_files import HubFiles
from modelyard.catalog.inspection import NoSuchFile, inspect_files
from modelyard.catalog.selection import select_files
from modelyard.errors import DownloadFailed, ModelRefused, ModelyardError
from modelyard.records.files import repository_of, split_file
from modelyard.records.models import Inspection, Source

FOUND_TTL_S = 300.0
MISSING_TTL_S = 30.0
FAILED_TTL_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a lookup said, good for `ttl_s` seconds.

    `found` or `error`, or neither: there is no such model. `repository` when the hub itself described it.
    `restricted`: whether the hub shows the model to this server's token only; None when it did not say. `to_strangers`:
    what those are told who may not see the model, where that differs.
    """

    ttl_s: float
    found: Found | None = None
    repository: Repository | None = None
    error: ModelyardError | None = None
    restricted: bool | None = None
    to_strangers: Answer | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A download to do: `small` files first, then `weights`, so that a snapshot with weights is a complete one.

    `is_main`: the repository's commit is the one that its main branch is at.
    """

    repository: Repository
    small: Sequence[str]
    weights: Sequence[str]
    is_main: bool

    @property
    def names(self) -> list[str]:
        """All files, in order."""
        return [*self.small, *self.weights]

    @property
    def total_bytes(self) -> int:
        """The size of all files, here already or not."""
        return sum(self.repository.files[name].size for name in self.names)


class HubLookup:
    """The hub asked first, the cache when it cannot be."""

    def __init__(self, client: HubClient, cache: HubCache, *, offline: bool) -> None:
        self._client = client
        self._cache = cache
        self._offline = offline
        self._inspections = Inspections()

    def look(self, model_id: str, known: Answer | None = None) -> Answer:
        """What there is to say of the model. `known`: the last answer, whose inspection holds while the commit does."""
        if self._offline:
            return self._from_cache(model_id, None, Answer(MISSING_TTL_S))
        try:
            repository = self._client.describe(repository_of(model_id))
            inspection = self._inspect(model_id, repository, known)
        except RepositoryMissing:
            return self._withheld(self._from_cache(model_id, None, Answer(MISSING_TTL_S)))
        except ModelRefused as error:
            answer = self._from_cache(model_id, None, Answer(MISSING_TTL_S, error=error))
            return answer if error.data.get("cause") == BAD_CREDENTIALS else self._withheld(answer)
        except HubUnreachable as error:
            failed = DownloadFailed(
                f"{str(error).removesuffix('.')}, and {model_id} is not complete in the cache.",
                detail=" ".join(filter(None, [error.detail, f"The cache is {self._cache.root}."])),
            )
            return self._from_cache(model_id, known, Answer(FAILED_TTL_S, error=failed))
        except NoSuchFile:
            return Answer(MISSING_TTL_S, restricted=repository.restricted, to_strangers=Answer(MISSING_TTL_S))
        path = self._complete(repository, inspection)
        found = Found(model_id, Source.HUB, inspection, path, repository.commit)
        missing = Answer(MISSING_TTL_S)
        return Answer(FOUND_TTL_S, found, repository, restricted=repository.restricted, to_strangers=missing)

    def plan(self, model_id: str, revision: str | None, known: Answer | None = None) -> Plan | Path:
        """What is to be fetched for that revision, or the folder when there is nothing to fetch.

        `revision`: a commit, branch or tag; None: what `known` describes, else the main branch. Raises DownloadFailed,
        ModelRefused.
        """
        if known and known.repository and known.found and revision in {None, known.repository.commit}:
            repository, inspection, is_main = known.repository, known.found.inspection, True
        else:
            is_main = revision in {None, "main"}
            here = self._complete_snapshot(model_id, revision)
            if here is not None and (self._offline or here.name == revision):
                return here
            try:
                repository = self._describe(model_id, revision)
                inspection = self._inspect(model_id, repository, None)
            except HubUnreachable as error:
                if here is not None:
                    return here
                raise DownloadFailed(f"{model_id} cannot be fetched: {error}", detail=error.detail) from error
            except RepositoryMissing as error:
                gone = f"{model_id} cannot be fetched: the hub has no such model."
                raise DownloadFailed(gone, detail=f"The hub is {self._client.endpoint}.") from error
            except NoSuchFile as error:
                raise DownloadFailed(f"{model_id} cannot be fetched: its repository has no such file.") from error
        if inspection.problem:
            raise ModelRefused(f"{model_id} {inspection.problem}.", model=model_id)
        small, weights = select_files(repository.files, inspection)
        plan = Plan(repository, small, weights, is_main)
        if all(self._cache.file(repository, name) for name in plan.names):
            return self._cache.snapshot_path(model_id, repository.commit)
        return plan

    def missing_bytes(self, plan: Plan) -> int:
        """How much of the plan is still to come, beyond partial files."""
        return sum(
            plan.repository.files[name].size - self._cache.partial_bytes(plan.repository, name)
            for name in plan.names
            if self._cache.file(plan.repository, name) is None
        )

    def complete_in_cache(self) -> list[Found]:
        """The models of which every file that serving needs is here."""
        return [*self._each_complete()]

    def _each_complete(self) -> Iterator[Found]:
        for model_id in self._cache.model_ids():
            path = self._complete_snapshot(model_id, None)
            inspection = self._inspections.get(path, model_id) if path else None
            if path and inspection:
                yield Found(model_id, Source.HUB, inspection, path, path.name)

    def _describe(self, model_id: str, revision: str | None) -> Repository:
        if self._offline:
            raise HubUnreachable("HF_HUB_OFFLINE is set, and the cache does not hold all of it.")
        return self._client.describe(repository_of(model_id), revision)

    def _inspect(self, model_id: str, repository: Repository, known: Answer | None) -> Inspection:
        """What the repository is, or that file of it which the name means. Raises NoSuchFile."""
        if known and known.found and known.repository and known.repository.commit == repository.commit:
            return known.found.inspection
        files = HubFiles(repository, self._client, self._cache)
        return inspect_files(files, repository.front, name=repository.model_id, label=split_file(model_id)[1])

    def _from_cache(self, model_id: str, known: Answer | None, otherwise: Answer) -> Answer:
        """The model as the cache holds it or as it was last known; `otherwise` when neither helps."""
        path = self._complete_snapshot(model_id, None)
        inspection = self._inspections.get(path, model_id) if path else None
        if path and inspection:
            found = Found(model_id, Source.HUB, inspection, path, path.name)
            return Answer(otherwise.ttl_s, found, to_strangers=otherwise)
        if known and known.found:
            return Answer(otherwise.ttl_s, known.found, known.repository, to_strangers=otherwise)
        return otherwise

    def _withheld(self, answer: Answer) -> Answer:
        """For a model that the hub does not hand out to this server's token (any more): what is here of it is not for
        everybody."""
        return replace(answer, restricted=True) if answer.found else answer

    def _complete(self, repository: Repository, inspection: Inspection) -> Path | None:
        small, weights = select_files(repository.files, inspection)
        if weights and all(self._cache.file(repository, name) for name in [*small, *weights]):
            return self._cache.snapshot_path(repository.model_id, repository.commit)
        return None

    def _complete_snapshot(self, model_id: str, revision: str | None) -> Path | None:
        """The snapshot if its own files say that none is missing; the hub's list of them is not needed for that."""
        path = self._cache.snapshot(model_id, revision)
        inspection = self._inspections.get(path, model_id) if path else None
        return path if inspection and inspection.weight_files and not inspection.problem else None
