"""The operator's rules about aliases, and the copy of them that every request asks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from modelyard.accounts.administration import Administration
from modelyard.accounts.aliases import MOST_ALIASES, Aliases
from modelyard.errors import InvalidRequest, QuotaExceeded, StoreUnavailable, UnknownAccount, UnknownAlias
from modelyard.records.aliases import check_alias_name
from modelyard.records.clusters import Capacity, Changes
from modelyard.records.models import Listing, Source
from modelyard.store.store import Store
from modelyard.store.tables import aliases
from tests.clock import HandClock

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def administration(store: Store, clock: HandClock) -> Administration:
    made = Administration(store, clock)
    made.create_account("ada")
    return made


@pytest.mark.parametrize("name", ["gpt-4o-mini", "acme/assistant", "llama3:8b", "ft:gpt-4o:acme::1", "o1", "_"])
def test_a_name_is_one_word_as_clients_send_it_or_org_and_name(administration: Administration, name: str) -> None:
    made = administration.set_alias(name, MODEL, "ada")
    assert (made.alias.name, made.alias.model_id, made.account_name) == (name, MODEL, "ada")
    assert administration.list_aliases("ada") == administration.list_aliases() == [made]


HOSTILE = [
    "", " ", "a b", "a/b/c", "/a", "a/", "../etc", "a/..", "-rm", "a\0b", "a\n", "é", "\ud800", "a" * 97,
    "org/name:Q4_K_M", "a%2Fb", "<b>", "'; DROP TABLE aliases; --", "a\u202eb", "a--b/c",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_other_names_are_refused(administration: Administration, name: str) -> None:
    with pytest.raises(InvalidRequest, match="name: got"):
        administration.set_alias(name, MODEL, "ada")
    assert administration.list_aliases() == []


@given(st.text())
def test_a_name_that_is_taken_has_neither_spaces_nor_signs_of_other_lines(name: str) -> None:
    try:
        check_alias_name(name)
    except InvalidRequest:
        return
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set(" \"'<>\\%?#&")


@pytest.mark.parametrize("model", ["openai/gpt-4o", "openrouter/meta-llama/llama-3.1-8b", "org/name:Q4_K_M"])
def test_an_alias_may_stand_for_a_providers_model_and_for_a_file(administration: Administration, model: str) -> None:
    assert administration.set_alias("mine", model, "ada").alias.model_id == model


@pytest.mark.parametrize("model", ["gpt-4o", "", "a/b/c", "../x/y", "openai/", "openrouter/../x"])
def test_an_alias_stands_for_a_model(administration: Administration, model: str) -> None:
    with pytest.raises(InvalidRequest, match="model: got"):
        administration.set_alias("mine", model, "ada")


def test_no_alias_leads_to_another(administration: Administration) -> None:
    administration.set_alias("acme/a", MODEL, "ada")
    with pytest.raises(InvalidRequest, match="acme/a is itself an alias"):
        administration.set_alias("acme/b", "acme/a", "ada")
    administration.set_alias("acme/b", "acme/c", "ada")
    with pytest.raises(InvalidRequest, match="no name that an alias leads to, as acme/b does"):
        administration.set_alias("acme/c", MODEL, "ada")
    with pytest.raises(InvalidRequest, match="another name than the model's own"):
        administration.set_alias("acme/d", "acme/d", "ada")
    administration.create_account("bob")
    administration.set_alias("acme/c", MODEL, "bob")
    assert len(administration.list_aliases()) == 3


def test_no_alias_hides_a_model_that_is_known(administration: Administration, store: Store, clock: HandClock) -> None:
    store.models.put([Listing("Acme/Model", Source.FOLDER, clock.now())])
    for name in ("Acme/Model", "acme/model"):
        with pytest.raises(InvalidRequest, match="a name that no model has; Acme/Model is one"):
            administration.set_alias(name, MODEL, "ada")


@pytest.mark.parametrize("name", ["openai/gpt-4o", "Anthropic/claude", "openrouter/x"])
def test_no_alias_begins_with_the_name_of_a_provider(administration: Administration, name: str) -> None:
    with pytest.raises(InvalidRequest, match="does not begin with a provider's, such as"):
        administration.set_alias(name, MODEL, "ada")


def test_a_task_must_be_one_and_a_capacity_in_order(administration: Administration) -> None:
    with pytest.raises(InvalidRequest, match="task: got 'chatting'"):
        administration.set_alias("mine", MODEL, "ada", task="chatting")
    for asked, field in (
        (Changes(min=2), "capacity.min"),
        (Changes(max=-1), "capacity.max"),
        (Changes(max=1001), "1000"),
    ):
        with pytest.raises(InvalidRequest, match=field):
            administration.set_alias("mine", MODEL, "ada", capacity=asked)
    made = administration.set_alias("mine", MODEL, "ada", task="chat", capacity=Changes(max=4))
    assert (made.alias.task, made.alias.capacity) == ("chat", Capacity(0, 1, 4))


def test_what_is_not_there_is_named(administration: Administration) -> None:
    with pytest.raises(UnknownAccount):
        administration.set_alias("mine", MODEL, "carl")
    with pytest.raises(UnknownAlias, match="ada has no alias mine"):
        administration.remove_alias("mine", "ada")


def test_an_account_has_only_so_many(administration: Administration, store: Store, clock: HandClock) -> None:
    ada, now = administration.get_account("ada"), clock.now()
    made = {"account_id": ada.id, "model_id": MODEL, "created_at": now, "modified_at": now}
    with store._database.write() as connection:  # each by its own call would read all that are there
        connection.execute(insert(aliases), [{**made, "name": f"name-{number}"} for number in range(MOST_ALIASES)])
    with pytest.raises(QuotaExceeded, match=str(MOST_ALIASES)):
        administration.set_alias("one-more", MODEL, "ada")
    administration.set_alias("name-7", "other/model", "ada")


def test_the_copy_follows_whoever_changes_an_alias(administration: Administration, store: Store) -> None:
    ada = administration.get_account("ada").id
    aliases = Aliases(store.aliases)
    administration.set_alias("mine", MODEL, "ada", capacity=Changes(max=2))
    assert aliases.find(ada, "mine") is None
    aliases.read()
    assert aliases.model_of(ada, "mine") == MODEL
    assert aliases.capacity_of(ada, "mine") == Capacity(0, 1, 2)
    assert aliases.model_of(ada, MODEL) == MODEL
    assert [alias.name for alias in aliases.of(ada)] == ["mine"]
    administration.remove_alias("mine", "ada")
    aliases.read()
    with pytest.raises(InvalidRequest, match="model: got 'mine'"):
        aliases.model_of(ada, "mine")
    assert aliases.capacity_of(ada, "mine") is None


def test_to_another_account_the_name_means_nothing(administration: Administration, store: Store) -> None:
    administration.set_alias("mine", MODEL, "ada")
    aliases = Aliases(store.aliases)
    aliases.read()
    assert aliases.find("acc_other", "mine") is None
    assert aliases.of("acc_other") == []


def test_what_has_not_changed_is_not_read_again(
    administration: Administration, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    administration.set_alias("mine", MODEL, "ada")
    aliases = Aliases(store.aliases)
    aliases.read()
    monkeypatch.setattr(store.aliases, "list", lambda: pytest.fail("all aliases were read"))
    aliases.read()


def test_of_a_database_that_takes_over_and_lacks_a_change_all_is_read_anew(
    administration: Administration, store: Store, own_database: Path
) -> None:
    ada, aliases = administration.get_account("ada").id, Aliases(store.aliases)
    with closing(sqlite3.connect(own_database)) as database, closing(sqlite3.connect(":memory:")) as behind:
        database.backup(behind)
        administration.set_alias("lost", MODEL, "ada")
        aliases.read()
        behind.backup(database)
    store._database._closed.set()
    with pytest.raises(StoreUnavailable):
        aliases.read()
    assert aliases.model_of(ada, "lost") == MODEL
    store._database._closed.clear()
    administration.set_alias("mine", MODEL, "ada")  # as many changes as were lost

    aliases.read()

    assert [alias.name for alias in aliases.of(ada)] == ["mine"]
