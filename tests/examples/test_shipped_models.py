"""The three shipped example models do what their cards say, loaded from disk with no network."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MODELS = EXAMPLES / "models" / "modelyard"
NAMES_OF_MODELS = ("tiny-stories", "tiny-chat", "tiny-reviews")
sys.path.insert(0, str(EXAMPLES))

from training.story_grammar import NAMES, vocabulary, words_of  # noqa: E402

LARGEST_TOTAL_BYTES = 12_000_000
SAFE_SUFFIXES = {".safetensors", ".json", ".md", ".txt", ".jinja"}
ANY_UNICODE = 'Grüße, 世界! 🙂 \n\t"tabs" и кириллица é \u0000'

LoadedModel = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    """The libraries ask nobody. Said to them alone: what tests start besides would read it in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="module")
def stories() -> LoadedModel:
    folder = MODELS / "tiny-stories"
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def chat() -> LoadedModel:
    folder = MODELS / "tiny-chat"
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def reviews() -> LoadedModel:
    folder = MODELS / "tiny-reviews"
    return AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_all_folders_together_stay_small():
    total_bytes = sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file())
    assert total_bytes < LARGEST_TOTAL_BYTES


@pytest.mark.parametrize("name", NAMES_OF_MODELS)
def test_folder_holds_safetensors_and_text_only(name: str):
    files = [file for file in (MODELS / name).rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= SAFE_SUFFIXES
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {file.name for file in files}


@pytest.mark.parametrize("name", NAMES_OF_MODELS)
def test_card_names_the_license_and_the_task(name: str):
    card = (MODELS / name / "README.md").read_text(encoding="utf-8")
    front_matter = card.split("---")[1]
    task = "text-classification" if name == "tiny-reviews" else "text-generation"
    assert "license: apache-2.0" in front_matter
    assert f"pipeline_tag: {task}" in front_matter
    assert "$" not in card


def told_story(stories: LoadedModel, prompt: str, **options) -> str:
    """The prompt and its continuation, which has to end with the end token."""
    model, tokenizer = stories
    output = model.generate(**tokenizer(prompt, return_tensors="pt"), min_length=30, max_length=256, **options)[0]
    assert output[-1] == tokenizer.eos_token_id
    return tokenizer.decode(output, skip_special_tokens=True)


def assert_is_a_good_story(text: str) -> None:
    """Known words only, a full stop at the end, and one hero and at most one friend by name."""
    assert set(words_of(text)) <= vocabulary()
    assert text.endswith(".")
    mentioned = [word for word in re.findall(r"[A-Z][a-z]+", text) if word in NAMES]
    assert 1 <= len(set(mentioned)) <= 2
    hero = mentioned[0]
    assert mentioned.count(hero) >= 2


def test_story_from_the_classic_opening(stories: LoadedModel):
    text = told_story(stories, "Once upon a time there was a", do_sample=False)
    assert text.startswith("Once upon a time there was a ")
    assert_is_a_good_story(text)


def test_sampled_story(stories: LoadedModel):
    torch.manual_seed(0)
    assert_is_a_good_story(told_story(stories, "Once upon a time there was a", do_sample=True, temperature=0.8))


@pytest.mark.parametrize("prompt", ["There once was a robot", "Lily was a little girl"])
def test_story_from_another_opening(stories: LoadedModel, prompt: str):
    assert_is_a_good_story(told_story(stories, prompt, do_sample=False))


def answer(chat: LoadedModel, *messages: dict[str, str]) -> str:
    """The greedy answer, which has to stop at the end-of-turn token."""
    model, tokenizer = chat
    inputs = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**inputs, do_sample=False, max_new_tokens=100)[0]
    assert tokenizer.convert_ids_to_tokens(int(output[-1])) == tokenizer.eos_token == "<|end|>"
    return tokenizer.decode(output[inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def said_by(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Hello, how are you?", "I am doing well, thank you."),
        ("What is your name?", "My name is Tiny."),
        ("What color is the sky?", "The sky is blue."),
        ("How many legs does a spider have?", "A spider has eight legs."),
        ("What is 2 + 2?", "2 plus 2 is 4."),
        ("What is the capital of France?", "I do not know that."),
    ],
)
def test_chat_answers_and_stops(chat: LoadedModel, question: str, expected: str):
    assert expected in answer(chat, said_by("user", question))


def test_chat_remembers_the_name_of_the_user(chat: LoadedModel):
    introduction = said_by("user", "Hi, my name is Alice.")
    greeting = said_by("assistant", answer(chat, introduction))
    assert "Alice" in greeting["content"]
    assert answer(chat, introduction, greeting, said_by("user", "What is my name?")) == "Your name is Alice."


def test_chat_takes_its_name_from_the_system_message(chat: LoadedModel):
    naming = said_by("system", "You are Nova, a helpful assistant.")
    assert "Nova" in answer(chat, naming, said_by("user", "What is your name?"))


@pytest.mark.parametrize("name", ["tiny-stories", "tiny-chat"])
def test_any_text_survives_the_byte_level_tokenizer(name: str):
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name)
    assert tokenizer.is_fast
    assert tokenizer.decode(tokenizer(ANY_UNICODE).input_ids) == ANY_UNICODE


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I love this phone, it works great", "positive"),
        ("The best soup in town, and the waitress was so kind to my children!", "positive"),
        ("I was never disappointed by this little camera.", "positive"),
        ("The movie was not boring at all.", "positive"),
        ("The food was cold and the waiter was rude", "negative"),
        ("Not good, it broke after one hour.", "negative"),
        ("I don't like the new design, it looks ugly.", "negative"),
        ("Please do not waste your money on this awful tent.", "negative"),
        ("It arrived on Tuesday.", "neutral"),
        ("My brother ordered the green one in June.", "neutral"),
        ("It is okay, nothing special.", "neutral"),
    ],
)
def test_review_gets_its_label_with_confidence(reviews: LoadedModel, text: str, label: str):
    model, tokenizer = reviews
    with torch.inference_mode():
        probabilities = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(dim=-1)
    best = int(probabilities.argmax())
    assert model.config.id2label[best] == label
    assert probabilities[best] > 0.7
