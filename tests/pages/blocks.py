"""The examples of the pages: fenced blocks of Markdown, and the commands in those that a shell reads."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_READ = ("docs/decisions/", "CHANGELOG.md")
"""What was so when it was written."""
ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
REDIRECTION = re.compile(r"\d?[<>].*")
BETWEEN = {"|", "&&", "||", ";"}
"""What one command ends with and another begins after."""


@dataclass(frozen=True)
class Block:
    """One example. `line`: of the page, its first."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that people read."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in sorted(done.stdout.split()) if not name.startswith(NOT_READ)]


def blocks(*languages: str) -> list[Block]:
    """All examples in those languages, in order."""
    return [block for page in pages() for block in blocks_of(page) if block.language in languages]


def blocks_of(page: Path) -> Iterator[Block]:
    """The examples of a page."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start(2)) + 1, found[1], found[2])


def commands(block: Block) -> list[list[str]]:
    """The words of each command, without the variables set for it, comments and where its output goes."""
    found: list[list[str]] = []
    pending = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        pending += line
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quotation that goes on in the next line
            pending += "\n"
            continue
        pending = ""
        for is_between, several in itertools.groupby(words, BETWEEN.__contains__):
            if not is_between and (command := _without_surroundings(several)):
                found.append(command)
    assert pending == "", f"{block}: a quotation has no end"
    return found


def _without_surroundings(words: Iterable[str]) -> list[str]:
    own = itertools.dropwhile(ASSIGNMENT.fullmatch, words)
    return list(itertools.takewhile(lambda word: not REDIRECTION.fullmatch(word), own))
