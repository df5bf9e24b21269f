import time

from modelyard.catalog.nearest import nearest_names

KNOWN = ["openai-community/gpt2", "openai-community/gpt2-medium", "google/flan-t5-base", "facebook/bart-large"]


def test_a_slip_of_the_finger_is_forgiven() -> None:
    assert nearest_names("openai-comunity/gpt2", KNOWN)[0] == "openai-community/gpt2"
    assert nearest_names("google/flan-t5-bsae", KNOWN) == ["google/flan-t5-base"]


def test_the_right_name_under_the_wrong_organisation_is_found() -> None:
    assert nearest_names("meta/bart-large", KNOWN) == ["facebook/bart-large"]


def test_case_does_not_matter() -> None:
    assert nearest_names("OpenAI-Community/GPT2", KNOWN)[0] == "openai-community/gpt2"


def test_nothing_near_gives_nothing() -> None:
    assert nearest_names("zzz/qqq", KNOWN) == []
    assert nearest_names("a/b", []) == []


def test_never_more_than_asked_for() -> None:
    assert len(nearest_names("acme/model", [f"acme/model{number}" for number in range(100)], limit=2)) == 2


def test_a_hundred_thousand_names_are_searched_quickly() -> None:
    known = [f"organisation-{number % 997}/some-model-name-{number}" for number in range(100_000)]

    started = time.process_time()
    near = nearest_names("organisation-12/some-modle-name-54321", known)

    assert near
    assert time.process_time() - started < 2.0
