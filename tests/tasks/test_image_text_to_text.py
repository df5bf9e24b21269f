from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

from modelyard.errors import InvalidRequest
from modelyard.protocol import CalledPiece
from modelyard.tasks.body import read, to_call
from modelyard.tasks.image_text_to_text import TASK
from modelyard.tasks.model import Model
from modelyard.tasks.shared.media_chat import media_chat_prompt
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import in_base64, picture, png
from tests.builders.reference import library_model

SHORT = {"max_new_tokens": 8}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
FIRST, SECOND = (in_base64(png(picture(seed=seed))) for seed in (0, 1))


def talk(*contents: Any, **params: Any) -> Any:
    roles = ("user", "assistant", "user")
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return {"messages": messages, "params": {**SHORT, **params}}


def blocks(image: Any, text: str) -> Any:
    return [{"type": "image", "base64": image}, {"type": "text", "text": text}]


@pytest.fixture
def llava(load: Load) -> Model:
    return load("llava", "image-text-to-text")


def reference(model: Model, prompt: str, seeds: Any) -> Any:
    """The answer by the library alone."""
    library = library_model("AutoModelForImageTextToText", model.path)
    processor = AutoProcessor.from_pretrained(model.path)
    images = [Image.fromarray(picture(seed=seed)) for seed in seeds]
    arrays = processor(text=prompt, images=images or None, return_tensors="np")
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    end = processor.tokenizer.convert_tokens_to_ids("<|end|>")
    with torch.inference_mode():
        ids = library.generate(**inputs, **SHORT, do_sample=False, eos_token_id=[2, end or 2])[0]
    return processor.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_answer_is_what_the_library_generates_behind_the_template(llava: Model, ask: Ask) -> None:
    answer = ask(TASK, llava, talk(blocks(FIRST, "What is it?")))
    expected = reference(llava, "<|user|><image>What is it?<|end|><|assistant|>", [0])
    assert answer == {"role": "assistant", "content": [{"type": "text", "text": expected}]}
    assert expected


def test_images_go_where_their_blocks_are(llava: Model, ask: Ask) -> None:
    answer = ask(TASK, llava, talk(blocks(FIRST, "One?"), "Yes.", blocks(SECOND, "Two?")))
    prompt = "<|user|><image>One?<|end|><|assistant|>Yes.<|end|><|user|><image>Two?<|end|><|assistant|>"
    assert answer["content"][0]["text"] == reference(llava, prompt, [0, 1])
    assert answer["content"][0]["text"] != reference(llava, prompt, [1, 0])


def test_text_beside_an_image_is_one_user_message(llava: Model, ask: Ask) -> None:
    answer = ask(TASK, llava, {"text": "What is it?", "image_url": f"data:image/png;base64,{FIRST}", "params": SHORT})
    expected = reference(llava, "<|user|><image>What is it?<|end|><|assistant|>", [0])
    assert answer == {"role": "assistant", "content": expected}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": f"data:image/png;base64,{FIRST}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{FIRST}"}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{FIRST}"},
    ],
)
def test_other_ways_to_write_a_block_mean_the_same(llava: Model, ask: Ask, block: dict[str, Any]) -> None:
    body = talk([block, {"type": "text", "text": "What is it?"}])
    assert ask(TASK, llava, body) == ask(TASK, llava, talk(blocks(FIRST, "What is it?")))


def test_a_template_gets_the_functions_and_the_images(load: Load) -> None:
    caller = load("llava_caller", "image-text-to-text")
    asked = {**talk(blocks(FIRST, "Where is it?")), "tools": TOOLS}
    inference = read(TASK, asked)
    prompt = media_chat_prompt(caller, to_call(TASK, inference.fields, inference.params), ("image",), 0)

    told = f"{json.dumps(TOOLS[0])}<|user|><image>Where is it?<|end|><|assistant|>"
    encoded = AutoProcessor.from_pretrained(caller.path)(
        text=told, images=[Image.fromarray(picture(seed=0))], return_tensors="np"
    )
    assert prompt.arrays["input_ids"].tolist() == encoded["input_ids"].tolist()
    assert "pixel_values" in prompt.arrays


@pytest.mark.parametrize("content", ["Where is it?", blocks(FIRST, "Where is it?")], ids=["string", "blocks"])
def test_functions_that_a_model_calls_about_an_image_are_told_from_what_it_says(
    load: Load, ask: Ask, content: Any
) -> None:
    caller = load("llava_caller", "image-text-to-text")
    asked = {"messages": [{"role": "user", "content": content}], "tools": TOOLS, "params": {"max_new_tokens": 20}}
    pieces: list[str] = []
    answer = ask(TASK, caller, asked)
    streamed = ask(TASK, caller, asked, emit=pieces.append)

    for each in (answer, streamed):
        said = each["content"] if isinstance(content, str) else each["content"][0]["text"]
        (called,) = each["tool_calls"]
        assert (said, called["function"]["name"]) == ("I look.", "look_up")
        assert json.loads(called["function"]["arguments"]) == {"city": "Paris"}
    assert "".join(each for each in pieces if not isinstance(each, CalledPiece)) == "I look."

    result = {"role": "tool", "content": "In France.", "tool_call_id": answer["tool_calls"][0]["id"]}
    again = {**asked, "messages": [*asked["messages"], {**answer, "content": "I look."}, result]}
    assert ask(TASK, caller, again)["tool_calls"]


def test_a_call_that_is_demanded_about_an_image_fits_its_schema(load: Load, ask: Ask) -> None:
    arguments = {"type": "object", "properties": {"city": {"enum": ["Rome"]}}, "required": ["city"],
                 "additionalProperties": False}  # fmt: skip
    call = {"type": "object", "properties": {"name": {"const": "look_up"}, "arguments": arguments},
            "required": ["name", "arguments"], "additionalProperties": False}  # fmt: skip
    asked = {**talk(blocks(FIRST, "Where is it?"), max_new_tokens=200, json_schema=call), "tools": TOOLS}

    (called,) = ask(TASK, load("llava_caller", "image-text-to-text"), asked)["tool_calls"]
    assert (called["function"]["name"], json.loads(called["function"]["arguments"])) == ("look_up", {"city": "Rome"})


def test_a_model_whose_template_knows_no_functions_says_so(load: Load, ask: Ask) -> None:
    for family in ("llava", "paligemma"):
        error = ask(TASK, load(family, "image-text-to-text"), {**talk(blocks(FIRST, "What is it?")), "tools": TOOLS})
        assert error.data["field"] == "tools"


def test_blocks_name_their_media_once() -> None:
    body = talk([{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}])
    inference = read(TASK, body)
    media = {"where": "messages[0].content[0]", "url": "https://example.org/a.png"}
    assert inference.fields["messages"][0]["content"] == [{"type": "image", "media": media}]
    assert read(TASK, inference.fields).fields == inference.fields


def test_model_without_a_template_takes_one_message(load: Load, ask: Ask) -> None:
    model = load("paligemma", "image-text-to-text")
    answer = ask(TASK, model, talk(blocks(FIRST, "caption en")))
    assert answer["content"][0]["text"] == reference(model, "caption en", [0])
    error = ask(TASK, model, talk(blocks(FIRST, "One?"), "Yes.", "Two?"))
    assert error.data["field"] == "messages"


@pytest.mark.parametrize("content", ["Hi", blocks(FIRST, "Hi")], ids=["string", "blocks"])
def test_stream_is_the_unstreamed_text(llava: Model, ask: Ask, content: Any) -> None:
    pieces: list[str] = []
    answer = ask(TASK, llava, talk(content), emit=pieces.append)["content"]
    assert "".join(pieces) == (answer if isinstance(answer, str) else answer[0]["text"])
    assert len(pieces) > 1


def test_batch_answers_as_one_by_one(llava: Model, ask: Ask) -> None:
    bodies = [talk(blocks(FIRST, text)) for text in ("One?", "Two?", "A longer one?")] + [talk("Hi")]
    bodies.append(talk(blocks(SECOND, "One?")))
    assert ask(TASK, llava, *bodies) == [ask(TASK, llava, one) for one in bodies]


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"type": "image"}, "messages[0].content[0]"),
        ({"type": "image_url", "image_url": {}}, "messages[0].content[0]"),
    ],
)
def test_block_without_media_is_named(block: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, talk([block]))
    assert raised.value.data["field"] == field


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"type": "audio", "base64": "AAAA"}, "messages[0].content[0].type"),
        ({"type": "image", "base64": in_base64(b"no image")}, "messages[0].content[0]"),
        ({"type": "text"}, "messages[0].content[0].text"),
    ],
)
def test_block_that_cannot_be_read_is_named_and_fails_alone(
    llava: Model, ask: Ask, block: dict[str, Any], field: str
) -> None:
    error, answer = ask(TASK, llava, talk([block]), talk("Hi"))
    assert error.data["field"] == field
    assert answer["role"] == "assistant"


def test_long_conversation_is_refused(llava: Model, ask: Ask) -> None:
    error = ask(TASK, llava, talk(blocks(FIRST, "Hi there " * 300)))
    assert error.data["field"] == "messages"
    assert "512" in error.message


def qwen_reference(model: Model, before: Any, after: Any, seeds: Any) -> Any:
    """Qwen2-VL's answer by the library alone; its processor cannot be loaded here, so its parts make the inputs."""
    library = library_model("AutoModelForImageTextToText", model.path)
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    images = AutoImageProcessor.from_pretrained(model.path)(
        [Image.fromarray(picture(seed=seed)) for seed in seeds], return_tensors="pt"
    )
    marks = ["<|image_pad|>" * (int(grid.prod()) // 4) for grid in images["image_grid_thw"]]
    prompt = before + "".join(f"<|vision_start|>{mark}<|vision_end|>" for mark in marks) + after
    inputs = tokenizer(prompt, return_tensors="pt")
    inputs["mm_token_type_ids"] = (inputs["input_ids"] == library.config.image_token_id).long()
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    with torch.inference_mode():
        ids = library.generate(**inputs, **images, **SHORT, do_sample=False, eos_token_id=[2, end])[0]
    return tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_processor_whose_video_part_is_missing_reads_images(load: Load, ask: Ask) -> None:
    model = load("qwen2_vl", "image-text-to-text")
    two = [{"type": "image", "base64": image} for image in (FIRST, SECOND)]
    bodies = [talk(blocks(FIRST, "What is it?")), talk([*two, {"type": "text", "text": "What is it?"}])]
    expected = [qwen_reference(model, "<|user|>", "What is it?<|end|><|assistant|>", seeds) for seeds in ([0], [0, 1])]
    assert [answer["content"][0]["text"] for answer in ask(TASK, model, *bodies)] == expected
    assert any(expected)  # random weights may well answer one of them with special tokens alone
