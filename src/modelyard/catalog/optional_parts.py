"""The parts of this package that are installed by name: `pip install 'modelyard[gguf]'`. Imports none of them."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.catalog import gguf, library, provided, vision
from modelyard.catalog.quantised import METHODS


@dataclass(frozen=True, slots=True)
class OptionalPart:
    """One of them. `module`: by which it is known whether it is here; `purpose`: what it is for, in a few words."""

    extra: str
    module: str
    purpose: str

    @property
    def is_installed(self) -> bool:
        """Whether it is here."""
        return library.is_installed(self.module)


PARTS = (
    OptionalPart("gguf", gguf.LLAMA_CPP, "models in GGUF files"),
    *(
        OptionalPart(each.extra, each.module, f"models quantised with {each.name}")
        for each in METHODS.values()
        if each.extra and each.module
    ),
    OptionalPart("openvino", "openvino", "a faster form of models that answer in one pass"),
    OptionalPart("providers", provided.LIBRARY, "closed models of providers"),
    OptionalPart("ray", "ray", "replicas on several machines"),
    OptionalPart(vision.EXTRA, vision.TIMM, "models that see with torchvision or timm"),
)
"""All of them. `gpu` and `all` name several of these."""
