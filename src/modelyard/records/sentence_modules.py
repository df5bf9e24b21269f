"""Modules of sentence-transformers, as a folder's modules.json lists them: which are run here, and what some of them
tell of the whole model. The catalogue judges by it, the worker loads by it. Pure: reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Modules = Sequence[Mapping[str, Any]]
"""The content of modules.json."""

OWN = "sentence_transformers."
"""How the types of that library's own modules begin."""
STATIC = "StaticEmbedding"
"""A table with a vector for each token, in place of a model."""
WEIGHING = "SpladePooling"
"""Makes one weight for each word of the vocabulary of what a masked language model says of each token."""
ROUTER, ROUTER_FILE = "Router", "router_config.json"
"""Asks one list of modules about queries and another about documents. The file, in its folder, that has the lists."""
QUERY, DOCUMENT = "query", "document"
WORD_WEIGHTS = "SparseStaticEmbedding"
"""A table with a weight for each word of the vocabulary, which weighs queries in place of a model."""
KINDS = (
    "Transformer", "MLMTransformer", "CLIPModel", STATIC, "WeightedLayerPooling", "Pooling", WEIGHING, "Dense",
    "LayerNorm", "Dropout", "Normalize", WORD_WEIGHTS,
)  # fmt: skip
"""The modules that are run here."""
TABLE = "model2vec"
"""What a config.json calls a model that is such a table, and the library that saved it."""


def kind_of(module: Mapping[str, Any]) -> str:
    """The class of a module, without where it is defined."""
    return str(module.get("type")).rsplit(".", 1)[-1]


def take_routes(modules: Modules, routes: Mapping[str, Any]) -> Modules:
    """The modules with a router's own ones in its place: those for documents, and last of all the table for queries.
    The same list without a router, or where its lists are not those of SPLADE without a model for queries.

    `routes`: the content of the router's file.
    """
    if not modules or kind_of(modules[0]) != ROUTER:
        return modules
    structure, types = routes.get("structure"), routes.get("types")
    if not isinstance(structure, dict) or not isinstance(types, dict) or structure.keys() != {QUERY, DOCUMENT}:
        return modules
    documents, queries = (
        [{"type": types.get(part), "path": join(modules[0].get("path"), part)} for part in structure[route]]
        for route in (DOCUMENT, QUERY)
    )
    if [kind_of(each) for each in queries] != [WORD_WEIGHTS] or not weighs_words(documents):
        return modules
    return [*documents, *modules[1:], *queries]


def join(folder: Any, part: Any) -> str:
    """A folder in another one; "" is the one that both are in."""
    return "/".join(str(each) for each in (folder, part) if each)


def find_unknown(modules: Modules) -> str | None:
    """The first module of the library's own that is not run here."""
    own = (kind_of(module) for module in modules if str(module.get("type")).startswith(OWN))
    return next((kind for kind in own if kind not in KINDS), None)


def weighs_words(modules: Modules) -> bool:
    """Whether the model answers with a weight for each word of its vocabulary."""
    return any(kind_of(module) == WEIGHING for module in modules)


def is_static(modules: Modules, config: Mapping[str, Any]) -> bool:
    """Whether the model is a table of vectors. `config`: its config.json, where it has one."""
    return kind_of(modules[0]) == STATIC if modules else config.get("model_type") == TABLE
