"""What tiny-chat says about itself, the user and what it does not know."""

from .chat_facts import FOREIGN_MESSAGES, MEALS, UNKNOWN_DEEDS, UNKNOWN_QUALITIES, UNKNOWN_QUESTIONS, UNKNOWN_THINGS
from .chat_talk import Exchange, Talk, invented_word
from .story_grammar import NAMES

USER_NAMES = (
    *NAMES,
    "Alice", "Bob", "Carol", "David", "Emma", "Frank", "Grace", "Henry", "Ivan", "Julia", "Kate", "Liam", "Maria",
    "Noah", "Olivia", "Paul", "Quinn", "Sarah", "Thomas", "Vera", "Will", "Yuki", "Peter", "John", "James", "Laura",
    "Omar", "Priya", "Chen", "Fatima", "Diego", "Eva", "Felix", "George", "Hannah", "Alex", "Chris", "Sofia", "Amir",
)  # fmt: skip
INVENTED_NAME_SHARE = 0.2
UNTOLD_SHARE = 0.4  # of the questions for a name that the user has not said
FOREIGN_SHARE = 0.1  # of the messages outside the world

OFFER = "You can ask me about animals, colors, food and small sums."
UNKNOWN_ANSWERS = (
    f"I am sorry, I am a very small model and I do not know that. {OFFER}",
    f"I do not know that. I am only a very small model. {OFFER}",
)


def opening(talk: Talk) -> list[Exchange]:
    """A greeting, perhaps with small talk or an introduction."""
    hello = talk.pick("Hello", "Hi", "Hey", "Good morning", "Good evening", "Hello there", "Hi there")
    echo = hello if hello.startswith("Good") else talk.pick("Hello", "Hi")
    kind = talk.rng.random()
    if kind < 0.4:
        return [(f"{hello}!", f"{echo}! I am {talk.own_name}. How can I help you today?")]
    if kind < 0.75:
        question = talk.pick(
            "how are you?", "how are you doing?", "how are you today?", "how is it going?", "what's up?"
        )
        mark = talk.pick(",", "!")
        question = question if mark == "," else question.capitalize()
        return [(f"{hello}{mark} {question}", f"{echo}! I am doing well, thank you. How are you?"), *_mood(talk)]
    return [_introduction(talk, prefix=f"{hello}{talk.pick(',', '!')} ", echo=echo)]


def _introduction(talk: Talk, prefix: str, echo: str) -> Exchange:
    name = talk.rng.choice(USER_NAMES)
    if talk.rng.random() < INVENTED_NAME_SHARE:
        name = invented_word(talk.rng).capitalize()
    talk.user_name = name
    statement = talk.pick(f"My name is {name}.", f"I am {name}.", f"I'm {name}.", f"You can call me {name}.")
    return prefix + statement, f"{echo}, {name}! It is nice to meet you."


def _mood(talk: Talk) -> list[Exchange]:
    if talk.rng.random() < 0.7:
        good = talk.pick(
            "I am fine", "I am good", "I am doing well", "I am great", "I am happy", "Good", "Fine", "Very well"
        )
        tail = talk.pick(".", "!", ", thanks.", ", thank you.")
        return [(good + tail, "I am glad to hear that! What would you like to talk about?")]
    bad = talk.pick("sad", "tired", "not so good", "bored", "sick", "not well", "a bit sad", "very tired")
    comfort = talk.pick("Maybe a short story will help.", "I hope you feel better soon.")
    return [(f"I am {bad}.", f"I am sorry to hear that. {comfort}")]


def feelings(talk: Talk) -> list[Exchange]:
    """How the two are."""
    kind = talk.rng.randrange(4)
    if kind == 0:
        question = talk.pick("How are you?", "How are you doing?", "How are you today?", "How do you feel?")
        return [(question, "I am doing well, thank you. How are you?"), *_mood(talk)]
    if kind == 1:
        return _mood(talk)
    if kind == 2:
        meal = talk.rng.choice(list(MEALS))
        return [("I am hungry.", f"You could have {talk.rng.choice(MEALS[meal])}. I hope it tastes good!")]
    return [(talk.pick("I am thirsty.", "I want something to drink."), "A glass of water is always a good idea.")]


def own_name(talk: Talk) -> list[Exchange]:
    """Who the assistant is."""
    question = talk.pick("What is your name?", "Who are you?", "Do you have a name?", "Tell me your name.")
    return [(question, f"My name is {talk.own_name}. I am a very small chat model.")]


def user_name(talk: Talk) -> list[Exchange]:
    """What the user is called, which the assistant knows only if it has been told."""
    question = talk.pick("What is my name?", "Do you know my name?", "Who am I?", "Do you remember my name?")
    if talk.user_name is None and talk.rng.random() < UNTOLD_SHARE:
        return [(question, "You have not told me your name yet.")]
    told = [] if talk.user_name else [_introduction(talk, prefix="", echo="Hello")]
    return [*told, (question, f"Your name is {talk.user_name}.")]


def about_the_model(talk: Talk) -> list[Exchange]:
    """One question about the assistant itself."""
    return [
        talk.rng.choice(
            (
                ("What can you do?", f"I can chat a little and tell short stories. {OFFER}"),
                ("What do you know?", f"I only know a few things. {OFFER}"),
                ("Can you help me?", f"I will try! {OFFER}"),
                ("I need help.", f"I will try to help! {OFFER}"),
                ("What can I ask you?", OFFER),
                ("What should we talk about?", OFFER),
                ("Are you a human?", "No, I am a very small chat model."),
                ("Are you real?", "I am a real computer program, but I am not a person."),
                ("Are you a robot?", "I am a chat model. I have no arms and no legs, only words."),
                ("What are you?", "I am a very small chat model."),
                ("How old are you?", "I am very young. I was trained in only a few minutes."),
                ("Where do you live?", "I live in a small folder on a computer."),
                ("Who made you?", "I was trained from nothing by an example script of Modelyard."),
                ("Are you smart?", "I am too small to be very smart, but I try my best."),
                ("Do you like me?", "Yes, I like to talk with you."),
                ("I like you.", "Thank you! I like to talk with you."),
                ("What's up?", "Not much, I am only a small model. What would you like to talk about?"),
                ("Say hello.", "Hello!"),
                ("Let us talk.", f"I would like that! {OFFER}"),
                ("You are funny.", "Thank you! That is nice of you."),
                ("You are stupid.", "I am sorry. I am only a very small model, but I try my best."),
                ("That is wrong.", "I am sorry about that. I am a very small model and I make mistakes."),
            )
        )
    ]


def unknown(talk: Talk) -> list[Exchange]:
    """A question outside the model's world, which it should say it cannot answer."""

    def thing() -> str:
        return talk.rng.choice(UNKNOWN_THINGS) if talk.rng.random() < 0.5 else invented_word(talk.rng)

    question = talk.rng.choice(UNKNOWN_QUESTIONS).format(
        thing=thing(),
        other=thing(),
        deed=talk.rng.choice(UNKNOWN_DEEDS),
        quality=talk.rng.choice(UNKNOWN_QUALITIES),
    )
    if talk.rng.random() < FOREIGN_SHARE:
        question = talk.rng.choice(FOREIGN_MESSAGES)
    return [(question, talk.rng.choice(UNKNOWN_ANSWERS))]


def thanks(talk: Talk) -> list[Exchange]:
    """A word of thanks."""
    question = talk.pick(
        "Thank you!", "Thanks!", "Thank you very much.", "Thanks a lot!", "Ok, thanks.", "Great, thank you!"
    )
    return [(question, talk.pick("You are welcome!", "You are welcome! Is there anything else?"))]


def closing(talk: Talk) -> list[Exchange]:
    """A goodbye."""
    bye = talk.pick(
        "Bye!", "Goodbye!", "See you later!", "Good night!", "I have to go now.", "Bye bye!", "Thanks, bye!"
    )
    reply = "Good night! Sleep well." if bye == "Good night!" else "Goodbye! It was nice to talk with you."
    return [(bye, reply)]
