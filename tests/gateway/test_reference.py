"""That the pages of other APIs say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.gateway.reference import DESCRIBED, PAGES, Page, render

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_reference_page_is_what_the_code_says(page: Page) -> None:
    """`python -m modelyard.gateway.reference docs/reference` brings the pages up to date."""
    text = (FOLDER / page.name).read_text(encoding="utf-8")
    assert text == render(page), "run `python -m modelyard.gateway.reference`"


def test_every_surface_of_others_has_a_page() -> None:
    assert {each.tag for each in DESCRIBED} - {"inference", "v1"} == {page.tag for page in PAGES}
