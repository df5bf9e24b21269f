"""Names of models: what is one, and what is refused before any folder or hub is asked for it."""

from __future__ import annotations

import pytest

from modelyard.errors import InvalidRequest
from modelyard.records.models import check_model_id

LONGEST = f"{'o' * 96}/{'n' * 96}"


@pytest.mark.parametrize("model_id", ["openai-community/gpt2", "a/b", "Org_1/name.with-dots_2", LONGEST])
def test_a_name_is_itself(model_id: str) -> None:
    assert check_model_id(model_id) == model_id


@pytest.mark.parametrize(
    "model_id",
    ["", "gpt2", "a/b/c", "a/", "/b", "../b", "a/..", "a/b..c", "a/b--c", "-a/b", "a/b-", ".a/b", "a/b.", "a b/c",
     "a/b\n", "a/b\x00", f"{'o' * 97}/n", f"o/{'n' * 97}"],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_the_rule(model_id: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_model_id(model_id)
    assert refused.value.data["field"] == "model"
    assert "org/name" in str(refused.value.data["accepted"])
