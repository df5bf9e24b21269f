"""Which runtime holds a model, where the operator has a say: the setting `runtime`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelyard.errors import InvalidRequest
from modelyard.records.models import Form, Measurement, check_model_id
from modelyard.records.variants import EXACT_KINDS, VariantKind

FASTEST, ORIGINAL = OF_ALL = ("fastest", "original")
ACCEPTED = "fastest or original, or org/name=fastest, =original, =onnx or =openvino"


@dataclass(frozen=True, slots=True)
class Runtimes:
    """`every`: of all models but those in `by_model`. "fastest": the form that a job has measured to be."""

    every: str = FASTEST
    by_model: Mapping[str, str] = field(default_factory=dict)

    def of(self, model_id: str) -> str:
        """What is wanted of one model."""
        return self.by_model.get(model_id, self.every)

    def variant_of(self, model_id: str, measurement: Measurement | None) -> VariantKind | None:
        """The variant to load in place of the model, if it is there; None: the model itself."""
        form: Form | None = None if measurement is None else measurement.form
        wanted = self.of(model_id)
        for kind in EXACT_KINDS:
            if wanted == kind:
                return kind
        return form.variant if form is not None and wanted == FASTEST else None

    def threads_of(self, model_id: str, measurement: Measurement | None) -> int | None:
        """Threads that a replica of the form that was measured to be best uses at most; None: its share."""
        form: Form | None = None if measurement is None else measurement.form
        return form.threads if form is not None and self.of(model_id) == FASTEST else None


MEASURED = Runtimes()


def read_runtimes(values: Sequence[str]) -> Runtimes:
    """The setting as it is meant; the last word about a model counts. Raises InvalidRequest."""
    every, by_model = FASTEST, {}
    for value in values:
        model_id, _, choice = value.rpartition("=")
        if choice not in (*OF_ALL, *(EXACT_KINDS if model_id else ())):
            raise InvalidRequest(field="runtime", got=value, accepted=ACCEPTED)
        if model_id:
            by_model[check_model_id(model_id)] = choice
        else:
            every = choice
    return Runtimes(every, by_model)
