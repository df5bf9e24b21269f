"""How much of what a model's files say is kept: texts and numbers that every list and database can hold."""

from __future__ import annotations

from dataclasses import replace

from modelyard.records.models import Inspection

MAX_SHOWN = 500
"""Characters of a file that may appear in what is said of a model. Real names and problems have a fifth of that."""
MAX_PARAMETERS = 2**63 - 1
"""What a column of a database holds."""


def bounded(inspection: Inspection) -> Inspection:
    """The same within these bounds, whatever the files say."""
    return replace(
        inspection,
        architecture=bounded_text(inspection.architecture),
        license=bounded_text(inspection.license),
        pipeline_tag=bounded_text(inspection.pipeline_tag),
        problem=bounded_text(inspection.problem),
        parameters=None if inspection.parameters is None else min(inspection.parameters, MAX_PARAMETERS),
    )


def bounded_text(text: str | None) -> str | None:
    """The text, or as much of it as may be shown."""
    return text if text is None or len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
