"""The console's sources: built as they are, and without what would let somebody's words run."""

from __future__ import annotations

from pathlib import Path

from console.build import CONSOLE, DIGESTS, digests


def sources() -> list[Path]:
    return [path for path in (CONSOLE / "src").rglob("*") if path.suffix in (".svelte", ".ts")]


def test_the_built_files_are_those_of_the_sources() -> None:
    assert DIGESTS.read_text(encoding="ascii") == digests(), "`make console` builds them anew"


def test_nothing_is_ever_shown_as_markup() -> None:
    forbidden = ("{@html", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function")
    found = [f"{path.name}: {word}" for path in sources() for word in forbidden if word in path.read_text("utf-8")]
    assert found == []
    assert len(sources()) > 20


def test_no_key_is_kept_in_the_browser() -> None:
    keeping = [
        path.name
        for path in sources()
        if "Storage" in path.read_text("utf-8") or "indexedDB" in path.read_text("utf-8")
    ]
    assert keeping == ["theme.svelte.ts"]
