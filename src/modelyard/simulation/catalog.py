"""The models of a trace, as control's catalog knows them. Owns their cards, which are made when somebody asks."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from modelyard.catalog.catalog import Catalog
from modelyard.errors import UnknownModel
from modelyard.records.models import Inspection, ModelCard, Source
from modelyard.simulation.traces import Trace, TracedModel

TASK = "text-generation"
EVERYWHERE = Path("/")
"""The folder of all models' files: one that is there."""


class TracedModels:
    """Has of a catalog what control asks of it: cards, who may use them, and what a replica loads."""

    def __init__(self, trace: Trace) -> None:
        self._by_id: dict[str, TracedModel] = {each.model_id: each for each in trace.models}

    async def get(self, model_id: str, account_id: str | None = None) -> ModelCard:
        """The card of a model of the trace, whose files are here. Raises UnknownModel."""
        traced = self._by_id.get(model_id)
        if traced is None:
            raise UnknownModel(f"The trace has no model {model_id}.", model=model_id)
        inspection = Inspection(task=TASK, weight_bytes=traced.memory_bytes)
        return ModelCard(model_id, TASK, Source.FOLDER, traced.memory_bytes, inspection, measured=True, path=EVERYWHERE)

    def may_use(self, account_id: str, card: ModelCard) -> bool:
        """Everybody may."""
        return True

    def form_of(self, card: ModelCard) -> ModelCard:
        """There is one form of each."""
        return card

    def as_catalog(self) -> Catalog:
        """Itself, for whoever asks for a catalog and means no more of it than there is here."""
        return cast(Catalog, self)
