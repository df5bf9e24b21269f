"""What tiny-chat knows: animals, colors, food, opposites, calendars, and what lies outside its world."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Animal:
    """One animal; a fact that would be doubtful or dull is None and is never asked for."""

    name: str
    plural: str
    cry: str | None  # what it says
    legs: str | None
    home: str
    food: str
    baby: str | None

    @property
    def article(self) -> str:
        """The article for its name."""
        return article(self.name)


def article(noun: str) -> str:
    """The article for a noun whose first letter decides."""
    return "an" if noun[0] in "aeio" else "a"


ANIMALS: tuple[Animal, ...] = (
    Animal("dog", "dogs", "woof", "four", "in houses with people", "meat", "puppy"),
    Animal("cat", "cats", "meow", "four", "in houses with people", "fish and meat", "kitten"),
    Animal("cow", "cows", "moo", "four", "on farms", "grass and hay", "calf"),
    Animal("horse", "horses", "neigh", "four", "on farms", "grass and oats", "foal"),
    Animal("pig", "pigs", "oink", "four", "on farms", "corn and vegetables", "piglet"),
    Animal("sheep", "sheep", "baa", "four", "on farms", "grass", "lamb"),
    Animal("goat", "goats", "maa", "four", "on farms and in the mountains", "leaves and grass", "kid"),
    Animal("duck", "ducks", "quack", "two", "near ponds and lakes", "water plants and insects", "duckling"),
    Animal("chicken", "chickens", "cluck", "two", "on farms", "seeds and worms", "chick"),
    Animal("frog", "frogs", "ribbit", "four", "near ponds", "insects", "tadpole"),
    Animal("lion", "lions", "roar", "four", "in the grasslands of Africa", "meat", "cub"),
    Animal("tiger", "tigers", "roar", "four", "in the forests of Asia", "meat", "cub"),
    Animal("bear", "bears", "growl", "four", "in forests and mountains", "berries, fish and honey", "cub"),
    Animal("wolf", "wolves", "howl", "four", "in forests", "meat", "pup"),
    Animal("fox", "foxes", None, "four", "in dens in the forest", "mice and berries", "cub"),
    Animal("owl", "owls", "hoot", "two", "in trees", "mice", "owlet"),
    Animal("bee", "bees", "buzz", "six", "in hives", "nectar from flowers", None),
    Animal("ant", "ants", None, "six", "in nests under the ground", "seeds and sweet things", None),
    Animal("spider", "spiders", None, "eight", "in webs", "insects", None),
    Animal("snake", "snakes", "hiss", "no", "in grass, sand and trees", "mice and eggs", None),
    Animal("mouse", "mice", "squeak", "four", "in small holes", "seeds and grain", "pup"),
    Animal("rabbit", "rabbits", None, "four", "in burrows under the ground", "grass and leaves", "kit"),
    Animal("elephant", "elephants", None, "four", "in Africa and Asia", "grass, leaves and fruit", "calf"),
    Animal("giraffe", "giraffes", None, "four", "in the grasslands of Africa", "leaves from tall trees", "calf"),
    Animal("zebra", "zebras", None, "four", "in the grasslands of Africa", "grass", "foal"),
    Animal("monkey", "monkeys", None, None, "in the trees of warm forests", "fruit and nuts", None),
    Animal("penguin", "penguins", None, "two", "on cold coasts in the south", "fish", "chick"),
    Animal("bird", "birds", "tweet", "two", "in nests", "seeds and insects", "chick"),
    Animal("whale", "whales", None, "no", "in the ocean", "small fish and tiny sea animals", "calf"),
    Animal("fish", "fish", None, "no", "in rivers, lakes and seas", "water plants and small animals", None),
    Animal("turtle", "turtles", None, "four", "near ponds and in the sea", "plants and small animals", "hatchling"),
)

# A thing as it stands in a sentence, and its color.
COLORS_OF_THINGS: dict[str, str] = {
    "the sky": "blue", "the sea": "blue", "grass": "green", "snow": "white", "the sun": "yellow",
    "the night": "black", "coal": "black", "a banana": "yellow", "a lemon": "yellow", "a carrot": "orange",
    "a pumpkin": "orange", "a tomato": "red", "a strawberry": "red", "a cherry": "red", "a fire truck": "red",
    "blood": "red", "chocolate": "brown", "wood": "brown", "milk": "white", "a polar bear": "white",
    "salt": "white", "an elephant": "gray", "a mouse": "gray", "a flamingo": "pink", "a pig": "pink",
    "a frog": "green", "a cucumber": "green", "a leaf": "green", "a plum": "purple", "a crow": "black",
}  # fmt: skip
MIXED_COLORS: tuple[tuple[str, str, str], ...] = (
    ("blue", "yellow", "green"),
    ("red", "yellow", "orange"),
    ("red", "blue", "purple"),
    ("black", "white", "gray"),
    ("red", "white", "pink"),
)

# A food, its group and its taste.
FOODS: tuple[tuple[str, str, str], ...] = (
    ("apple", "fruit", "sweet"), ("banana", "fruit", "sweet"), ("orange", "fruit", "sweet"),
    ("lemon", "fruit", "sour"), ("pear", "fruit", "sweet"), ("strawberry", "fruit", "sweet"),
    ("cherry", "fruit", "sweet"), ("mango", "fruit", "sweet"), ("carrot", "vegetable", "fresh and a little sweet"),
    ("potato", "vegetable", "mild"), ("onion", "vegetable", "sharp"), ("cucumber", "vegetable", "fresh"),
    ("cookie", "snack", "sweet"), ("cake", "dessert", "sweet"), ("pizza", "meal", "salty"), ("soup", "meal", "salty"),
)  # fmt: skip
MEALS: dict[str, tuple[str, ...]] = {
    "breakfast": ("bread with honey and a glass of milk", "oats with an apple", "eggs and toast"),
    "lunch": ("a bowl of soup with bread", "a cheese sandwich", "rice with vegetables"),
    "dinner": ("pasta with tomato sauce", "fish with potatoes", "a pizza with a salad"),
}

OPPOSITES: tuple[tuple[str, str], ...] = (
    ("big", "small"), ("hot", "cold"), ("up", "down"), ("day", "night"), ("happy", "sad"), ("fast", "slow"),
    ("old", "young"), ("open", "closed"), ("left", "right"), ("wet", "dry"), ("hard", "soft"), ("loud", "quiet"),
    ("light", "dark"), ("full", "empty"), ("tall", "short"), ("good", "bad"), ("yes", "no"), ("rich", "poor"),
    ("clean", "dirty"), ("early", "late"), ("strong", "weak"), ("black", "white"), ("near", "far"), ("sweet", "sour"),
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
LARGEST_NUMBER = 10  # in a sum or a count

JOKES: tuple[str, ...] = (
    "Why did the clock go to bed? It was tired of running.",
    "What did one wall say to the other wall? Let us meet at the corner.",
    "Why was the cookie sad? It felt a little crumby.",
    "Why did the moon skip dinner? It was already full.",
    "Why did the sheep need a map? It was lost in its own wool.",
)

# Questions outside the model's world; {thing} is any word, known or invented.
UNKNOWN_QUESTIONS: tuple[str, ...] = (
    "What is the capital of {thing}?", "Who is the president of {thing}?", "What is {thing}?", "Who is {thing}?",
    "What is a {thing}?", "How does a {thing} work?", "How do I install {thing}?", "Tell me about {thing}.",
    "Explain {thing} to me.", "Explain {thing} in simple words.", "What do you think about {thing}?",
    "Where can I buy a {thing}?", "How much does a {thing} cost?", "Write a poem about {thing}.",
    "Write a Python function that returns the {thing}.", "Write an email about {thing}.",
    "Translate {thing} to French.", "When was {thing} invented?", "Who invented the {thing}?", "Who wrote {thing}?",
    "Why is the {thing} so important?", "What is the history of {thing}?", "Give me a list of {thing}.",
    "How far is it to {thing}?", "Summarize {thing}.", "What is the weather in {thing}?",
    "What is the weather today?", "Who won the game last night?", "What time is it?", "What day is it today?",
    "What is the meaning of life?", "How do I fix my {thing}?", "Can you book a {thing} for me?",
    "What is the best {thing}?", "How many people live in {thing}?", "What is the population of {thing}?",
    "Why does {thing} matter?", "Can you help me with my {thing}?", "Is {thing} better than {other}?",
    "What is the difference between {thing} and {other}?", "{thing} {other}", "How big is {thing}?",
    "Do you know {thing}?", "What happened in {thing}?", "Define {thing}.", "{thing}?", "{thing}",
    "Why is {thing} {quality}?", "Is {thing} {quality}?", "Why do people like {thing}?",
    "Why is the {thing} {quality}?", "Can you {deed} {thing}?", "Please {deed} {thing}.", "{deed} {thing} {other}",
    "I need a {thing} for my {other}.", "My {thing} is {quality}.", "I saw {thing} in {other} yesterday.",
    "Should I {deed} my {thing}?", "{thing} {other} {quality}", "How do I get from {thing} to {other}?",
    "What does {thing} mean?", "Show me the {thing}.", "How do you make {thing}?",
)  # fmt: skip
UNKNOWN_THINGS: tuple[str, ...] = (
    "France", "Germany", "Japan", "America", "London", "Paris", "Berlin", "New York", "Einstein", "Napoleon",
    "Shakespeare", "gravity", "quantum physics", "electricity", "the internet", "a computer", "music", "history",
    "football", "Linux", "Python", "JavaScript", "a database", "machine learning", "the moon landing",
    "the stock market", "money", "democracy", "a car engine", "photosynthesis", "the universe", "my homework",
    "a train ticket", "love", "the law", "chess", "a black hole", "evolution", "the Roman Empire", "a volcano",
    "the economy", "a server", "medicine", "art", "philosophy", "mathematics", "transformers", "Docker", "a phone",
    "a hotel",
)  # fmt: skip
UNKNOWN_DEEDS: tuple[str, ...] = (
    "write", "explain", "draw", "code", "find", "open", "buy", "sell", "read", "translate", "clean", "repair", "send",
    "cook",
)  # fmt: skip
UNKNOWN_QUALITIES: tuple[str, ...] = (
    "blue", "big", "important", "expensive", "good", "bad", "dangerous", "fast", "old", "famous", "difficult",
    "healthy", "broken",
)  # fmt: skip
# Greetings in other languages and plain noise: the model only speaks English.
FOREIGN_MESSAGES: tuple[str, ...] = (
    "Bonjour, comment allez-vous ?", "Hallo, wie geht es dir?", "Hola, ¿cómo estás?", "Ciao, come stai?",
    "Olá, tudo bem?", "Привет, как дела?", "Как тебя зовут?", "你好", "你叫什么名字?", "こんにちは", "안녕하세요",
    "مرحبا", "नमस्ते",
    "שלום", "Γεια σου", "Cześć", "Merhaba", "Hej, hur mår du?", "🙂", "🚀🚀", "👋", "???", "...", "asdf", "qwertz",
    "blah blah", "1234567",
)  # fmt: skip
STORY_HEROES: tuple[str, ...] = (
    "dragon", "robot", "princess", "king", "boy", "girl", "ghost", "pirate", "knight", "wizard",
)  # fmt: skip
