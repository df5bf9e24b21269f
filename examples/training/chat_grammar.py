"""Writes the dialogues tiny-chat learns from: a few topics in a row, sometimes under a system message."""

from collections.abc import Callable
from random import Random

from . import chat_knowledge, chat_small_talk
from .chat_talk import Exchange, Talk

Message = dict[str, str]

OWN_NAME = "Tiny"
GIVEN_NAMES = ("Robo", "Sparky", "Nova", "Bolt", "Sunny", "Pixel", "Echo", "Luna", "Atlas", "Kit")

SYSTEM_MESSAGE_SHARE = 0.4
NAMING_SHARE = 0.5  # of the system messages; these give the assistant another name
PLAIN_SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "You are a helpful and polite chat model.",
    "You are {own_name}, a helpful assistant.",
    "Answer in one sentence.",
    "Be brief and polite.",
    "You are an expert. Think step by step.",
    "You talk with children. Use simple words.",
)
NAMING_SYSTEM_MESSAGES = (
    "You are {own_name}, a friendly assistant.",
    "You are {own_name}, a helpful assistant.",
    "Your name is {own_name}.",
    "You are called {own_name}.",
)
Topics = dict[Callable[[Talk], list[Exchange]], float]  # with how often each comes up
NAME_TOPICS: Topics = {chat_small_talk.user_name: 2, chat_small_talk.own_name: 1}
ALL_TOPICS: Topics = {
    chat_knowledge.sums: 9,
    chat_knowledge.animals: 6,
    chat_small_talk.unknown: 5,
    chat_small_talk.user_name: 3,
    chat_knowledge.word_games: 4,
    chat_knowledge.colors: 3,
    chat_knowledge.food: 3,
    chat_knowledge.story: 2,
    chat_small_talk.own_name: 1,
    chat_small_talk.about_the_model: 2,
    chat_small_talk.feelings: 1.5,
    chat_small_talk.thanks: 1,
}
MOST_TOPICS = 4
NAME_QUESTION_SHARE = 0.5  # of the dialogues in which the assistant has been given another name
OPENING_SHARE = 0.4
CLOSING_SHARE = 0.3

CONTRACTION_SHARE = 0.35
LOWER_CASE_SHARE = 0.2
NO_MARK_SHARE = 0.2
CONTRACTIONS = {"What is": "What's", "Who is": "Who's", "I am": "I'm", "do not": "don't"}


def dialogue(rng: Random, topics: Topics = ALL_TOPICS, most_topics: int = MOST_TOPICS) -> list[Message]:
    """One dialogue about 1 to `most_topics` of the topics, as chat messages."""
    talk = Talk(rng, OWN_NAME)
    messages = []
    if rng.random() < SYSTEM_MESSAGE_SHARE:
        templates = PLAIN_SYSTEM_MESSAGES
        if rng.random() < NAMING_SHARE:
            talk.own_name = rng.choice(GIVEN_NAMES)
            templates = NAMING_SYSTEM_MESSAGES
        messages.append({"role": "system", "content": rng.choice(templates).format(own_name=talk.own_name)})
    exchanges = []
    if talk.own_name != OWN_NAME and rng.random() < NAME_QUESTION_SHARE:
        exchanges += chat_small_talk.own_name(talk)
    elif rng.random() < OPENING_SHARE:
        exchanges += chat_small_talk.opening(talk)
    for _ in range(rng.randint(1, most_topics)):
        topic = rng.choices(list(topics), weights=topics.values())[0]
        exchanges += topic(talk)
    if rng.random() < CLOSING_SHARE:
        exchanges += chat_small_talk.closing(talk)
    for question, answer in exchanges:
        messages.append({"role": "user", "content": _as_typed(question, rng)})
        messages.append({"role": "assistant", "content": answer})
    return messages


def _as_typed(question: str, rng: Random) -> str:
    """The question as people type it: sometimes with contractions, in lower case, or without a mark."""
    if rng.random() < CONTRACTION_SHARE:
        for full, contracted in CONTRACTIONS.items():
            question = question.replace(full, contracted)
    if rng.random() < LOWER_CASE_SHARE:
        question = question.lower()
    if rng.random() < NO_MARK_SHARE:
        question = question.rstrip(".?!")
    return question
