"""The world of tiny-stories: who lives in it, and how one complete story is put together.

`story` writes one story; `vocabulary` and `NAMES` let a test check that a model stays in the world.
"""

import re
from random import Random

from .story_plots import PLOTS, Beat, Plot

MALE_NAMES = ("Tom", "Max", "Ben", "Sam", "Leo", "Pip", "Finn", "Oscar", "Hugo", "Otto", "Jack", "Tim")
FEMALE_NAMES = (
    "Mia", "Lily", "Anna", "Rosa", "Nina", "Zoe", "Ella", "Ruby", "Daisy", "Molly", "Sue", "Lucy",
)  # fmt: skip
NAMES = MALE_NAMES + FEMALE_NAMES

ANIMAL_KINDS = (
    "fox", "rabbit", "bear", "mouse", "cat", "dog", "duck", "frog", "hedgehog", "squirrel", "turtle",
    "dragon", "robot", "penguin", "bird", "pig",
)  # fmt: skip
CHILD_KIND = {"he": "boy", "she": "girl"}
CHILD_SHARE = 0.35  # of all heroes; the others are animals (or dragons, or robots)

# Every trait begins with a consonant, so that "a" is always the right article.
TRAITS = ("little", "brave", "kind", "curious", "shy", "happy", "small", "young", "clever", "gentle")
HOMES = (
    "in a small house by the river",
    "in a cozy house at the edge of the forest",
    "in a green valley",
    "near the sea",
    "on top of a hill",
    "in a quiet village",
    "next to a big lake",
    "in a little house with a red door",
)
HOBBIES = (
    "walk in the rain", "look at the clouds", "play in the sun", "read big books", "draw pictures",
    "run and jump", "tell funny stories", "pick flowers", "help others", "count the birds",
)  # fmt: skip

CLASSIC_OPENINGS: Beat = (
    "Once upon a time there was a {trait} {kind} named {name}.",
    "Once upon a time there was a {kind} named {name}.",
    "Once upon a time, there was a {trait} {kind} named {name}.",
    "Once upon a time there was a {trait} {kind} called {name} who lived {home}.",
)
OTHER_OPENINGS: Beat = (
    "There once was a {trait} {kind} named {name}.",
    "Long ago, there lived a {trait} {kind} named {name}.",
    "{name} was a {trait} {kind}.",
    "{name} was a {trait} {kind} who lived {home}.",
    "This is the story of a {trait} {kind} named {name}.",
    "A {trait} {kind} named {name} lived {home}.",
    "The {trait} {kind} was named {name}.",
    "In a land far away, there was a {trait} {kind} named {name}.",
)
CLASSIC_OPENING_SHARE = 0.6
PORTRAITS: Beat = (
    "{He} lived {home}.",
    "{He} loved to {hobby}.",
    "{He} lived {home} and loved to {hobby}.",
    "Every day, {he} liked to {hobby}.",
)
PORTRAIT_SHARE = 0.8  # of the stories whose opening does not already say where the hero lives
CLOSING = "The end."
CLOSING_SHARE = 0.15

PRONOUNS = {"he": {"he": "he", "him": "him", "his": "his"}, "she": {"he": "she", "him": "her", "his": "her"}}


def story(rng: Random) -> str:
    """One complete story, beginning with an opening and ending with a full stop."""
    plot = rng.choice(PLOTS)
    words = _cast(rng, plot)
    opening = rng.choice(CLASSIC_OPENINGS if rng.random() < CLASSIC_OPENING_SHARE else OTHER_OPENINGS)
    sentences = [opening]
    if "{home}" not in opening and rng.random() < PORTRAIT_SHARE:
        sentences.append(rng.choice(PORTRAITS))
    sentences.extend(rng.choice(beat) for beat in plot.beats)
    if rng.random() < CLOSING_SHARE:
        sentences.append(CLOSING)
    return " ".join(sentences).format_map(words)


def vocabulary() -> frozenset[str]:
    """Every lower-case word that a story can contain."""
    texts = [
        *NAMES, *ANIMAL_KINDS, *CHILD_KIND.values(), *TRAITS, *HOMES, *HOBBIES,
        *CLASSIC_OPENINGS, *OTHER_OPENINGS, *PORTRAITS, CLOSING,
    ]  # fmt: skip
    for forms in PRONOUNS.values():
        texts.extend(forms.values())
    for plot in PLOTS:
        texts.extend(plot.friend_kinds)
        texts.extend(wording for beat in plot.beats for wording in beat)
        texts.extend(value for values in plot.slots.values() for value in values)
    return frozenset(word for text in texts for word in words_of(re.sub(r"\{\w+\}", " ", text)))


def words_of(text: str) -> list[str]:
    """The lower-case words of a text, in order, without punctuation."""
    return re.findall(r"[a-z]+", text.lower())


def _cast(rng: Random, plot: Plot) -> dict[str, str]:
    """Choose the hero, the friend and the plot's own words, as values for the placeholders."""
    pronoun = rng.choice(("he", "she"))
    name = rng.choice(MALE_NAMES if pronoun == "he" else FEMALE_NAMES)
    kind = CHILD_KIND[pronoun] if rng.random() < CHILD_SHARE else rng.choice(ANIMAL_KINDS)
    friend_pronoun = rng.choice(("he", "she"))
    friend_names = MALE_NAMES if friend_pronoun == "he" else FEMALE_NAMES
    words = {slot: rng.choice(values) for slot, values in plot.slots.items()}
    words |= {
        "name": name,
        "kind": kind,
        "trait": rng.choice(TRAITS),
        "home": rng.choice(HOMES),
        "hobby": rng.choice(HOBBIES),
        "friend": rng.choice([other for other in friend_names if other != name]),
        "friend_kind": rng.choice([other for other in plot.friend_kinds if other != kind]),
    }
    words |= _pronouns(pronoun, prefix="")
    words |= _pronouns(friend_pronoun, prefix="friend_")
    return words


def _pronouns(pronoun: str, prefix: str) -> dict[str, str]:
    """The placeholders {he}, {him}, {his} and, to open a sentence, {He}, {Him}, {His}."""
    forms = {prefix + slot: form for slot, form in PRONOUNS[pronoun].items()}
    return forms | {slot.capitalize(): form.capitalize() for slot, form in forms.items()}
