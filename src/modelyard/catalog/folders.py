"""Local model folders: `org/name/` under each of the operator's directories. Owns the memory of their inspections.

Blocking file work, for a thread, except where a method says otherwise; safe to call from several threads at once.
"""

from __future__ import annotations

import builtins
import os
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from modelyard.catalog.files import Fingerprint, FolderFiles, scan_folder
from modelyard.catalog.found import Found
from modelyard.catalog.inspection import NoSuchFile, inspect_files
from modelyard.catalog.names import is_model_id
from modelyard.records.files import split_file
from modelyard.records.models import Inspection, Source, check_model_id

_SETTLED_NS = 2_000_000_000
"""A directory changed less than this before it was listed may change again within the same clock tick, unseen."""


class Inspections:
    """Inspections of folders, each made again only when a file's name, size or modification time has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, str | None], tuple[Fingerprint, Inspection]] = {}

    def get(self, path: Path, model_id: str) -> Inspection | None:
        """What the model in the folder is, or that file of it which its id names; None when there is no such folder,
        nothing in it, or no such file."""
        name, label = split_label(model_id)
        try:
            fingerprint = scan_folder(path)
            known = self._known.get((path, label))
            if known is None or known[0] != fingerprint:
                files = FolderFiles(path, fingerprint)
                known = self._known[path, label] = fingerprint, inspect_files(files, name=name, label=label)
        except (FileNotFoundError, NotADirectoryError, NoSuchFile):
            self._known.pop((path, label), None)
            return None
        except OSError as error:
            return Inspection(problem=f"cannot be read: {_words(error)}")
        return known[1] if fingerprint else None

    def find_known(self, path: Path, model_id: str) -> Inspection | None:
        """The same, only if it is known and still true: one directory scan, quick enough for an event loop."""
        known = self._known.get((path, split_label(model_id)[1]))
        if known is None or not known[0]:
            return None
        try:
            return known[1] if known[0] == scan_folder(path) else None
        except OSError:
            return None


def split_label(model_id: str) -> tuple[str, str | None]:
    """The name of a repository, and in lower case the label of the file that is meant, if one is."""
    name, label = split_file(model_id)
    return name, label and label.lower()


def _words(error: OSError) -> str:
    """What went wrong, with the file's name and without the folder's place: clients read it."""
    name = f"{Path(os.fsdecode(error.filename)).name}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


class Folders:
    """The models in some directories; when two hold the same id, the first given wins."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(Path(root).expanduser().absolute() for root in roots)
        self._inspections = Inspections()
        self._listings: dict[Path, tuple[int, int, tuple[str, ...]]] = {}
        self._listed: tuple[builtins.list[tuple[str, tuple[str, ...]]], Sequence[str]] = ([], [])

    def find(self, model_id: str) -> Found | None:
        """The model as it is now. Raises InvalidRequest for an ill-formed id."""
        folder, _ = split_file(check_model_id(model_id))
        for root in self.roots:
            if inspection := self._inspections.get(root / folder, model_id):
                return Found(model_id, Source.FOLDER, inspection, root / folder)
        return None

    def find_known(self, model_id: str) -> Found | None:
        """The model if an earlier `find` met it and it has not changed. May be called on an event loop."""
        folder, _ = split_file(check_model_id(model_id))
        for root in self.roots:
            path = root / folder
            if inspection := self._inspections.find_known(path, model_id):
                return Found(model_id, Source.FOLDER, inspection, path)
            if path.exists():
                return None
        return None

    def stamp(self, model_id: str) -> str | None:
        """A short text that changes whenever `find` would have to look again; None when there is no such model.

        Raises InvalidRequest for an ill-formed id.
        """
        folder, _ = split_file(check_model_id(model_id))
        for root in self.roots:
            try:
                state: object = scan_folder(root / folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                state = error.errno
            if state:
                return blake2b(repr((str(root), state)).encode(), digest_size=8).hexdigest()
        return None

    def ids(self) -> Sequence[str]:
        """Every `org/name` folder with a well-formed name, sorted; the very same object while nothing has changed.

        Reads only directories that changed since.
        """
        parts = [(org, self._subfolders(root / org)) for root in self.roots for org in self._subfolders(root)]
        known, ids = self._listed
        if parts != known:
            names = {f"{org}/{name}" for org, names in parts for name in names}
            ids = sorted(model_id for model_id in names if is_model_id(model_id))
            self._listed = (parts, ids)
        return ids

    def list(self) -> builtins.list[Found]:
        """Every model, by id."""
        return [found for model_id in self.ids() if (found := self.find(model_id))]

    def _subfolders(self, path: Path) -> tuple[str, ...]:
        """The names of the folders in `path`, from memory while its modification time stands still."""
        try:
            changed_ns = path.stat().st_mtime_ns
            known = self._listings.get(path)
            if known is not None and known[0] == changed_ns and known[1] - changed_ns > _SETTLED_NS:
                return known[2]
            listed_ns = time.time_ns()
            with os.scandir(path) as entries:
                names = tuple(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            self._listings.pop(path, None)
            return ()
        self._listings[path] = (changed_ns, listed_ns, names)
        return names
