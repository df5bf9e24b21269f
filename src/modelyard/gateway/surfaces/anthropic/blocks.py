"""Anthropic's blocks of content, one by one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from modelyard.errors import InvalidRequest

Block = Mapping[str, Any]
KINDS = (
    "text, image (of base64 or a url), document (of text), search_result, tool_use, tool_result, thinking, "
    "redacted_thinking"
)
FAILED = "Error: "
"""In front of what a function that failed says: templates know no other way to tell."""


class Said:
    """The blocks of one message as they are put together. Two texts in a row have a line's end between them, since
    templates put none there."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []

    def add(self, blocks: Iterable[dict[str, Any]]) -> None:
        """More of them."""
        for block in blocks:
            last = self.blocks[-1].get("text") if self.blocks else None
            if block["type"] == "text" and last and not last.endswith("\n"):
                block = {**block, "text": f"\n{block['text']}"}
            self.blocks.append(block)


def call_of(block: Block, where: str) -> dict[str, Any]:
    """A call of a function as templates read it. Raises InvalidRequest."""
    arguments = block.get("input")
    if not isinstance(arguments, dict | None):
        raise InvalidRequest(field=f"{where}.input", got=arguments, accepted="an object of arguments")
    function = {"name": str(block.get("name")), "arguments": arguments or {}}
    return {"id": str(block.get("id")), "type": "function", "function": function}


def read_block(block: Block, where: str) -> list[dict[str, Any]]:
    """A block of text, or of media. Raises InvalidRequest."""
    source = block.get("source")
    match block.get("type"):
        case "text" if isinstance(block.get("text"), str):
            return [{"type": "text", "text": block["text"]}]
        case "text":
            raise InvalidRequest(field=f"{where}.text", got=block.get("text"), accepted="a string")
        case "image" if isinstance(source, dict) and source.get("type") == "base64":
            return [{"type": "image", "base64": source.get("data")}]
        case "image" if isinstance(source, dict) and source.get("type") == "url":
            return [{"type": "image", "url": source.get("url")}]
        case "document" if isinstance(source, dict) and source.get("type") == "text":
            return [{"type": "text", "text": lines(block.get("title"), block.get("context"), source.get("data"))}]
        case "document" if isinstance(source, dict) and source.get("type") == "content":
            place = f"{where}.source.content"
            head = lines(block.get("title"), block.get("context"))
            parts = blocks_in(source.get("content") or "", place)
            inside = [each for at, part in enumerate(parts) for each in read_block(part, f"{place}[{at}]")]
            return [*([{"type": "text", "text": head}] if head else []), *inside]
        case "document":
            raise InvalidRequest(
                field=f"{where}.source", got=source, accepted="a text, or content: documents in files are not read here"
            )
        case "search_result":
            text = text_of(block.get("content") or "", f"{where}.content")
            return [{"type": "text", "text": lines(block.get("title"), source, text)}]
    raise InvalidRequest(field=f"{where}.type", got=block.get("type"), accepted=KINDS)


def lines(*parts: Any) -> str:
    """The texts that are there, a line each."""
    return "\n".join(part for part in parts if isinstance(part, str) and part)


def read_result(block: Block, where: str) -> tuple[str, list[dict[str, Any]]]:
    """What a function answered: its text, and the images in it. Raises InvalidRequest."""
    parts = blocks_in(block.get("content") or "", f"{where}.content")
    said = Said()
    for at, part in enumerate(parts):
        said.add(read_block(part, f"{where}.content[{at}]"))
    texts = [each["text"] for each in said.blocks if each["type"] == "text"]
    images = [each for each in said.blocks if each["type"] != "text"]
    return (FAILED if block.get("is_error") is True else "") + "".join(texts), images


def blocks_in(content: Any, where: str) -> Sequence[Block]:
    """A text or blocks, as blocks. Raises InvalidRequest."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    try:
        return msgspec.convert(content, list[dict[str, Any]])
    except msgspec.ValidationError:
        raise InvalidRequest(field=where, got=content, accepted="a text, or a list of blocks") from None


def texts_in(content: Any, where: str) -> list[str]:
    """A text, or blocks of text, one by one. Raises InvalidRequest."""
    blocks = blocks_in(content, where)
    for at, block in enumerate(blocks):
        if block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise InvalidRequest(field=f"{where}[{at}]", got=block, accepted='{"type": "text", "text": "..."}')
    return [str(block["text"]) for block in blocks]


def text_of(content: Any, where: str) -> str:
    """A text, or blocks of text as one. Raises InvalidRequest."""
    return "\n".join(texts_in(content, where))
