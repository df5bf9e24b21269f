"""Models in every quantised form: what a worker answers, beside the library called directly and the original."""

from __future__ import annotations

import pytest

from tests.builders.quantised import FORMS, OFTEN, Figures, compare

BITS_8, FLOATS_8, BLOCKS_4, BITS_4 = 0.05, 0.15, 0.25, 0.45
"""The root mean square of the logits' error, in their own standard deviations: what the form itself costs a model with
random weights. Measured 0.02-0.034, 0.08-0.125, 0.165, 0.29-0.40."""
BOUNDS = dict.fromkeys(FORMS, BITS_8) | {
    "torchao-float8": FLOATS_8,
    "compressed-tensors-fp8": FLOATS_8,
    "compressed-tensors-fp8-dynamic": FLOATS_8,
    "fp8": FLOATS_8,
    "mxfp4": BLOCKS_4,
    "bitsandbytes-nf4": BITS_4,
    "bitsandbytes-nf4-double": BITS_4,
    "bitsandbytes-fp4": BITS_4,
    "torchao-int4": BITS_4,
    "torchao-int4-dynamic": BITS_4,
    "compressed-tensors-w4a16": BITS_4,
}
ROUNDING = 1e-4
END = 2
SELDOM = tuple(form for form in FORMS if form not in OFTEN)
"""Made by `make verify` only: each takes more than a second of CPU time."""
EVERY = [form if form in OFTEN else pytest.param(form, marks=pytest.mark.verify(part="variants")) for form in FORMS]


@pytest.fixture(scope="module")
def seldom_forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figures]:
    return compare(tmp_path_factory.mktemp("seldom-forms"), *SELDOM)


@pytest.fixture
def found(form: str, request: pytest.FixtureRequest) -> Figures:
    """The figures of the test's form."""
    figures: dict[str, Figures]
    if form in OFTEN:
        _, figures = request.getfixturevalue("quantised_forms")
    else:
        figures = request.getfixturevalue("seldom_forms")
    return figures[form]


@pytest.mark.parametrize("form", EVERY)
def test_a_quantised_model_answers_as_the_library_called_directly(found: Figures) -> None:
    assert found.to_library <= ROUNDING
    assert found.tokens == [token for token in found.direct_tokens if token != END]


@pytest.mark.parametrize("form", EVERY)
def test_a_quantised_model_is_as_near_its_original_as_its_form_allows(found: Figures, form: str) -> None:
    assert 0 < found.to_plain <= BOUNDS[form]


@pytest.mark.parametrize("form", EVERY)
def test_a_row_of_a_batch_gets_what_it_gets_alone(found: Figures) -> None:
    assert found.to_batch <= ROUNDING
