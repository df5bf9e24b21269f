"""The page that is made of the table of providers."""

from __future__ import annotations

from pathlib import Path

from modelyard.providers.reference import NAME, render


def test_the_page_is_up_to_date() -> None:
    """`python -m modelyard.providers.reference docs/reference` brings it up to date."""
    page = Path(__file__).parents[2] / "docs" / "reference" / NAME
    assert page.read_text(encoding="utf-8") == render()
