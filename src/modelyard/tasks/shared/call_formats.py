"""The forms in which families of models write calls of functions, one small reader each.

Sources: the chat templates that come with the models, which tell a model how to write what these read.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from modelyard.tasks.shared.tool_calls import Call, CallFormat, CallsRead

JSON = json.JSONDecoder()
STRING = r'"(?P<json>(?:[^"\\]|\\.)*)"'
NAMED = rf'\{{\s*"name"\s*:\s*{STRING}\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{{)'
"""The beginning of a call as a JSON object, up to its arguments. Behind these comes the end of that object."""
FENCE = re.compile(r"^```\w*\s*(.*?)\s*(?:```)?\s*$", re.DOTALL)
"""A block of code around the whole answer."""


def read_json(text: str, at: int = 0) -> tuple[Any, int] | None:
    """The JSON value that begins at `at`, blanks aside, and where it ends; None when there is no whole one."""
    start = at + len(text[at:]) - len(text[at:].lstrip())
    try:
        value, end = JSON.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value, end


def as_call(value: Any) -> Call | None:
    """{"name", "arguments"}, or "parameters" in place of arguments, as a call; None for what is none."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        parsed = read_json(arguments)
        arguments = parsed[0] if parsed else None
    return Call(value["name"], arguments) if isinstance(arguments, dict) else None


def as_calls(values: Any) -> list[Call] | None:
    """One call or a list of them; None when one is none."""
    calls = [as_call(value) for value in (values if isinstance(values, list) else [values])]
    whole = [call for call in calls if call is not None]
    return whole if whole and len(whole) == len(calls) else None


# --- Hermes, Qwen: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, or functions and parameters as tags ---

TAGGED_FUNCTION = re.compile(r"\s*<function=([^>\n]+)>(.*?)</function>", re.DOTALL)
TAGGED_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


def read_hermes(text: str, _names: Collection[str]) -> CallsRead | None:
    """As Hermes, Qwen and many that follow them write calls."""
    calls: list[Call] = []
    at = 0
    while (start := text.find("<tool_call>", at)) >= 0:
        inside = start + len("<tool_call>")
        if tagged := TAGGED_FUNCTION.match(text, inside):
            call: Call | None = Call(tagged[1].strip(), dict(read_tagged_parameters(tagged[2])))
            at = tagged.end()
        elif parsed := read_json(text, inside):
            call, at = as_call(parsed[0]), parsed[1]
        else:
            break
        if call is None:
            break
        calls.append(call)
        end = re.compile(r"\s*</tool_call>").match(text, at)
        at = end.end() if end else at
    return CallsRead(calls, text[at:].lstrip()) if calls else None


def read_tagged_parameters(text: str) -> Iterator[tuple[str, Any]]:
    """Names and values of tags; a value that is JSON and no string is taken as that."""
    for name, value in TAGGED_PARAMETER.findall(text):
        parsed = read_json(value)
        is_json = parsed is not None and not value[parsed[1] :].strip() and not isinstance(parsed[0], str)
        yield name.strip(), parsed[0] if parsed is not None and is_json else value


# --- Llama: {"name": ..., "parameters": {...}} as the whole answer, several with ; between, or [f(x=1), g()] ---


def read_llama(text: str, names: Collection[str]) -> CallsRead | None:
    """As Llama 3 and 4 write calls: nothing tells them from an answer that is JSON but the functions' names."""
    body = text.strip().removeprefix("<|python_tag|>").strip()
    if (written := read_python_calls(body)) is not None:
        calls = written
    else:
        calls, at = [], 0
        while parsed := read_json(body, at):
            more = as_calls(parsed[0])
            if more is None:
                return None
            calls += more
            at = parsed[1]
            at += len(body[at:]) - len(body[at:].lstrip("; \n,"))
        if body[at:]:
            return CallsRead(calls) if are_offered(calls, names) else None
    return CallsRead(calls) if are_offered(calls, names) else None


def are_offered(calls: Collection[Call], names: Collection[str]) -> bool:
    """Whether there are calls, all of functions that the request offers."""
    return bool(calls) and all(call.name in names for call in calls)


def read_python_calls(text: str) -> list[Call] | None:
    """A list of calls in Python's syntax, with names and constants as arguments; None for anything else."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(tree, ast.List) or not tree.elts:
        return None
    calls = [read_python_call(node) for node in tree.elts]
    whole = [call for call in calls if call is not None]
    return whole if len(whole) == len(calls) else None


def read_python_call(node: ast.expr) -> Call | None:
    """One call in Python's syntax."""
    if not isinstance(node, ast.Call) or node.args or not isinstance(node.func, ast.Name | ast.Attribute):
        return None
    try:
        arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
        json.dumps(arguments)
    except (ValueError, TypeError):
        return None
    return Call(ast.unparse(node.func), arguments)


# --- Mistral: [TOOL_CALLS][{"name": ..., "arguments": {...}}], or [TOOL_CALLS]name[ARGS]{...} ---

NAMED_ARGUMENTS = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?\[ARGS\]")


def read_mistral(text: str, _names: Collection[str]) -> CallsRead | None:
    """As Mistral's models write calls, the older ones in a list, the newer ones by name."""
    calls: list[Call] = []
    at = 0
    while True:
        begin = at + len("[TOOL_CALLS]") if text.startswith("[TOOL_CALLS]", at) else at
        named = NAMED_ARGUMENTS.match(text, begin)
        parsed = read_json(text, named.end() if named else begin) if named or begin > at else None
        if parsed is None:
            break
        if named and isinstance(parsed[0], dict):
            calls.append(Call(named[1], parsed[0]))
        elif not named and (more := as_calls(parsed[0])) is not None:
            calls += more
        else:
            break
        at = parsed[1]
    return CallsRead(calls, text[at:].lstrip()) if calls else None


# --- DeepSeek: between marks of its own, "function", the name and a block of JSON, or the name and bare JSON ---

DEEPSEEK_BEGIN, DEEPSEEK_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
DEEPSEEK_TOKENS = (
    DEEPSEEK_BEGIN,
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    DEEPSEEK_END,
)
DEEPSEEK_CALL = re.compile(
    r"<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?\s*([^\s<]+)\s*(?:<｜tool▁sep｜>)?\s*(?:```json\s*)?"
)


def read_deepseek(text: str, _names: Collection[str]) -> CallsRead | None:
    """As DeepSeek V3, R1 and V3.1 write calls."""
    calls: list[Call] = []
    for begin in DEEPSEEK_CALL.finditer(text):
        parsed = read_json(text, begin.end())
        if parsed is None or not isinstance(parsed[0], dict):
            break
        calls.append(Call(begin[1], parsed[0]))
    return CallsRead(calls, text.partition(DEEPSEEK_END)[2].lstrip()) if calls else None


# --- Gemma: call:name{key:value,...} between marks, strings between marks of their own ---

GEMMA_CALL = re.compile(r"(?:<start_function_call>|<\|tool_call>)\s*call:([\w.-]+)\s*(?=\{)")
GEMMA_END = re.compile(r"\s*(?:<end_function_call>|<tool_call\|>)")
GEMMA_QUOTES = ("<escape>", '<|"|>')
GEMMA_STRING = re.compile(r'(<escape>|<\|"\|>)(.*?)\1', re.DOTALL)
GEMMA_KEY = re.compile(r"\s*([^:{}\[\],]+?)\s*:")
GEMMA_WORD = re.compile(r"[^,}\]]*")


def read_gemma(text: str, _names: Collection[str]) -> CallsRead | None:
    """As FunctionGemma and Gemma 4 write calls."""
    calls: list[Call] = []
    at = 0
    while begin := GEMMA_CALL.search(text, at):
        try:
            arguments, at = read_gemma_value(text, begin.end())
        except (ValueError, IndexError, RecursionError):
            break
        calls.append(Call(begin[1], arguments))
        end = GEMMA_END.match(text, at)
        at = end.end() if end else at
    return CallsRead(calls, text[at:].lstrip()) if calls else None


def read_gemma_value(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends. Raises ValueError or IndexError when it is not whole."""
    at += len(text[at:]) - len(text[at:].lstrip())
    if text[at] in "{[":
        return read_gemma_group(text, at)
    if string := GEMMA_STRING.match(text, at):
        return string[2], string.end()
    word = GEMMA_WORD.match(text, at)
    if word is None or word.end() == len(text) or word[0].startswith(GEMMA_QUOTES):
        raise ValueError("a value that does not end")
    try:
        return json.loads(word[0]), word.end()
    except ValueError:
        return word[0].strip(), word.end()


def read_gemma_group(text: str, at: int) -> tuple[Any, int]:
    """The object or list that begins at `at`, and where it ends."""
    is_object = text[at] == "{"
    close = "}" if is_object else "]"
    fields: dict[str, Any] = {}
    items: list[Any] = []
    at += 1
    while True:
        at += len(text[at:]) - len(text[at:].lstrip(" \n,"))
        if text[at] == close:
            return (fields if is_object else items), at + 1
        key = GEMMA_KEY.match(text, at) if is_object else None
        if is_object and key is None:
            raise ValueError("a field without a name")
        value, at = read_gemma_value(text, key.end() if key else at)
        if key:
            fields[key[1].strip('"')] = value
        else:
            items.append(value)


# --- gpt-oss: <|channel|>commentary to=functions.name <|constrain|>json<|message|>{...}, or to= before the channel ---

HARMONY_CALL = re.compile(r"to=functions\.([\w.-]+)[^{]*?<\|message\|>")


def read_harmony(text: str, _names: Collection[str]) -> CallsRead | None:
    """As gpt-oss writes calls."""
    calls: list[Call] = []
    for begin in HARMONY_CALL.finditer(text):
        parsed = read_json(text, begin.end())
        if parsed is None or not isinstance(parsed[0], dict):
            break
        calls.append(Call(begin[1], parsed[0]))
    return CallsRead(calls) if calls else None


# --- any other model: JSON as the whole answer ---


def read_generic(text: str, names: Collection[str]) -> CallsRead | None:
    """A call, or a list of calls, as JSON, in a block of code or not."""
    fenced = FENCE.match(text.strip())
    body = fenced[1] if fenced else text.strip()
    parsed = read_json(body)
    if parsed is None or body[parsed[1] :].strip():
        return None
    calls = as_calls(parsed[0])
    return CallsRead(calls) if calls is not None and are_offered(calls, names) else None


GENERIC = CallFormat(name="generic", marks=("{", "[", "```"), begins=True, read=read_generic)
HELD = replace(GENERIC, name="held", opens=re.compile(rf"(?:\s*\[?|\s*\}}\s*,)\s*{NAMED}"))
"""Of an answer that is held to the form of calls. Where it is not, JSON that begins like a call may go on as none, and
nothing of it is told before its end."""

FORMATS = (
    CallFormat(
        name="harmony",
        marks=("<|channel|>commentary to=functions.", "to=functions."),
        read=read_harmony,
        tokens=("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"),
        opens=re.compile(r"[\s\S]*?to=functions\.(?P<name>[\w.-]+)[^{]*?<\|message\|>\s*(?=\{)"),
        known_by=("<|channel|>commentary", "<|channel|>analysis"),
    ),
    CallFormat(
        name="deepseek",
        marks=(DEEPSEEK_BEGIN,),
        read=read_deepseek,
        tokens=DEEPSEEK_TOKENS,
        opens=re.compile(
            r"[\s\S]*?<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?\s*(?P<name>[^\s<]+)\s*(?:<｜tool▁sep｜>)?\s*"
            r"(?:```json\s*)?(?=\{)"
        ),
        known_by=(DEEPSEEK_BEGIN,),
    ),
    CallFormat(
        name="mistral",
        marks=("[TOOL_CALLS]",),
        read=read_mistral,
        tokens=("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
        opens=re.compile(
            rf"(?:\[TOOL_CALLS\]\s*\[?|\s*\}}\s*,)\s*{NAMED}|"
            r"(?:\[TOOL_CALLS\])?\s*(?P<name>[\w.-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?\[ARGS\]\s*(?=\{)"
        ),
        known_by=("[TOOL_CALLS]",),
    ),
    CallFormat(
        name="gemma",
        marks=("<start_function_call>", "<|tool_call>"),
        read=read_gemma,
        tokens=("<start_function_call>", "<end_function_call>", "<escape>", "<|tool_call>", "<tool_call|>", '<|"|>'),
        known_by=("<start_function_call>", "<|tool_call>"),
    ),
    CallFormat(
        name="hermes",
        marks=("<tool_call>",),
        read=read_hermes,
        tokens=("<tool_call>", "</tool_call>"),
        opens=re.compile(rf"(?:\s*\}}\s*(?:</tool_call>\s*)?)?<tool_call>\s*{NAMED}"),
        known_by=("<tool_call>",),
    ),
    CallFormat(
        name="llama",
        marks=("{", "[", "<|python_tag|>"),
        begins=True,
        read=read_llama,
        opens=re.compile(rf"(?:\s*(?:<\|python_tag\|>\s*)?\[?|\s*\}}[;,\s]*)\s*{NAMED}"),
        tokens=("<|python_tag|>",),
        known_by=("<|python_tag|>", "<|eom_id|>", '"parameters": dictionary'),
    ),
    GENERIC,
)
"""By the models' own marks first; the last is for templates that have none of them."""


def find_call_format(template: str) -> CallFormat:
    """The form in which a model with this chat template writes calls."""
    return next((each for each in FORMATS if any(mark in template for mark in each.known_by)), GENERIC)
