"""The list of models that comes with the program. Owns its file; asks nobody.

Its memory figures are the hosted service's own measurements, on its machines: to show, never to place replicas by.
"""

from __future__ import annotations

import tomllib
from datetime import datetime
from importlib.resources import files

from modelyard.records.models import Listing
from modelyard.units import GIB

FILE = "published.toml"


def read_published(now: datetime) -> list[Listing]:
    """The models of the shipped list, in its order, as known at `now`."""
    text = files("modelyard.catalog").joinpath(FILE).read_text(encoding="utf-8")
    return [
        Listing(
            model_id=model["id"],
            source="published",
            updated_at=now,
            task=model["task"],
            memory_bytes=round(model["required_gb"] * GIB),
            memory_source="published",
            parameters=model.get("parameters"),
        )
        for model in tomllib.loads(text)["models"]
    ]
