"""What tiny-chat knows: questions and answers about animals, colors, food, sums and words, and short stories."""

from .chat_facts import (
    ANIMALS,
    COLORS_OF_THINGS,
    DAYS,
    FOODS,
    JOKES,
    LARGEST_NUMBER,
    MEALS,
    MIXED_COLORS,
    MONTHS,
    NUMBER_WORDS,
    OPPOSITES,
    STORY_HEROES,
    Animal,
    article,
)  # fmt: skip
from .chat_talk import Exchange, Talk
from .story_grammar import FEMALE_NAMES, MALE_NAMES


def animals(talk: Talk) -> list[Exchange]:
    """Facts about one animal."""
    animal = talk.rng.choice(ANIMALS)
    plural = animal.plural
    summary = f"{plural.capitalize()} live {animal.home}. They eat {animal.food}."
    kind = talk.rng.random()
    if kind < 0.6:
        return [_animal_fact(talk, animal)]
    if kind < 0.8:
        question = talk.pick(
            f"Tell me about {plural}.", f"Tell me something about {plural}.", f"What do you know about {plural}?",
            f"What is {animal.article} {animal.name}?", f"Can you tell me about {plural}?",
        )  # fmt: skip
        return [(question, summary)]
    if kind < 0.9:
        statement = talk.pick(f"I like {plural}.", f"I love {plural}.", f"My favorite animal is the {animal.name}.")
        offer = (statement, f"I like {plural}, too! Do you want to know something about {plural}?")
        if talk.rng.random() < 0.7:
            return [offer, (talk.pick("Yes.", "Yes, please.", "Sure.", "Ok.", "Yes!"), summary)]
        return [
            offer,
            (talk.pick("No.", "No, thanks.", "No, thank you."), "That is fine. What would you like to talk about?"),
        ]
    return [(f"Do you like {plural}?", f"Yes, I like {plural}. {summary}")]


def _animal_fact(talk: Talk, animal: Animal) -> Exchange:
    """A question about one animal and its answer."""
    name, plural, a_name = animal.name, animal.plural, f"{animal.article} {animal.name}"
    home = (
        talk.pick(f"Where do {plural} live?", f"Where does {a_name} live?"),
        f"{plural.capitalize()} live {animal.home}.",
    )
    food = (
        talk.pick(f"What do {plural} eat?", f"What does {a_name} eat?"),
        f"{plural.capitalize()} eat {animal.food}.",
    )
    facts = [home, food]
    if animal.cry:
        sounds = talk.pick(
            f"What sound does {a_name} make?", f"What does {a_name} say?", f"What sound do {plural} make?",
            f"What noise does {a_name} make?",
        )  # fmt: skip
        facts.append((sounds, f"{a_name.capitalize()} says {animal.cry}."))
    if animal.legs:
        question = talk.pick(f"How many legs does {a_name} have?", f"How many legs do {plural} have?")
        facts.append((question, f"{a_name.capitalize()} has {animal.legs} legs."))
    if animal.baby:
        question = talk.pick(
            f"What is a baby {name} called?",
            f"What do you call a baby {name}?",
            f"What is the baby of {a_name} called?",
        )
        facts.append((question, f"A baby {name} is called {article(animal.baby)} {animal.baby}."))
    return talk.rng.choice(facts)


def colors(talk: Talk) -> list[Exchange]:
    """The color of a thing, a mixture, or the favorite."""
    color = talk.pick("color", "colour")
    if talk.rng.random() < 0.7:
        thing, answer = talk.rng.choice(list(COLORS_OF_THINGS.items()))
        question = talk.pick(
            f"What {color} is {thing}?", f"What is the {color} of {thing}?", f"Which {color} is {thing}?"
        )
        return [(question, f"{thing.capitalize()} is {answer}.")]
    if talk.rng.random() < 0.7:
        first, second, mixed = talk.rng.choice(MIXED_COLORS)
        if talk.rng.random() < 0.5:
            first, second = second, first
        question = talk.pick(
            f"What do you get when you mix {first} and {second}?", f"What {color} do {first} and {second} make?",
            f"What is {first} and {second} mixed?",
        )  # fmt: skip
        return [(question, f"When you mix {first} and {second}, you get {mixed}.")]
    question = talk.pick(
        f"What is your favorite {color}?", f"Which {color} do you like?", f"Do you have a favorite {color}?"
    )
    return [(question, "I like blue, because it is the color of the sky.")]


def food(talk: Talk) -> list[Exchange]:
    """What a food is and tastes like, or an idea for a meal."""
    name, group, taste = talk.rng.choice(FOODS)
    a_name = f"{article(name)} {name}"
    kind = talk.rng.random()
    if kind < 0.1:
        return [(f"What is {a_name}?", f"{a_name.capitalize()} is {article(group)} {group}.")]
    if kind < 0.3:
        asked = talk.pick("fruit", "vegetable")
        reply = f"Yes, {a_name} is a {group}." if asked == group else f"No, {a_name} is a {group}."
        return [(f"Is {a_name} a {asked}?", reply)]
    if kind < 0.55:
        question = talk.pick(f"How does {a_name} taste?", f"What does {a_name} taste like?")
        return [(question, f"{a_name.capitalize()} tastes {taste}.")]
    if kind < 0.85:
        meal = talk.rng.choice(list(MEALS))
        question = talk.pick(
            f"What should I eat for {meal}?", f"What can I have for {meal}?", f"Do you have an idea for {meal}?",
            f"What should I cook for {meal}?", f"I need an idea for {meal}.",
        )  # fmt: skip
        return [(question, f"For {meal}, you could have {talk.rng.choice(MEALS[meal])}.")]
    if kind < 0.93:
        return [
            (
                talk.pick("What is your favorite food?", "What do you like to eat?"),
                "I cannot eat, but I like to talk about pizza.",
            )
        ]
    return [
        (
            talk.pick("Name a fruit.", "Name three fruits.", "Tell me some fruits."),
            "Apples, bananas and pears are fruits.",
        )
    ]


def sums(talk: Talk) -> list[Exchange]:
    """A small sum, a count, or a sum that is too large."""
    first, second = talk.rng.randint(0, LARGEST_NUMBER), talk.rng.randint(0, LARGEST_NUMBER)
    kind = talk.rng.random()
    if kind < 0.1:
        too_large = talk.rng.randint(LARGEST_NUMBER + 11, 999), talk.rng.randint(LARGEST_NUMBER + 1, 999)
        sign = talk.pick("+", "-", "*", "plus", "times")
        question = f"{talk.pick('What is ', 'How much is ', '')}{too_large[0]} {sign} {too_large[1]}?"
        return [(question, "That is too hard for me. I can only add and take away numbers up to ten.")]
    if kind < 0.2:
        last = talk.rng.randint(2, LARGEST_NUMBER)
        shown = talk.pick(str(last), NUMBER_WORDS[last])
        counted = ", ".join(NUMBER_WORDS[1 : last + 1]).capitalize()
        return [(talk.pick(f"Count to {shown}.", f"Can you count to {shown}?"), f"{counted}.")]
    minus = talk.rng.random() < 0.4
    if minus:
        first, second = max(first, second), min(first, second)
    result = first - second if minus else first + second
    sign, word = ("-", "minus") if minus else ("+", "plus")
    asking = talk.pick("What is ", "How much is ", "What's ", "Can you tell me what is ", "")
    if talk.rng.random() < 0.35:
        left, right, answer = NUMBER_WORDS[first], NUMBER_WORDS[second], NUMBER_WORDS[result]
        return [(f"{asking}{left} {word} {right}?", f"{left.capitalize()} {word} {right} is {answer}.")]
    written = talk.pick(f"{first} {sign} {second}", f"{first}{sign}{second}", f"{first} {word} {second}")
    return [(f"{asking}{written}?", f"{first} {word} {second} is {result}.")]


def word_games(talk: Talk) -> list[Exchange]:
    """An opposite, a day or month, or a joke."""
    kind = talk.rng.randrange(3)
    if kind == 0:
        pair = list(talk.rng.choice(OPPOSITES))
        talk.rng.shuffle(pair)
        question = talk.pick(f"What is the opposite of {pair[0]}?", f"Tell me the opposite of {pair[0]}.")
        return [(question, f"The opposite of {pair[0]} is {pair[1]}.")]
    if kind == 1:
        cycle, unit = talk.rng.choice(((DAYS, "day"), (MONTHS, "month")))
        place = talk.rng.randrange(len(cycle))
        if talk.rng.random() < 0.6:
            question = talk.pick(f"What {unit} comes after {cycle[place]}?", f"Which {unit} is after {cycle[place]}?")
            return [(question, f"{cycle[(place + 1) % len(cycle)]} comes after {cycle[place]}.")]
        question = talk.pick(f"What {unit} comes before {cycle[place]}?", f"Which {unit} is before {cycle[place]}?")
        return [(question, f"{cycle[place - 1]} comes before {cycle[place]}.")]
    question = talk.pick(
        "Tell me a joke.", "Do you know a joke?", "Make me laugh.", "Can you tell me a joke?", "Say something funny."
    )
    return [(question, talk.rng.choice(JOKES))]


def story(talk: Talk) -> list[Exchange]:
    """A request for a story and a story of four sentences."""
    pronoun = talk.pick("he", "she")
    name = talk.rng.choice(MALE_NAMES if pronoun == "he" else FEMALE_NAMES)
    him, his = ("him", "his") if pronoun == "he" else ("her", "her")
    kind = talk.rng.choice([*STORY_HEROES, *(animal.name for animal in ANIMALS)])
    asking = talk.pick("Tell me", "Can you tell me", "Please tell me", "I want to hear", "Write", "Give me")
    subject = talk.pick("", f" about {article(kind)} {kind}", f" about {article(kind)} {kind}")
    question = (
        f"{asking} a {talk.pick('', 'short ', 'little ')}story{subject}{'?' if asking.startswith('Can') else '.'}"
    )
    his_capitalized, he_capitalized = his.capitalize(), pronoun.capitalize()
    shelter = talk.pick("a soft nest", "a dry tree")
    want, way, ending = talk.rng.choice(
        (
            (
                "see the sea",
                "walked for three days and sang all the way",
                f"At last, {pronoun} saw the big blue sea and smiled.",
            ),
            (
                "find a friend",
                "said hello to everyone in the forest",
                f"A little mouse said hello, too, and {pronoun} was never alone again.",
            ),
            (
                "learn to dance",
                "tried every morning, and did not give up",
                f"Soon all the others came to dance with {him}.",
            ),
            (
                "find a warm place to sleep",
                "looked and looked until the moon came up",
                f"Then a kind owl shared {shelter}, and {pronoun} slept well.",
            ),
            (
                f"make a gift for {his} mother",
                "picked the prettiest flowers on the hill",
                f"{his_capitalized} mother was so happy that she gave {him} a big hug.",
            ),
        )
    )
    beginning = f"Once upon a time there was {article(kind)} {kind} named {name}. {he_capitalized} wanted to {want}."
    return [(question, f"{beginning} {he_capitalized} {way}. {ending}")]
