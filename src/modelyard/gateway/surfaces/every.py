"""Every surface's inferences: at which path each is, and how it is described. Owns paths; adds nothing to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from modelyard.gateway.kept_files import KeptFiles
from modelyard.gateway.kept_responses import KeptResponses
from modelyard.gateway.operation import Operation
from modelyard.gateway.surfaces.anthropic.inference import ANTHROPIC_INFERENCES, anthropic_surfaces
from modelyard.gateway.surfaces.base import Surface
from modelyard.gateway.surfaces.huggingface.inference import (
    HUGGINGFACE_INFERENCES,
    PREFIX,
    huggingface_surfaces,
)
from modelyard.gateway.surfaces.inference import V1_INFERENCE, V2_CLOSED_INFERENCE, V2_INFERENCE
from modelyard.gateway.surfaces.openai.inference import OPENAI_INFERENCES, openai_surfaces
from modelyard.gateway.surfaces.rerank.inference import RERANK_INFERENCES, rerank_surfaces
from modelyard.gateway.surfaces.v1.inference import V1Inference
from modelyard.gateway.surfaces.v2.inference import V2Inference
from modelyard.media.artefacts import Artefacts

INFERENCES: tuple[Operation, ...] = (
    V2_INFERENCE,
    V2_CLOSED_INFERENCE,
    V1_INFERENCE,
    *OPENAI_INFERENCES,
    *RERANK_INFERENCES,
    *HUGGINGFACE_INFERENCES,
    *ANTHROPIC_INFERENCES,
)

OPENAI_ROOT = "v1"
"""Below the organisation openai: its API's paths, not a model's name."""


@dataclass(frozen=True, slots=True)
class Surfaces:
    """Where inferences are. `at`: by path. `named`: by the prefix of paths that go on with a model's name, and by what
    may follow the name, which may be nothing. `providers`: whose models' names may have a slash, where nothing may
    follow."""

    at: Mapping[str, Surface]
    named: Mapping[str, Mapping[str, Surface]]
    providers: Collection[str] = ()

    def find(self, path: str) -> tuple[Surface, str | None] | None:
        """The surface of the inference at a path, and the model that the path names; None where there is none."""
        if (surface := self.at.get(path)) is not None:
            return surface, None
        for prefix, below in self.named.items():
            if path.startswith(prefix):
                org, _, rest = path[len(prefix) :].partition("/")
                model, slash, end = rest.partition("/")
                if model and (surface := below.get(slash + end)) is not None:
                    return surface, f"{org}/{model}"
                has_slash = end and "/" not in end
                if (
                    has_slash
                    and org in self.providers
                    and model != OPENAI_ROOT
                    and (surface := below.get("")) is not None
                ):
                    return surface, f"{org}/{model}/{end}"
        return None


def open_surfaces(
    artefacts: Artefacts,
    responses: KeptResponses,
    max_body_bytes: int,
    public_url: str,
    providers: Collection[str] = (),
) -> Surfaces:
    """All of them. `public_url`: see KeptFiles. `providers`: see Surfaces."""
    kept = KeptFiles(artefacts, public_url)
    return Surfaces(
        at={
            "/model/run": V1Inference(max_body_bytes),
            **openai_surfaces(kept, responses, max_body_bytes),
            **rerank_surfaces(max_body_bytes),
            **anthropic_surfaces(max_body_bytes),
        },
        named={
            "/models/v2/": {"": V2Inference(kept, max_body_bytes)},
            PREFIX: huggingface_surfaces(max_body_bytes),
        },
        providers=providers,
    )
