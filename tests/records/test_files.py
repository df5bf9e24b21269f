"""Names of files of a repository: one spelling for each."""

from __future__ import annotations

import pytest

from modelyard.records.files import spell
from modelyard.records.models import check_model_id


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("a/M", "a/M"),
        ("a/M:q4_k_m", "a/M:Q4_K_M"),
        ("a/M:Q4_K_M", "a/M:Q4_K_M"),
        ("a/M:ud-iq2_xxs", "a/M:UD-IQ2_XXS"),
        ("a/M:bf16", "a/M:BF16"),
        ("a/M:mxfp4_moe", "a/M:MXFP4_MOE"),
        ("a/M:Q8", "a/M:q8"),
        ("a/M:FP16", "a/M:fp16"),
        ("a/M:My-Model.v2", "a/M:my-model.v2"),
    ],
)
def test_a_label_has_one_spelling(typed: str, spelled: str) -> None:
    assert spell(typed) == check_model_id(typed) == spelled
    assert spell(spelled) == spelled
