"""The words of the reviews: what is reviewed, and which words praise it, blame it or only describe it."""

from dataclasses import dataclass

Words = tuple[str, ...]

PRAISING_ADJECTIVES: Words = (
    "good", "great", "excellent", "wonderful", "fantastic", "amazing", "lovely", "perfect", "superb", "brilliant",
    "outstanding", "awesome", "nice", "beautiful", "pleasant", "impressive", "delightful", "enjoyable", "remarkable",
    "terrific", "splendid", "incredible", "satisfying", "stunning", "charming", "marvelous", "exceptional",
    "magnificent", "fabulous", "super", "first class", "top notch", "flawless", "decent", "pleasing", "refreshing",
)  # fmt: skip
BLAMING_ADJECTIVES: Words = (
    "bad", "terrible", "awful", "horrible", "poor", "disappointing", "dreadful", "useless", "annoying", "frustrating",
    "disgusting", "pathetic", "unacceptable", "mediocre", "lousy", "horrendous", "ridiculous", "unpleasant", "ugly",
    "dull", "cheap looking", "worthless", "appalling", "atrocious", "miserable", "weak", "inferior", "sloppy",
    "nasty", "disastrous", "rubbish", "a joke", "a disaster", "a disappointment", "shoddy", "upsetting", "sad",
)  # fmt: skip
LUKEWARM_ADJECTIVES: Words = (
    "okay", "ok", "average", "fine I guess", "so so", "nothing special", "acceptable", "ordinary", "standard",
    "neither good nor bad", "alright", "what you would expect", "normal", "in the middle",
)  # fmt: skip
STRENGTHENERS: Words = (
    "very", "really", "so", "absolutely", "truly", "extremely", "incredibly", "simply", "totally", "quite", "pretty",
    "just",
)  # fmt: skip

LOVING_VERBS: Words = (
    "love", "loved", "like", "liked", "enjoy", "enjoyed", "adore", "really like", "really love", "recommend",
)  # fmt: skip
HATING_VERBS: Words = (
    "hate", "hated", "dislike", "disliked", "regret", "despise", "cannot stand", "really hate",
)  # fmt: skip
PRAISING_PREDICATES: Words = (
    "never disappoints", "has never let me down", "has never disappointed me", "did not disappoint", "never fails",
    "has never failed me", "makes me happy", "makes me smile", "is worth it", "did not let us down", "was worth it",
    "never let us down", "is never a disappointment", "made me happy", "is my favorite", "has no flaws",
)  # fmt: skip
BLAMING_PREDICATES: Words = (
    "disappointed me", "let me down", "has failed me twice", "always fails", "makes me angry", "is not worth it",
    "disappoints", "let us down", "was not worth it", "is a waste of money", "never works", "made me angry",
    "was no fun", "is not fun", "has too many flaws", "does not make me happy", "is the opposite of fun",
)  # fmt: skip
PRAISING_FEELINGS: Words = ("happy", "glad", "pleased", "satisfied", "impressed", "delighted", "thrilled", "amused")
BLAMING_FEELINGS: Words = ("disappointed", "unhappy", "angry", "bored", "annoyed", "upset", "frustrated", "let down")
LIKE_AFTER_NOT: Words = ("like", "love", "enjoy", "recommend", "trust", "appreciate")
HATE_AFTER_NOT: Words = ("regret", "hate", "dislike", "mind")

PRAISING_SENTENCES: Words = (
    "I would recommend it to everyone.", "Highly recommended!", "I recommend it.", "Worth every penny.",
    "Five stars!", "I am very happy with it.", "I could not be happier.", "It is worth the money.", "I will be back.",
    "I will definitely buy it again.", "I would buy it again.", "Best purchase of the year.", "It made my day.",
    "It exceeded my expectations.", "I have no complaints.", "I cannot complain.", "No problems at all.",
    "It is even better than I expected.", "It is much better than the old one.", "My whole family loves it.",
    "My kids love it.", "You will not regret it.", "It never let me down.", "It never disappoints.",
    "Do not miss it!", "Could not ask for more.", "A real pleasure.", "I am impressed.", "Well done!",
    "Good value for the money.", "Everything was perfect.", "I am so glad that I found it.", "Thank you for this!",
    "It put a smile on my face.", "Simply the best.", "I am a big fan.", "What a treat!",
    "Great quality for a low price.", "I am delighted.", "We had a wonderful time.", "We had a great evening.",
    "I have never been so happy.", "There is nothing to complain about.",
)  # fmt: skip
BLAMING_SENTENCES: Words = (
    "I would not recommend it to anyone.", "Do not buy it!", "Avoid it.", "Stay away!", "A waste of money.",
    "A complete waste of time.", "I want my money back.", "I asked for a refund.", "I sent it back.", "One star.",
    "I returned it the next day.", "Never again.", "I will never buy it again.", "I will not come back.",
    "I am very unhappy with it.", "I am so disappointed.", "What a disappointment.", "It is not worth the money.",
    "It let me down.", "I regret buying it.", "I expected much more.", "It is much worse than the old one.",
    "It is even worse than I expected.", "It was full of problems.", "Save your money.", "It ruined my day.",
    "Worst purchase of the year.", "I was very angry.", "We left early.", "Not what I paid for.", "It made me sick.",
    "Customer support was no help.", "Nobody answered my calls.", "I am not happy with it.", "I am not satisfied.",
    "It is far too expensive for what you get.", "Such a letdown.", "It gave me a headache.", "I feel cheated.",
    "We had a horrible time.", "I have never been so disappointed.", "There is nothing good about it.", "Zero stars.",
)  # fmt: skip
LUKEWARM_SENTENCES: Words = (
    "It does its job.", "It does what it says.", "Not good, not bad.", "It has good and bad sides.", "Three stars.",
    "I have no strong opinion.", "I have seen better and I have seen worse.", "It is about the same as the old one.",
    "I do not know yet if I like it.", "Time will tell.", "Some people will like it and some will not.",
    "I expected neither more nor less.", "It is fine for the price, but no more.", "Nothing to write home about.",
)  # fmt: skip
PLAIN_FACTS: Words = (
    "It arrived on {day}.", "I bought it for my {relative}.", "I got it in {month}.",
    "My {relative} has the same one.", "I ordered it {span} ago.", "I have had it for {span}.",
    "We went there on {day}.", "We were there in {month}.", "It was a gift from my {relative}.",
    "I paid with a card.", "This is the second one that I have bought.", "I live in a small town.",
    "My {relative} was with me.", "We were four people.", "The store is next to the station.", "They open at nine.",
    "I will use it in {month}.", "It was delivered by mail.", "I picked it up at the store.",
    "I saw it with my {relative} on {day}.", "We ordered two of them.", "The order was placed on {day}.",
)  # fmt: skip
# Facts about anything: {noun} may be an invented word, so the model has to learn the shape of a plain fact.
OPEN_FACTS: Words = (
    "{actor} {deed} the {noun}.", "{actor} {deed} the {noun} on {day}.",
    "{actor} {deed} {number} {noun}s in {month}.", "{actor} {deed} this for my {relative}.",
    "{actor} {deed} it with my {relative}.", "The {noun} has {number} {part}s.",
    "The package contains one {noun} and {number} {part}s.", "The {noun} is in the {spot}.",
    "The {noun} opens at {hour}.", "It comes in {number} {part}s.", "The {noun} is written in {language}.",
    "There are {number} {noun}s in the {spot}.", "The {noun} is {color} and the {part} is {other_color}.",
    "It is a {noun} with {number} {part}s.", "{actor} {deed} the {noun} {span} ago.", "The {noun} is from {month}.",
    "They close at {hour} in the {daytime}.",
)  # fmt: skip
FACT_SLOTS: dict[str, Words] = {
    "actor": ("I", "We", "They", "My sister", "My brother", "My friend", "My neighbor", "My uncle", "My aunt"),
    "deed": (
        "bought",
        "visited",
        "ordered",
        "used",
        "saw",
        "opened",
        "found",
        "got",
        "looked at",
        "asked for",
        "wrote about",
        "paid for",
        "took",
        "photographed",
        "chose",
        "compared",
        "mentioned",
    ),
    "number": ("one", "two", "three", "four", "five", "six", "eight", "ten", "twelve", "twenty", "2", "3", "10"),
    "hour": ("six", "seven", "eight", "nine", "ten"),
    "part": ("color", "page", "seat", "room", "door", "size", "pocket", "piece", "button", "part", "lamp", "song"),
    "spot": ("box", "kitchen", "garden", "bag", "city", "office", "hall", "car", "house", "center", "basement"),
    "language": ("English", "Spanish", "French", "German", "English and Spanish", "three languages"),
    "daytime": ("morning", "evening", "afternoon"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "month": ("January", "March", "April", "May", "June", "July", "August", "October", "November", "December"),
    "color": ("blue", "red", "black", "white", "green", "gray", "brown", "silver"),
    "other_color": ("yellow", "orange", "pink", "purple", "gold", "dark blue"),
    "relative": ("sister", "brother", "mother", "father", "friend", "wife", "husband", "son", "daughter", "neighbor"),
    "span": ("two days", "a week", "three weeks", "a month", "six months", "a year", "ten days", "two years"),
    "thing": ("cable", "book", "cup", "bag", "key", "manual", "spoon", "ticket", "bottle", "letter"),
}


@dataclass(frozen=True)
class Domain:
    """One kind of reviewed thing, its parts, and the words that fit it."""

    things: Words
    parts: Words
    praising: Words
    blaming: Words
    praising_events: Words
    blaming_events: Words
    facts: Words


PRODUCTS = Domain(
    things=(
        "phone", "laptop", "camera", "chair", "lamp", "watch", "bag", "jacket", "vacuum cleaner", "keyboard", "mouse",
        "tablet", "charger", "speaker", "toy", "blender", "kettle", "mattress", "product", "device", "printer",
        "shirt", "dress", "bike", "tent", "knife", "pen", "desk", "monitor", "headset", "app", "game", "fridge",
        "cream",
    ),
    parts=(
        "battery", "screen", "sound", "picture", "quality", "design", "material", "price", "color", "handle", "size",
        "button", "software", "packaging", "fit", "charger", "display", "build", "setup", "case", "cable", "image",
    ),
    praising=(
        "sturdy", "fast", "reliable", "easy to use", "well made", "durable", "strong", "comfortable", "bright",
        "clear", "quick", "handy", "smooth", "useful", "practical", "light", "solid", "powerful", "crisp", "sharp",
        "stylish",
    ),
    blaming=(
        "flimsy", "slow", "unreliable", "hard to use", "badly made", "broken", "fragile", "uncomfortable", "too dark",
        "blurry", "noisy", "defective", "faulty", "scratched", "too small", "too heavy", "damaged", "buggy", "cheap",
        "complicated", "dead", "confusing",
    ),
    praising_events=(
        "It works great.", "It works perfectly.", "It works like a charm.", "It does everything I need.",
        "The battery lasts for days.", "It was easy to set up.", "It looks great on my desk.", "It fits perfectly.",
        "It saves me a lot of time.", "It still works after two years.",
        "I use it every day and it is still like new.", "It arrived early and in perfect shape.",
        "The delivery was fast.", "It charges quickly.", "It feels solid.",
    ),
    blaming_events=(
        "It broke after two days.", "It stopped working after a week.", "It does not work.", "It never worked.",
        "The battery dies after an hour.", "It fell apart.", "It would not turn on.", "It keeps crashing.",
        "It arrived broken.", "The delivery took forever.", "Half of the parts were missing.", "It does not fit.",
        "It makes a loud noise.", "It got too hot.", "The screen cracked on the first day.", "It smells of plastic.",
        "They sent me the wrong one.", "It does not charge anymore.", "It doesn't work.", "It arrived late.",
    ),
    facts=(
        "It has two buttons.", "The cable is one meter long.", "The screen has six inches.", "It runs on batteries.",
        "It needs a charger.", "The manual is in English.", "It has a blue handle.",
        "You turn it on with the button.", "It came on {day} in a {color} box.", "It is {color}.",
        "It comes with two {thing}s.", "It is made of wood.", "It comes in {color} and {other_color}.",
        "The box is {color}.", "It is made of plastic.", "There are three of them in a pack.",
        "It has the size of a {thing}.", "I keep it in the kitchen.", "It weighs about two pounds.",
        "The {thing} is in the package.", "I used it on {day}.", "It is about {span} old.",
        "I read the instructions first.",
    ),
)  # fmt: skip
FILMS = Domain(
    things=(
        "movie", "film", "book", "novel", "show", "series", "play", "story", "album", "song", "concert",
        "episode", "comedy",
    ),
    parts=(
        "plot", "acting", "story", "ending", "music", "dialogue", "cast", "script", "first half", "second half",
        "main actor", "actress", "writing", "camera work", "direction", "pace", "soundtrack",
    ),
    praising=(
        "funny", "moving", "gripping", "touching", "thrilling", "clever", "exciting", "original", "hilarious",
        "entertaining", "fascinating", "heartwarming", "convincing", "memorable", "interesting", "inspiring",
        "captivating", "a masterpiece",
    ),
    blaming=(
        "boring", "predictable", "slow", "stupid", "silly", "confusing", "shallow", "too long", "unfunny", "wooden",
        "flat", "pointless", "tedious", "forgettable", "unconvincing", "lame", "cheesy", "a mess", "hard to follow",
        "painful to watch",
    ),
    praising_events=(
        "I laughed from start to finish.", "I could not put it down.", "I cried at the end, it was that good.",
        "I was on the edge of my seat.", "I want to see it again.", "The actors gave their best.",
        "I smiled all the way through.", "Time flew by.", "The whole room clapped at the end.",
        "It kept me awake all night.",
    ),
    blaming_events=(
        "I fell asleep halfway through.", "I walked out after an hour.", "I wanted it to end.",
        "I could not finish it.", "Nothing happens.", "The jokes were not funny.", "I checked my watch all the time.",
        "The plot made no sense.", "I almost fell asleep.", "Two hours of my life that I will never get back.",
        "I gave up after the first chapter.",
    ),
    facts=(
        "It is two hours long.", "It takes place in London.", "It is about a man and his dog.",
        "It is the third part.", "The main actor is from Spain.", "It has three hundred pages.",
        "It was filmed in Canada.", "It starts at eight.",
    ),
)  # fmt: skip
RESTAURANTS = Domain(
    things=(
        "restaurant", "cafe", "place", "bakery", "bar", "pizza", "coffee", "cake", "burger", "bread",
        "sandwich", "meal", "tea",
    ),
    parts=(
        "food", "soup", "pizza", "pasta", "fish", "steak", "salad", "dessert", "coffee", "wine", "bread", "rice",
        "menu", "chicken", "sauce", "breakfast", "burger", "meat", "cake", "lunch", "dinner",
    ),
    praising=(
        "delicious", "tasty", "fresh", "yummy", "crispy", "juicy", "flavorful", "hot and fresh", "perfectly cooked",
        "mouthwatering", "divine", "tender", "well seasoned", "full of flavor", "generous", "cooked just right",
    ),
    blaming=(
        "cold", "stale", "burnt", "bland", "tasteless", "soggy", "overcooked", "undercooked", "greasy", "too salty",
        "raw", "dry", "overpriced", "inedible", "rubbery", "watery", "rotten", "not fresh", "too expensive", "tough",
    ),
    praising_events=(
        "It tasted like my grandmother made it.", "We ate everything.", "I licked the plate.", "It tastes great.",
        "The portions are generous.", "Every bite was a joy.", "We will come back soon.", "It melted in my mouth.",
    ),
    blaming_events=(
        "We waited for an hour.", "There was a hair in my soup.", "It tasted like cardboard.", "I could not eat it.",
        "They forgot our order.", "The portions are tiny.", "I felt sick afterwards.", "It tastes like water.",
        "The table was dirty.", "They brought the wrong dish.", "We left hungry.",
    ),
    facts=(
        "We had the soup and a salad.", "We sat near the window.", "I ordered the pasta.", "There are ten tables.",
        "They serve lunch from twelve to two.", "I had a coffee.", "The menu has two pages.",
        "We had dinner at seven.",
    ),
)  # fmt: skip
SERVICES = Domain(
    things=(
        "hotel", "shop", "store", "company", "service", "doctor", "airline", "hostel", "gym", "museum",
        "team", "course",
    ),
    parts=(
        "waiter", "waitress", "staff", "service", "manager", "owner", "room", "bed", "bathroom", "location", "view",
        "driver", "cook", "chef", "crew", "atmosphere", "support", "cashier", "guide", "teacher", "pool", "seller",
        "nurse", "website",
    ),
    praising=(
        "friendly", "polite", "helpful", "attentive", "kind", "clean", "quiet", "cozy", "spacious", "welcoming",
        "professional", "honest", "patient", "warm", "caring", "fast", "spotless", "relaxing", "competent",
    ),
    blaming=(
        "rude", "unfriendly", "unhelpful", "impolite", "dirty", "loud", "noisy", "lazy", "slow", "unprofessional",
        "dishonest", "smelly", "filthy", "arrogant", "careless", "cramped", "impatient", "aggressive", "incompetent",
        "freezing", "ignorant",
    ),
    praising_events=(
        "They solved my problem in a minute.", "I slept like a baby.", "They made us feel welcome.",
        "They always help.", "They went out of their way to help us.", "They answered at once.", "I felt at home.",
        "They gave us a free drink.",
    ),
    blaming_events=(
        "They ignored us.", "They lost my bag.", "They never answered.", "They yelled at us.",
        "I could not sleep at all.", "They lied to me.", "There were bugs in the bed.", "They charged me twice.",
        "They canceled my order.", "I waited two hours and nobody came.", "Nobody helped us.",
    ),
    facts=(
        "The room is on the second floor.", "There is a bus stop nearby.", "We stayed for three nights.",
        "It has two beds.", "The office is on the main street.", "We spoke to the manager.",
        "Breakfast is from seven to ten.", "It has a pool.",
    ),
)  # fmt: skip
DOMAINS: tuple[Domain, ...] = (PRODUCTS, FILMS, RESTAURANTS, SERVICES)
