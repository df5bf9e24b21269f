"""Variants: a model in another form, under the model's own name with an ending. Owns the endings. Pure."""

from __future__ import annotations

from modelyard.records.models import VariantKind

KINDS: tuple[VariantKind, ...] = ("onnx.8-bit", "onnx")
"""Every kind of variant, the longer endings first: `org/name.onnx.8-bit` is not an `8-bit` of something."""
FOLDER = "variants"
"""In the data folder: where variants lie, as `org/name.<kind>/`, like the models of any other folder."""


def split_variant(model_id: str) -> tuple[str, VariantKind | None]:
    """The model a name means and, when it names a variant of it, the variant's kind."""
    for kind in KINDS:
        if model_id.endswith(f".{kind}") and not model_id.removesuffix(f".{kind}").endswith("/"):
            return model_id.removesuffix(f".{kind}"), kind
    return model_id, None
