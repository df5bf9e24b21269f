"""Models of other libraries, told by what their files are called, what their config says, or their card: one clause
that names the format and the way out. The formats are listed in `foreign.toml`; nothing of a model is read here."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from modelyard.catalog.names import is_model_id
from modelyard.catalog.quantised import find_foreign_quantisation
from modelyard.catalog.readme import FrontMatter

FILE = "foreign.toml"
_LIKE_IT = "take a model for the same task that transformers loads"
_ORIGINAL = "take the repository that it was made from"

MODULES = (("pylate.", "pylate"),)
"""How the type of a part in modules.json begins, and the library of which it tells."""


class Foreign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A format as the list has it; its head says what the fields are."""

    what: str
    instead: str = _LIKE_IT
    converted: bool = False
    always: bool = False
    libraries: tuple[str, ...] = ()
    files: tuple[tuple[str, ...], ...] = ()

    def has_files(self, names: Collection[str]) -> bool:
        """Whether files of these names say that a model has this format."""
        return any(all(any(fnmatchcase(name, one) for name in names) for one in group) for group in self.files)

    def way_out(self, base_model: str | None) -> str:
        """What to do instead. `base_model`: from which the card says that this one was made."""
        if not self.converted:
            return self.instead
        return f"take {base_model}, from which it was made" if base_model and is_model_id(base_model) else _ORIGINAL

    def clause_of(self, base_model: str | None) -> str:
        """What to say of a model of this format, to follow its name."""
        return f"is {self.what}, which Modelyard does not run; {self.way_out(base_model)}"


def find_foreign(
    names: Collection[str], front: FrontMatter, config: Mapping[str, Any], modules: Sequence[Mapping[str, Any]]
) -> str | None:
    """What a model is that looks as if it could be loaded here, and must not be: a clause to follow its name."""
    if quantisation := find_foreign_quantisation(config):
        return Foreign(f"quantised with {quantisation}", converted=True).clause_of(front.base_model)
    library = _library_by_config(config, modules)
    by_files = (each for each in read_formats() if each.always and each.has_files(names))
    found = _by_library()[library] if library else next(by_files, None)
    return found.clause_of(front.base_model) if found else None


def find_foreign_files(names: Collection[str], front: FrontMatter) -> str | None:
    """What a model is that cannot be loaded here: told by its files, else by the library that its card names."""
    found = next((each for each in read_formats() if each.has_files(names)), None)
    if found is None:
        said = [name.lower() for name in (front.library_name, *front.tags) if name]
        found = next((_by_library()[name] for name in said if name in _by_library()), None)
    return found.clause_of(front.base_model) if found else None


@cache
def read_formats() -> tuple[Foreign, ...]:
    """The shipped list, in its order."""
    text = files("modelyard.catalog").joinpath(FILE).read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["format"], tuple[Foreign, ...])


@cache
def _by_library() -> dict[str, Foreign]:
    return {library: each for each in read_formats() for library in each.libraries}


def _library_by_config(config: Mapping[str, Any], modules: Sequence[Mapping[str, Any]]) -> str | None:
    for module in modules:
        for beginning, library in MODULES:
            if str(module.get("type")).startswith(beginning):
                return library
    if "chronos_config" in config:
        return "chronos-forecasting"
    if "model_type" not in config:
        return "mamba-ssm" if "ssm_cfg" in config else None
    quantised = config.get("quantization")
    is_mlx = isinstance(quantised, dict) and "group_size" in quantised and "quant_method" not in quantised
    return "mlx" if is_mlx else None
