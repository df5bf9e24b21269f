"""Writes reviews with their labels: sentences that praise, blame or only describe, and what they add up to."""

from random import Random

from .review_lexicon import (
    BLAMING_ADJECTIVES,
    BLAMING_FEELINGS,
    BLAMING_PREDICATES,
    BLAMING_SENTENCES,
    DOMAINS,
    FACT_SLOTS,
    HATE_AFTER_NOT,
    HATING_VERBS,
    LIKE_AFTER_NOT,
    LOVING_VERBS,
    LUKEWARM_ADJECTIVES,
    LUKEWARM_SENTENCES,
    OPEN_FACTS,
    PLAIN_FACTS,
    PRAISING_ADJECTIVES,
    PRAISING_FEELINGS,
    PRAISING_PREDICATES,
    PRAISING_SENTENCES,
    PRODUCTS,
    STRENGTHENERS,
    Domain,
    Words,
)  # fmt: skip

NEGATIVE, NEUTRAL, POSITIVE = 0, 1, 2
LABELS = {NEGATIVE: "negative", NEUTRAL: "neutral", POSITIVE: "positive"}

MOST_FACTS = 3
# Half of all opinions are one sentence long: negation is hard to learn where other sentences give the label away.
OPINION_LENGTHS = (1, 1, 2, 3)
FACT_SHARE = 0.25  # of the opinions that also come with a plain fact
THING_AS_SUBJECT_SHARE = 0.4  # of the facts that begin with "It"
# As many negated words as plain ones, so that "not" by itself says nothing.
NEGATION_SHARE = 0.5
STRENGTHENER_SHARE = 0.35
COMMA_SHARE = 0.3  # of the sentence pairs that are joined by a comma or "and"
NO_MARK_SHARE = 0.15
# Invented nouns teach the model that a word it does not know says nothing about the opinion.
INVENTED_NOUN_SHARE = 0.25
SYLLABLES = (
    "ba", "ro", "ti", "mel", "kan", "do", "su", "per", "lin", "ga", "ver", "co", "mi", "tor", "ex", "pla", "ne", "ch",
    "ing", "er", "ous", "ly", "sto", "fra", "wi", "ble", "qu", "ze", "hy", "unt", "ard", "s", "ed", "tion", "al",
    "mp",
)  # fmt: skip


def review(rng: Random) -> tuple[str, int]:
    """One review and its label."""
    label = rng.choice(list(LABELS))
    domain = rng.choice(DOMAINS)
    if label == NEUTRAL:
        sentences = _neutral_sentences(rng, domain)
    else:
        sentences = [_opinion(rng, domain, label) for _ in range(rng.choice(OPINION_LENGTHS))]
        if rng.random() < FACT_SHARE:
            sentences.insert(rng.randrange(len(sentences) + 1), _fact(rng, domain))
    return _joined(rng, sentences), label


def _neutral_sentences(rng: Random, domain: Domain) -> list[str]:
    """Plain facts, a lukewarm opinion, or praise and blame in one."""
    kind = rng.random()
    if kind < 0.5:
        return [_fact(rng, domain) for _ in range(rng.randint(1, MOST_FACTS))]
    if kind < 0.75:
        sentences = [_lukewarm(rng, domain)]
        if rng.random() < 0.3:
            sentences.append(_fact(rng, domain))
        return sentences
    return [_mixed(rng, domain)]


def _opinion(rng: Random, domain: Domain, label: int) -> str:
    """One sentence that praises or blames."""
    kind = rng.random()
    if kind < 0.12:
        return rng.choice(PRAISING_SENTENCES if label == POSITIVE else BLAMING_SENTENCES)
    if kind < 0.24:
        return rng.choice(domain.praising_events if label == POSITIVE else domain.blaming_events)
    if kind < 0.3:
        return _predicate(rng, domain, label)
    if kind < 0.37:
        return _feeling(rng, label)
    if kind < 0.5:
        return _liking(rng, domain, label)
    if kind < 0.6:
        return _exclamation(rng, domain, label)
    return f"{_judgement(rng, domain, label)}."


def _predicate(rng: Random, domain: Domain, label: int) -> str:
    """ "This phone never disappoints." and its opposites."""
    subject = f"{rng.choice(('This', 'The'))} {_noun(rng, domain.things)}" if rng.random() < 0.7 else "It"
    return f"{subject} {rng.choice(PRAISING_PREDICATES if label == POSITIVE else BLAMING_PREDICATES)}."


def _feeling(rng: Random, label: int) -> str:
    """ "I was never disappointed." and its opposites."""
    subject = rng.choice(("I was", "We were", "I am", "We are", "My wife was", "My husband was"))
    negated = rng.random() < NEGATION_SHARE
    felt = _opposite(label) if negated else label
    feeling = rng.choice(PRAISING_FEELINGS if felt == POSITIVE else BLAMING_FEELINGS)
    adverb = rng.choice(("never", "not")) if negated else rng.choice(("", "very", "really", "so"))
    return f"{subject} {adverb} {feeling}.".replace("  ", " ")


def _liking(rng: Random, domain: Domain, label: int) -> str:
    """ "I love this phone." and its opposites."""
    owner = rng.choice(("this", "the", "my", "my new") if domain is PRODUCTS else ("this", "the"))
    thing = f"{owner} {_noun(rng, domain.things)}"
    if rng.random() < 0.25:
        thing = "it"
    if rng.random() < NEGATION_SHARE:
        negation = rng.choice(("do not", "did not", "don't", "didn't"))
        verb = rng.choice(HATE_AFTER_NOT if label == POSITIVE else LIKE_AFTER_NOT)
        return f"I {negation} {verb} {thing}{rng.choice(('', ' at all'))}."
    who = rng.choice(("I", "I", "We", "I really", "I absolutely"))
    return f"{who} {rng.choice(LOVING_VERBS if label == POSITIVE else HATING_VERBS)} {thing}{rng.choice('.!')}"


def _exclamation(rng: Random, domain: Domain, label: int) -> str:
    """ "What a great phone!", "The best phone I have ever had." and the like."""
    thing = _noun(rng, domain.things)
    adjective = rng.choice(_simple_adjectives(domain, label))
    if rng.random() < NEGATION_SHARE:
        opposite = rng.choice(_simple_adjectives(domain, _opposite(label)))
        return rng.choice(
            (
                f"Not {_with_article(opposite)} {thing}.",
                f"Not {opposite} at all.",
                f"This is not {_with_article(opposite)} {thing}.",
            )
        )
    best = "best" if label == POSITIVE else "worst"
    return rng.choice(
        (
            f"What {_with_article(adjective)} {thing}!",
            f"{adjective.capitalize()} {thing}{rng.choice('.!')}",
            f"This is {_with_article(adjective)} {thing}.",
            f"This is a {rng.choice(('very', 'really'))} {adjective} {thing}.",
            f"The {best} {thing} I have ever {rng.choice(('had', 'seen', 'tried', 'bought'))}.",
            f"This is the {best} {thing} in the world.",
            f"{rng.choice(STRENGTHENERS).capitalize()} {adjective}{rng.choice('.!')}",
        )
    )


def _judgement(rng: Random, domain: Domain, label: int) -> str:
    """ "The screen is great", also as a negated opposite; without a full stop."""
    subject = f"{rng.choice(('The', 'The', 'The', 'Its', 'Their'))} {_noun(rng, domain.parts)}"
    if rng.random() < 0.3:
        subject = rng.choice(
            (f"This {_noun(rng, domain.things)}", f"The {_noun(rng, domain.things)}", "It", "Everything")
        )
    verb = rng.choice(("is", "was", "looks", "seems", "was", "is"))
    if rng.random() < NEGATION_SHARE:
        opposite = rng.choice(_all_adjectives(domain, _opposite(label)))
        if label == POSITIVE:
            negated = (
                "is not {}", "was not {}", "isn't {}", "wasn't {}", "is never {}", "was never {}", "is not {} at all",
                "was not {} at all", "is anything but {}", "was far from {}", "is by no means {}",
            )  # fmt: skip
        else:
            negated = (
                "is not {}", "was not {}", "isn't {}", "wasn't {}", "is never {}", "is not {} at all",
                "was not {} at all", "is anything but {}", "was far from {}", "is not very {}", "was not really {}",
                "is not as {} as they say",
            )  # fmt: skip
        return f"{subject} {rng.choice(negated).format(opposite)}"
    adjective = rng.choice(_all_adjectives(domain, label))
    strengthener = f"{rng.choice(STRENGTHENERS)} " if rng.random() < STRENGTHENER_SHARE else ""
    second = f" and {rng.choice(_all_adjectives(domain, label))}" if rng.random() < 0.2 else ""
    return f"{subject} {verb} {strengthener}{adjective}{second}"


def _mixed(rng: Random, domain: Domain) -> str:
    """Praise and blame in one sentence, in either order."""
    sides = [_judgement(rng, domain, POSITIVE), _judgement(rng, domain, NEGATIVE)]
    rng.shuffle(sides)
    return f"{sides[0]}{rng.choice((', but', ' but', '. However,'))} {_decapitalized(sides[1])}."


def _lukewarm(rng: Random, domain: Domain) -> str:
    if rng.random() < 0.4:
        return rng.choice(LUKEWARM_SENTENCES)
    subject = rng.choice((f"The {_noun(rng, domain.parts)}", f"This {_noun(rng, domain.things)}", "It", "Everything"))
    return f"{subject} {rng.choice(('is', 'was'))} {rng.choice(LUKEWARM_ADJECTIVES)}."


def _fact(rng: Random, domain: Domain) -> str:
    template = rng.choice(rng.choice((PLAIN_FACTS, OPEN_FACTS, domain.facts)))
    slots = {slot: rng.choice(words) for slot, words in FACT_SLOTS.items()}
    fact = template.format_map(slots | {"noun": _noun(rng, domain.things)})
    if fact.startswith("It ") and rng.random() < THING_AS_SUBJECT_SHARE:
        fact = f"{rng.choice(('The', 'This'))} {_noun(rng, domain.things)} {fact.removeprefix('It ')}"
    return fact


def _joined(rng: Random, sentences: list[str]) -> str:
    """The sentences as one text, some joined by a comma, some without a mark at the end."""
    text = sentences[0]
    for sentence in sentences[1:]:
        if rng.random() < COMMA_SHARE:
            text = f"{text.rstrip('.!')}{rng.choice((', ', ', and ', ' and '))}{_decapitalized(sentence)}"
        else:
            text = f"{text} {sentence}"
    return text.rstrip(".!") if rng.random() < NO_MARK_SHARE else text


def _decapitalized(sentence: str) -> str:
    return sentence if sentence.startswith("I ") else sentence[0].lower() + sentence[1:]


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' and not word.startswith('use') else 'a'} {word}"


def _noun(rng: Random, nouns: Words) -> str:
    if rng.random() < INVENTED_NOUN_SHARE:
        return "".join(rng.choices(SYLLABLES, k=rng.randint(2, 3)))
    return rng.choice(nouns)


def _opposite(label: int) -> int:
    return NEGATIVE if label == POSITIVE else POSITIVE


def _all_adjectives(domain: Domain, label: int) -> Words:
    return PRAISING_ADJECTIVES + domain.praising if label == POSITIVE else BLAMING_ADJECTIVES + domain.blaming


def _simple_adjectives(domain: Domain, label: int) -> Words:
    """Those that can stand before a noun."""
    return tuple(word for word in _all_adjectives(domain, label) if " " not in word)
