from __future__ import annotations

from collections.abc import Sequence

import pytest

from modelyard.protocol import CalledPiece, Thought
from modelyard.tasks.shared.answer_text import AnswerText
from modelyard.tasks.shared.call_formats import find_call_format
from modelyard.tasks.shared.thinking import FORMATS, Thinking, ThinkingFormat, find_thinking, find_thinking_format
from modelyard.tasks.shared.tool_calls import Offer

BY_NAME = {each.name: each for each in FORMATS}
FINAL = "<|start|>assistant<|channel|>final<|message|>"
ANSWERS: list[tuple[str, bool, str, str, str]] = [
    ("think", False, "<think>\nTwo and two.\n</think>\n\nFour, <b>.", "Two and two.", "Four, <b>."),
    ("think", True, "\nTwo and two.\n</think>\n\nFour.", "Two and two.", "Four."),
    ("think", True, "</think>Four.", "", "Four."),
    ("think", False, "<think>\n\n</think>\n\n  Four.", "", "Four."),
    ("think", False, "Four: <think> no </think>", "", "Four: <think> no </think>"),
    ("mistral", False, "[THINK]Hm, [1].[/THINK]Four.", "Hm, [1].", "Four."),
    ("seed", True, "Hm.</seed:think>Four.", "Hm.", "Four."),
    ("kimi", False, "◁think▷Hm.◁/think▷Four.", "Hm.", "Four."),
    ("granite", False, "Here is my thought process:\nHm.\nHere is my response:\nFour.", "Hm.", "Four."),
    ("gemma", False, "<|channel>thought\nHm.<channel|>Four.", "Hm.", "Four."),
    (
        "cohere",
        False,
        "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Four.<|END_RESPONSE|>",
        "Hm.",
        "Four.",
    ),
    ("harmony", False, f"<|channel|>analysis<|message|>Hm, a < b.<|end|>{FINAL}Four.", "Hm, a < b.", "Four."),
    ("harmony", False, "<|channel|>final<|message|>Four.", "", "Four."),
    (
        "harmony",
        False,
        f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I look. <|end|>"
        f"<|start|>assistant<|channel|>analysis<|message|> Ah.<|end|>{FINAL}Four.",
        "Hm. Ah.",
        "I look. Four.",
    ),
]
"""Which marks, whether the prompt has opened them, what is written, what of it is thought and what is said."""


def tell_apart(marks: ThinkingFormat, text: str, size: int, *, opened: bool = False) -> tuple[str, str]:
    """What is thought and what is said by a text that arrives in pieces of `size` characters."""
    answer = AnswerText(thinking=Thinking(marks, opened))
    passed = [each for at in range(0, len(text), size) for each in answer.push(text[at : at + size])]
    whole, rest = answer.finish(is_whole=True)
    pieces = [*passed, *rest]
    assert all(pieces)
    assert "".join(each for each in pieces if isinstance(each, Thought)) == whole.thinking
    assert "".join(each for each in pieces if not isinstance(each, Thought)) == whole.content
    return whole.thinking, whole.content


@pytest.mark.parametrize(("marks", "opened", "text", "thought", "said"), ANSWERS)
def test_thinking_is_told_from_the_answer_in_whatever_pieces_the_text_arrives(
    marks: str, opened: bool, text: str, thought: str, said: str
) -> None:
    for size in (1, 2, 3, 7, len(text)):
        assert tell_apart(BY_NAME[marks], text, size, opened=opened) == (thought, said)


@pytest.mark.parametrize(("marks", "opened", "text", "thought", "said"), ANSWERS)
def test_of_a_text_that_was_cut_there_is_the_beginning_and_half_a_mark_at_most(
    marks: str, opened: bool, text: str, thought: str, said: str
) -> None:
    own = BY_NAME[marks]
    for end in range(len(text)):
        told, content = tell_apart(own, text[:end], 5, opened=opened)
        for whole, part in ((thought, told), (said, content)):
            kept = part if whole.startswith(part) else part[: len(part) - part_of_mark(part, own)]
            assert whole.startswith(kept.rstrip())


def part_of_mark(text: str, marks: ThinkingFormat) -> int:
    """How much of a text's end a mark begins with."""
    every = (marks.open, marks.close, *marks.frames)
    return max((size for mark in every for size in range(1, len(mark)) if text.endswith(mark[:size])), default=0)


@pytest.mark.parametrize("marks", FORMATS, ids=lambda each: each.name)
@pytest.mark.parametrize("text", ["Plain words.", "  indented\n", "", "1 < 2 and a <b> tag", "a [list]", "<thin", "\n"])
def test_an_answer_without_marks_is_passed_on_as_it_is(marks: ThinkingFormat, text: str) -> None:
    for size in (1, 4, 100):
        assert tell_apart(marks, text, size) == ("", text)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ message.content.split('</think>')[-1] }}", "think"),
        ("{{ '<|channel|>analysis<|message|>' }}", "harmony"),
        ("[THINK]{{ block.thinking }}[/THINK]", "mistral"),
        ("<|START_THINKING|>", "cohere"),
        ("<|channel>thought\n", "gemma"),
        ("<seed:think>", "seed"),
        ("{{ messages }}", None),
    ],
)
def test_the_template_tells_the_marks(template: str, name: str | None) -> None:
    found = find_thinking_format(template)
    assert (None if found is None else found.name) == name


def test_the_prompt_tells_whether_the_model_thinks_already_or_not_at_all() -> None:
    template = "<think></think>"
    opened = find_thinking(template, "<|assistant|><think>\n")
    assert opened is not None
    assert opened.opened
    free = find_thinking(template, "<|assistant|>")
    assert free is not None
    assert not free.opened
    assert find_thinking(template, "<|assistant|><think>\n\n</think>\n\n") is None


@pytest.mark.parametrize(
    ("marks", "text", "said"),
    [
        ("think", 'Hm.</think>\n\nI look.<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', "I look."),
        (
            "harmony",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.f "
            '<|constrain|>json<|message|>{"a": 1}',
            "",
        ),
        (
            "harmony",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=functions.f<|channel|>commentary json"
            '<|message|>{"a": 1}',
            "",
        ),
    ],
)
def test_functions_are_called_after_thinking(marks: str, text: str, said: str) -> None:
    own = BY_NAME[marks]
    template = {"think": "<tool_call>", "harmony": "<|channel|>commentary"}[marks]
    offer = Offer(find_call_format(template), frozenset({"f"}))
    for size in (1, 3, len(text)):
        answer = AnswerText(offer, Thinking(own, opened=marks == "think"))
        pieces = [each for at in range(0, len(text), size) for each in answer.push(text[at : at + size])]
        whole, rest = answer.finish(is_whole=True)
        assert (whole.thinking, whole.content) == ("Hm.", said)
        assert [(call.function.name, call.function.arguments) for call in whole.tool_calls] == [("f", '{"a": 1}')]
        assert content_of([*pieces, *rest]) == said


def content_of(pieces: Sequence[str]) -> str:
    """What is said of pieces."""
    return "".join(each for each in pieces if not isinstance(each, Thought | CalledPiece))


def test_it_is_thinking_until_the_answer_begins() -> None:
    answer = AnswerText(thinking=Thinking(BY_NAME["think"], opened=True))
    told = []
    for piece in ("Hm", ".", "</think>", "\n\n", "Four"):
        answer.push(piece)
        told.append(answer.is_thinking)
    assert told == [True, True, True, True, False]
