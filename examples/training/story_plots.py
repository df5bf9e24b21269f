"""The plots the story grammar can tell: what is wanted, what goes wrong, who helps, how it ends.

A plot is a sequence of beats. Each beat lists interchangeable wordings, and every wording of one
beat must fit every wording of the next, because the grammar picks them independently.
Placeholders such as {toy} are the plot's own and keep one value for the whole story. {name}, {he},
{friend} and their kin belong to the grammar (see story_grammar.py).
"""

from dataclasses import dataclass, field

Beat = tuple[str, ...]

MEETING: Beat = (
    "Then a kind {friend_kind} named {friend} came by.",
    "Just then, a {friend_kind} named {friend} walked by.",
    "Soon a friendly {friend_kind} came along. {Friend_his} name was {friend}.",
    "A {friend_kind} named {friend} saw {him} and stopped.",
)
WORRY: Beat = (
    "{name} felt very sad.",
    "{He} sat down and did not know what to do.",
    "A big tear ran down {his} face.",
    "{name} was sad and let out a long sigh.",
)
QUESTION: Beat = (
    '"What is wrong?" asked {friend}.',
    '"Why do you look so sad?" asked {friend}.',
    '"Can I help you?" asked {friend}.',
)
THANKS: Beat = (
    '"Thank you so much!" said {name} with a big smile.',
    '"Thank you, {friend}!" said {name}.',
    "{name} gave {friend} a big hug.",
    '"You are a good friend," said {name}.',
)
HELP_MORAL: Beat = (
    "{name} learned that it is good to ask for help.",
    "From that day on, {name} and {friend} were best friends.",
    "{name} was happy to have such a good friend.",
    "That night, {name} went to sleep with a smile.",
)
FRIENDS: Beat = ("fox", "rabbit", "bear", "duck", "dog", "turtle", "goat", "hedgehog")


@dataclass(frozen=True)
class Plot:
    """One plot: its beats in order, the placeholders it owns, and who may play the friend."""

    beats: tuple[Beat, ...]
    slots: dict[str, Beat] = field(default_factory=dict)
    friend_kinds: Beat = FRIENDS


TOY_IN_A_TREE = Plot(
    slots={
        "toy": ("red ball", "blue kite", "yellow balloon", "green hat"),
        "tree": ("tall tree", "big apple tree", "very old tree"),
    },
    friend_kinds=("squirrel", "monkey", "cat"),
    beats=(
        (
            "One day, {name} was playing outside with {his} {toy}.",
            "One sunny morning, {name} took {his} {toy} to the park.",
            "One windy day, {name} went out to play with {his} {toy}.",
        ),
        (
            "Suddenly, the wind blew hard and the {toy} flew up into a {tree}.",
            "But a strong wind came, and the {toy} got stuck at the top of a {tree}.",
        ),
        (
            "{name} jumped and jumped, but {he} could not reach it.",
            "{He} tried to climb up, but the branches were too high.",
        ),
        WORRY,
        MEETING,
        QUESTION,
        ('"My {toy} is stuck in the tree," said {name}.', '"I cannot reach my {toy}," said {name}.'),
        (
            "{friend} climbed up the tree and brought the {toy} back down.",
            "Up and up went {friend}, and soon {friend_he} came back with the {toy}.",
        ),
        THANKS,
        ("Then they played with the {toy} until the sun went down.", "They played together all day."),
        HELP_MORAL,
    ),
)

CROSSING_THE_RIVER = Plot(
    slots={
        "place": ("the flower field", "the hill", "the berry bushes", "the old mill"),
        "relative": ("grandmother", "grandfather", "aunt", "cousin"),
    },
    friend_kinds=("beaver", "turtle", "bear", "duck"),
    beats=(
        (
            "One morning, {name} wanted to visit {his} {relative}, who lived near {place}.",
            "One day, {name} set out to see {his} {relative}, who lived near {place}.",
        ),
        (
            "But a wide river was in the way, and the bridge was gone.",
            "But when {he} came to the river, the bridge was broken.",
        ),
        (
            "The water was cold and fast, so {he} could not swim across.",
            "{He} looked left and right, but there was no way to cross.",
        ),
        WORRY,
        MEETING,
        QUESTION,
        ('"I cannot cross the river," said {name}.', '"I want to get to the other side," said {name}.'),
        (
            '"I know what to do," said {friend}. Together they pushed a big log over the water.',
            '"Let us build a boat," said {friend}. They worked hard, and soon the boat was ready.',
        ),
        ("{name} got across and was not even wet.", "Step by step, they got to the other side."),
        THANKS,
        (
            "{His} {relative} was so happy to see them that they all had soup together.",
            "{His} {relative} gave them both warm bread with honey.",
        ),
        HELP_MORAL,
    ),
)

BIRTHDAY_CAKE = Plot(
    slots={
        "relative": ("mother", "father", "sister", "brother", "grandmother"),
        "missing": ("honey", "milk", "flour", "sugar", "butter"),
    },
    friend_kinds=("bear", "goat", "mouse", "duck"),
    beats=(
        (
            "One day, {name} wanted to bake a cake for {his} {relative}.",
            "It was the birthday of {his} {relative}, and {name} wanted to bake a big cake.",
        ),
        (
            "{He} looked in the kitchen, but there was no {missing}.",
            "{He} had nearly everything, but {he} did not have any {missing}.",
        ),
        (
            '"I cannot bake a cake without {missing}," said {name}.',
            '"Oh no," said {name}. "What is a cake without {missing}?"',
        ),
        (
            "So {he} went to the house of {his} friend {friend}, a kind {friend_kind}.",
            "Then {he} ran to {friend}, the {friend_kind} who lived next door.",
        ),
        (
            '"Do you have some {missing}?" asked {name}.',
            '"May I please have some {missing}?" asked {name}.',
        ),
        (
            '"Of course," said {friend}. "I will help you bake the cake, too."',
            '"Yes, I have a lot of {missing}," said {friend}. "Let us bake together."',
        ),
        (
            "They mixed and baked, and soon the whole house smelled sweet.",
            "They worked all morning, and the cake came out big and golden.",
        ),
        (
            "When the cake was ready, everyone came to the table and sang a song.",
            "{His} {relative} tasted the cake and smiled.",
        ),
        (
            '"This is the best cake ever!" said {his} {relative}.',
            "{name} gave the first piece to {friend} to say thank you.",
        ),
        (
            "{name} learned that sharing makes everything sweet.",
            "It was the best birthday of the year.",
            "{name} was very proud and very full.",
        ),
    ),
)

LEARNING_A_SKILL = Plot(
    slots={"skill": ("swim", "dance", "skate", "whistle", "ride a bike", "sing", "paint")},
    friend_kinds=("frog", "penguin", "goat", "cat", "bear"),
    beats=(
        (
            "More than anything, {name} wanted to learn to {skill}.",
            "All {his} friends could {skill}, but {name} could not.",
        ),
        (
            "One day {he} tried, but it did not go well.",
            "One morning {he} tried to {skill}, but {he} could not do it.",
        ),
        (
            '"I will never learn to {skill}," said {name}.',
            '"It is too hard for me," said {name}.',
        ),
        MEETING,
        (
            '"I could not {skill} at first," said {friend}. "You must try again and again."',
            '"Do not give up," said {friend}. "I will show you how to {skill}."',
        ),
        (
            "So every day after breakfast, they practiced together.",
            "So they practiced in the morning and in the evening.",
        ),
        (
            "The first day was hard. The second day was better.",
            "At first it was slow, but each day was a little better.",
        ),
        (
            "Then, at last, {name} could {skill} all alone.",
            "After one week, {name} could {skill} very well.",
        ),
        (
            '"Look at me!" said {name}. "I can do it!"',
            '"You did it!" said {friend}, and they both laughed.',
        ),
        (
            "{name} learned that you get better when you do not give up.",
            "{name} was very proud, and so was {friend}.",
            "From that day on, {name} was never afraid to try something new.",
        ),
    ),
)

LOST_IN_THE_FOREST = Plot(
    slots={
        "treasure": ("berries", "mushrooms", "flowers", "nuts"),
        "light": ("lantern", "candle", "lamp"),
    },
    friend_kinds=("deer", "hedgehog", "rabbit", "badger"),
    beats=(
        (
            "One day, {name} went into the forest to look for {treasure}.",
            "One afternoon, {name} took a basket and went to find {treasure} in the forest.",
        ),
        (
            "{He} found so many {treasure} that {he} forgot to look at the path.",
            "{He} walked and walked, and {his} basket was soon full of {treasure}.",
        ),
        (
            "When the sky became dark, {name} could not find the way home.",
            "Then the sun went down, and {he} was lost.",
        ),
        (
            "{He} was scared, but {he} tried to be brave.",
            "The forest was quiet, and {name} felt very small.",
        ),
        (
            "Far away {he} saw a little light. It was a {friend_kind} named {friend} with a {light}.",
            "Then a {friend_kind} named {friend} came down the path with a {light}.",
        ),
        ('"Are you lost?" asked {friend}.', '"Why are you out so late?" asked {friend}.'),
        (
            '"Yes, I cannot find my home," said {name}.',
            '"I lost the path," said {name}.',
        ),
        (
            '"Follow my {light}," said {friend}. "I know every path in this forest."',
            '"Do not worry," said {friend}. "I will take you home."',
        ),
        (
            "They walked side by side, and soon {name} saw the lights of home.",
            "They sang a song on the way, and the dark was not scary anymore.",
        ),
        (
            "{name} gave {friend} half of the {treasure} to say thank you.",
            "At home, they shared the {treasure} and some warm tea.",
        ),
        (
            "{name} learned to always look at the path.",
            "From that day on, {name} and {friend} went to the forest together.",
            "That night, {name} was safe and warm in bed.",
        ),
    ),
)

CLOUDY_NIGHT = Plot(
    slots={"sight": ("the full moon", "the stars", "a shooting star")},
    friend_kinds=("mouse", "cat", "fox", "bear"),
    beats=(
        (
            "More than anything, {name} wanted to see {sight}.",
            "{name} had a big dream. {He} wanted to see {sight} from the top of the hill.",
        ),
        (
            "One evening, {he} climbed up the hill with {his} friend {friend}, a {friend_kind}.",
            "One night, {he} went up the hill with {friend} the {friend_kind}.",
        ),
        (
            "But the sky was full of dark clouds.",
            "But big gray clouds came and covered the sky.",
        ),
        (
            '"Now we will not see {sight}," said {name}.',
            '"It is not fair," said {name}. "We cannot see a thing."',
        ),
        (
            '"Let us wait a little," said {friend}. "Clouds do not stay forever."',
            '"We can wait and tell stories," said {friend}.',
        ),
        (
            "So they sat under a warm blanket and told funny stories.",
            "So they sat down on the grass and drank warm milk.",
        ),
        (
            "After a while, a soft wind came and pushed the clouds away.",
            "Slowly, very slowly, the clouds moved away.",
        ),
        (
            'And there was {sight}! "Oh, how pretty!" said {name}.',
            '"Look up!" said {friend}. And there was {sight}, bright and beautiful.',
        ),
        (
            "{name} made a wish and held on to {friend}.",
            "They looked at the sky for a long time.",
        ),
        (
            "{name} learned that good things come when you wait.",
            "It was a night that {name} would never forget.",
        ),
    ),
)

DRY_GARDEN = Plot(
    slots={
        "plant": ("carrots", "tomatoes", "sunflowers", "roses", "beans"),
        "vessel": ("bucket", "watering can", "big pot"),
    },
    friend_kinds=("elephant", "donkey", "bear", "goat"),
    beats=(
        (
            "{name} had a small garden and wanted to grow {plant}.",
            "One spring, {name} planted {plant} in {his} garden.",
        ),
        (
            "But the days were hot, and no rain came.",
            "But the sun was hot, and the ground became very dry.",
        ),
        (
            "The little {plant} began to droop.",
            "Day after day, the {plant} looked more and more tired.",
        ),
        (
            "The well was far away, and {name} could not carry the water alone.",
            "{name} tried to carry water from the river, but the {vessel} was too heavy.",
        ),
        MEETING,
        (
            '"My {plant} need water," said {name}.',
            '"Without water, my {plant} will not grow," said {name}.',
        ),
        (
            '"I am strong," said {friend}. "I will help you carry the {vessel}."',
            '"We can carry the {vessel} together," said {friend}.',
        ),
        (
            "Every morning and every evening, they gave the garden water.",
            "So they walked to the water and back, ten times a day.",
        ),
        (
            "Soon the {plant} stood tall in the sun.",
            "After two weeks, the garden was full of {plant}.",
        ),
        THANKS,
        (
            "{name} learned that hard work is easy with a friend.",
            "{name} and {friend} had a party in the garden.",
            "From that day on, it was their garden.",
        ),
    ),
)

BUILDING = Plot(
    slots={
        "thing": ("tree house", "boat", "sled", "bird house", "wagon"),
        "part": ("wood", "nails", "rope", "paint"),
    },
    friend_kinds=("beaver", "bear", "rabbit", "dog"),
    beats=(
        (
            "One day, {name} wanted to build a {thing}.",
            "One morning, {name} had an idea. {He} wanted to build a {thing}.",
        ),
        (
            "{He} worked all morning, but the {thing} fell apart.",
            "{He} tried all alone, but it was too hard.",
        ),
        (
            "Then {he} saw that there was no {part} left.",
            "And then {he} ran out of {part}.",
        ),
        WORRY,
        MEETING,
        QUESTION,
        (
            '"I want to build a {thing}, but I have no {part}," said {name}.',
            '"I need more {part} for my {thing}," said {name}.',
        ),
        (
            '"I have a lot of {part} at home," said {friend}. "Let us build it together."',
            '"You can have my {part}," said {friend}. "And I can help you."',
        ),
        (
            "They worked side by side, and by the evening the {thing} was ready.",
            "They sang while they worked, and soon the {thing} was done.",
        ),
        (
            "It was the best {thing} in the whole world.",
            "It was a very fine {thing}, strong and pretty.",
        ),
        (
            "{name} learned that two can do more than one.",
            "From that day on, {name} and {friend} built many things together.",
            '"This is our {thing} now," said {name}, and {friend} smiled.',
        ),
    ),
)

SHY_NEWCOMER = Plot(
    slots={
        "game": ("hide and seek", "tag", "football", "a guessing game"),
        "snack": ("apple", "cookie", "pear", "sandwich"),
    },
    beats=(
        (
            "{name} was new in town and did not have any friends yet.",
            "{name} wanted to make a friend, but {he} was very shy.",
        ),
        (
            "Every day, {he} saw the others play {game} in the park.",
            "In the park, the others played {game}, but {name} only watched.",
        ),
        (
            '"What if they do not like me?" thought {name}.',
            "{He} wanted to ask if {he} could play, but no words came out.",
        ),
        (
            "One day, {he} saw a {friend_kind} sitting all alone on a bench.",
            "Then {he} saw a {friend_kind} who was all alone, too.",
        ),
        (
            "{name} took a deep breath and walked over.",
            "{name} was scared, but {he} walked over.",
        ),
        (
            '"Hello, I am {name}. Would you like half of my {snack}?"',
            '"My name is {name}," {he} said. "Do you want to share my {snack}?"',
        ),
        (
            '"Yes, please! I am {friend}," said the {friend_kind}.',
            '"Thank you! My name is {friend}," said the {friend_kind}.',
        ),
        (
            "They ate the {snack} and laughed and talked.",
            "They shared the {snack} and told each other funny stories.",
        ),
        (
            "Then they went to play {game} with the others, and it was so much fun.",
            "After that, they played {game} until it was time to go home.",
        ),
        (
            "{name} learned that a kind word can make a friend.",
            "From that day on, {name} and {friend} were best friends.",
            "{name} was not shy anymore.",
        ),
    ),
)

BABY_BIRD = Plot(
    slots={
        "spot": ("under a bush", "in the grass", "by the path", "near the fence"),
        "aid": ("ladder", "long rope", "big basket"),
    },
    friend_kinds=("squirrel", "monkey", "goat", "bear"),
    beats=(
        (
            "One day, {name} heard a soft sound. It was a baby bird {spot}.",
            "One morning, {name} found a baby bird {spot}.",
        ),
        (
            "The baby bird had fallen out of its nest.",
            '"I want my mother," said the baby bird.',
        ),
        (
            "{name} wanted to take it home, but the nest was very high up.",
            "{name} looked up and saw the nest, but it was too high for {him}.",
        ),
        (
            "So {he} ran to get {his} friend {friend}, a clever {friend_kind}.",
            "So {he} called {his} friend {friend} the {friend_kind}.",
        ),
        (
            '"Please help me," said {name}. "The baby bird must go back to its nest."',
            '"How can we get the bird back to its nest?" asked {name}.',
        ),
        (
            '"We can use my {aid}," said {friend}.',
            '"I have an idea," said {friend}, and {friend_he} came back with a {aid}.',
        ),
        (
            "Very slowly and very gently, they lifted the baby bird up to the nest.",
            "With the {aid}, they put the baby bird back in its nest.",
        ),
        (
            "The mother bird was so happy that she sang a song for them.",
            'The mother bird came back. "Thank you both!" she said.',
        ),
        (
            "After that, the birds sang for {name} and {friend} every morning.",
            "{name} and {friend} waved to the birds and went home.",
        ),
        (
            "{name} learned that even a small friend can need big help.",
            "It felt good to be kind.",
            "{name} was very proud of what they had done.",
        ),
    ),
)

BROKEN_TREASURE = Plot(
    slots={
        "object": ("blue cup", "white plate", "little clock", "toy boat", "music box"),
    },
    friend_kinds=("cat", "dog", "rabbit", "mouse"),
    beats=(
        (
            "One rainy day, {name} was playing inside the house of {his} friend {friend}, a {friend_kind}.",
            "One day, {name} went to visit {friend}, a {friend_kind} who was {his} friend.",
        ),
        (
            "{name} ran around the table and bumped into it. The {object} fell down and broke.",
            "{name} threw a ball, and it hit the {object}. The {object} fell down and broke.",
        ),
        (
            "It was the {object} that {friend} loved the most.",
            "{friend} was in the garden and did not see it.",
        ),
        (
            '"What should I do?" thought {name}. {He} wanted to hide.',
            "{name} was scared. {He} wanted to run away.",
        ),
        (
            "But {he} knew that it was best to tell the truth.",
            "But {he} was brave and went to find {friend}.",
        ),
        (
            '"I broke your {object}," said {name}. "I am very sorry."',
            '"I am sorry, {friend}," said {name}. "I broke your {object}."',
        ),
        (
            "{friend} was sad at first, but then {friend_he} smiled.",
            "{friend} was quiet for a moment.",
        ),
        (
            '"Thank you for telling me the truth," said {friend}. "We can fix it."',
            '"It was brave of you to tell me," said {friend}. "Let us fix it together."',
        ),
        (
            "They found some glue and put all the pieces back together.",
            "They worked all afternoon, and the {object} looked nearly new.",
        ),
        (
            "{name} learned that it is always good to tell the truth.",
            "{name} felt light and happy again.",
            "From that day on, {name} was more careful.",
        ),
    ),
)

STRANGE_NOISE = Plot(
    slots={
        "place": ("under the bed", "behind the door", "in the kitchen", "in the attic"),
        "sound": ("scratch, scratch", "tap, tap", "squeak, squeak"),
    },
    friend_kinds=("kitten", "puppy", "mouse", "hedgehog"),
    beats=(
        (
            "One night, {name} was in bed and could not sleep.",
            "One dark night, {name} woke up.",
        ),
        (
            "There was a noise {place}. It went {sound}.",
            "{He} heard something {place}. It went {sound}.",
        ),
        (
            '"Is it a monster?" thought {name}.',
            "{name} was scared and hid under the blanket.",
        ),
        (
            "But {he} wanted to be brave, so {he} took a lamp and went to look.",
            "Then {he} took a deep breath, got up, and turned on the light.",
        ),
        (
            "And what did {he} see? It was not a monster. It was only a little {friend_kind}!",
            "It was not a monster at all. It was a tiny {friend_kind}!",
        ),
        (
            '"Hello," said the {friend_kind}. "I am {friend}. I am cold and hungry."',
            '"Please do not be afraid," said the {friend_kind}. "My name is {friend}, and I am lost."',
        ),
        (
            '"Oh, you poor thing," said {name}. "You can stay here with me."',
            '"I was afraid of you," said {name}, "but you are so small!" They both laughed.',
        ),
        (
            "{name} gave {friend} some warm milk and a soft blanket.",
            "{name} gave {friend} some bread and cheese.",
        ),
        (
            "Then they both fell asleep.",
            "Soon {friend} was warm and fell asleep next to {him}.",
        ),
        (
            "{name} was never afraid of the dark again.",
            "{name} learned that scary things can be small and kind.",
            "From that day on, {name} and {friend} were best friends.",
        ),
    ),
)

BIG_RACE = Plot(
    slots={
        "prize": ("golden cup", "blue ribbon", "big cake", "shiny star"),
        "season": ("spring", "summer", "winter"),
    },
    friend_kinds=("rabbit", "turtle", "dog", "deer", "duck"),
    beats=(
        (
            "Every {season}, there was a big race, and {name} wanted to win the {prize}.",
            "One {season} day, there was a race. The winner would get a {prize}.",
        ),
        (
            "{name} was very fast, and soon {he} was in front of everyone.",
            "{name} ran as fast as the wind, and {he} was nearly there.",
        ),
        (
            "Then {he} heard a cry. A {friend_kind} named {friend} had fallen down.",
            "But next to the road, {he} saw a {friend_kind} named {friend} who had hurt {friend_his} leg.",
        ),
        (
            "{name} looked at the finish line. Then {he} looked at {friend}.",
            '"If I stop now, I will not win," thought {name}.',
        ),
        (
            "{name} turned around and ran back to help.",
            "But {he} stopped and went to help.",
        ),
        (
            '"Lean on me," said {name}. "We will finish together."',
            '"Do not worry," said {name}. "I will not leave you here."',
        ),
        (
            "Slowly, they walked to the finish line, and they were the last ones to get there.",
            "Step by step, they came to the finish line, after all the others.",
        ),
        (
            "But everyone clapped and cheered for them.",
            "Everyone stood up and cheered.",
        ),
        (
            'The winner gave the {prize} to {name}. "You have the biggest heart," she said.',
            '"You did not win the {prize}," said {friend}, "but you won a friend."',
        ),
        (
            "{name} learned that being kind is better than being first.",
            "{name} was happier than ever before.",
            "From that day on, {name} and {friend} always ran together.",
        ),
    ),
)

LAST_PIECE = Plot(
    slots={
        "treat": ("apple pie", "honey cake", "bowl of soup", "loaf of bread"),
        "weather": ("cold and snowy", "dark and rainy", "cold and windy"),
    },
    beats=(
        (
            "One day, {name} made a {treat} for dinner.",
            "One evening, {name} sat down to eat a warm {treat}.",
        ),
        (
            "Outside, it was {weather}.",
            "It was {weather} that night.",
        ),
        (
            "Then there was a knock at the door. It was a {friend_kind} named {friend}.",
            "Knock, knock! A {friend_kind} named {friend} stood at the door.",
        ),
        (
            '"I am so cold and hungry," said {friend}. "May I come in?"',
            '"I have walked all day," said {friend}. "Do you have something to eat?"',
        ),
        (
            "{name} looked at the {treat}. It was very small, and {he} was hungry, too.",
            "{name} only had one {treat}, and {he} had wanted it all day.",
        ),
        (
            '"Come in," said {name}. "We can share it."',
            "But {he} opened the door wide and gave {friend} the best chair.",
        ),
        (
            "They sat by the fire and ate the {treat} together.",
            "{name} gave half of the {treat} to {friend}, and they ate by the fire.",
        ),
        (
            "It was funny, but half of it tasted better than all of it.",
            '"This is the best {treat} I ever had," said {friend}.',
        ),
        (
            "The next day, {friend} came back with a basket full of good food.",
            "One week later, {friend} came back with a big {treat} for {name}.",
        ),
        (
            "{name} learned that sharing makes everyone happy.",
            "From that day on, they had dinner together every week.",
            "{name} and {friend} were friends forever.",
        ),
    ),
)

TREASURE_BOX = Plot(
    slots={
        "finding": ("old map", "old letter"),
        "where": ("in the sand", "in a bottle", "under a stone", "in an old book"),
        "landmark": ("the big rock", "the tall tree", "the waterfall", "the lighthouse"),
    },
    friend_kinds=("mouse", "dog", "badger", "rabbit"),
    beats=(
        (
            "One day, {name} found an {finding} {where}.",
            "One summer day, {name} found something {where}. It was an {finding}!",
        ),
        (
            "It said that there was a treasure near {landmark}.",
            '"There is a treasure near {landmark}!" said {name}.',
        ),
        (
            "{He} ran to {landmark} and looked and looked, but there was no treasure.",
            "{He} went to {landmark}, but the ground was too hard to dig.",
        ),
        WORRY,
        MEETING,
        (
            '"I am looking for a treasure," said {name}. "But I cannot find it."',
            '"Will you help me find the treasure?" asked {name}.',
        ),
        (
            '"I am very good at digging," said {friend}.',
            '"I love to dig," said {friend}. "Let me help you."',
        ),
        (
            "They dug a deep hole, and at last they found a small box.",
            "{friend} dug and dug until there was a small box in the ground.",
        ),
        (
            "Inside the box was a note. It said: a friend who helps you is the best treasure.",
            "In the box, there were two golden rings, one for each of them.",
        ),
        (
            "{name} looked at {friend} and smiled.",
            "They laughed and danced around {landmark}.",
        ),
        (
            "{name} and {friend} went on many more adventures together.",
            "From that day on, {name} and {friend} were best friends.",
        ),
    ),
)

SAND_CASTLE = Plot(
    slots={
        "tower": ("tall towers", "a big gate", "many small windows"),
        "decoration": ("shells", "stones", "feathers", "leaves"),
    },
    friend_kinds=("crab", "turtle", "penguin", "dog", "seal"),
    beats=(
        (
            "One day, {name} went to the beach to build a sand castle.",
            "One hot summer day, {name} built a sand castle on the beach.",
        ),
        (
            "It had {tower} and was covered with {decoration}.",
            "{He} gave it {tower} and put {decoration} on top.",
        ),
        (
            "But then a big wave came and washed the castle away.",
            "But the sea came closer and closer, and a wave took the castle away.",
        ),
        (
            '"My castle is gone!" said {name}.',
            "{name} looked at the flat sand and began to cry.",
        ),
        MEETING,
        (
            '"You built it too close to the water," said {friend}. "Let us try again."',
            '"The sea is only playing," said {friend}. "I know a better place."',
        ),
        (
            "They went farther up the beach, where the sand was dry.",
            "So they found a good place, far away from the waves.",
        ),
        (
            "They dug and built until they had an even bigger castle.",
            "{name} made the walls, and {friend} brought {decoration} from the beach.",
        ),
        (
            "A wave came, but it could not reach the new castle.",
            "The waves came and went, but the castle stood strong.",
        ),
        (
            "{name} learned that you can always start again.",
            "That evening, they sat by their castle and watched the sun go down.",
            "From that day on, {name} and {friend} built a new castle every summer.",
        ),
    ),
)

PLOTS: tuple[Plot, ...] = (
    TOY_IN_A_TREE,
    CROSSING_THE_RIVER,
    BIRTHDAY_CAKE,
    LEARNING_A_SKILL,
    LOST_IN_THE_FOREST,
    CLOUDY_NIGHT,
    DRY_GARDEN,
    BUILDING,
    SHY_NEWCOMER,
    BABY_BIRD,
    BROKEN_TREASURE,
    STRANGE_NOISE,
    BIG_RACE,
    LAST_PIECE,
    TREASURE_BOX,
    SAND_CASTLE,
)
