import pytest

from modelyard.errors import NotFound
from modelyard.records.accounts import Account
from modelyard.records.jobs import JobState
from modelyard.store import Store
from tests.store.program import Program, run_together
from tests.store.samples import MODEL, OTHER_SERVER, SERVER, at


def test_the_first_who_asks_queues_the_job(store: Store, account: Account) -> None:
    first, queued = store.jobs.ask(MODEL, account.id, at(1))
    second, queued_again = store.jobs.ask(MODEL, account.id, at(2))

    assert (queued, queued_again) == (True, False)
    assert first == second
    assert (first.state, first.attempts, first.started_at) == (JobState.QUEUED, 0, None)


def test_an_account_sees_the_jobs_it_asked_for(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    store.jobs.ask(MODEL, account.id, at(1))

    assert store.jobs.find(MODEL, other.id) is None
    assert store.jobs.list(other.id) == []

    store.jobs.ask(MODEL, other.id, at(2))

    assert store.jobs.find(MODEL, account.id) == store.jobs.find(MODEL)
    assert len(store.jobs.list(other.id)) == 1


def test_an_account_learns_nothing_of_when_others_asked(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    store.jobs.ask(MODEL, account.id, at(1))
    store.jobs.claim(SERVER, at(2))
    store.jobs.move(MODEL, JobState.FAILED, "no weights", at(3))
    store.jobs.ask(MODEL, account.id, at(4), again=True)
    store.jobs.claim(SERVER, at(5))

    asked, _ = store.jobs.ask(MODEL, other.id, at(6))
    assert (asked.created_at, asked.modified_at, asked.started_at, asked.attempts) == (at(6), at(6), None, 1)
    assert asked == store.jobs.find(MODEL, other.id) == store.jobs.list(other.id)[0]
    store.jobs.move(MODEL, JobState.DONE, "there", at(7))
    done = store.jobs.find(MODEL, other.id)
    assert done is not None
    assert (done.state, done.ended_at) == (JobState.DONE, at(7))

    late = store.accounts.create("late", at(8))
    seen, _ = store.jobs.ask(MODEL, late.id, at(9))
    assert (seen.created_at, seen.modified_at, seen.ended_at) == (at(9), at(9), at(9))


def test_a_stranger_cannot_ask(store: Store) -> None:
    with pytest.raises(NotFound):
        store.jobs.ask(MODEL, "acc_none", at(1))

    assert store.jobs.find(MODEL) is None


def test_jobs_are_claimed_in_the_order_they_came(store: Store, account: Account) -> None:
    for second, name in enumerate(("org/b", "org/a"), start=1):
        store.jobs.ask(name, account.id, at(second))

    claimed = [store.jobs.claim(SERVER, at(10)), store.jobs.claim(SERVER, at(11)), store.jobs.claim(SERVER, at(12))]

    assert [job and job.model_id for job in claimed] == ["org/b", "org/a", None]
    assert claimed[0] is not None
    assert (claimed[0].attempts, claimed[0].started_at) == (1, at(10))


def test_a_job_that_is_over_stays_so_until_somebody_asks_again(store: Store, account: Account) -> None:
    store.jobs.ask(MODEL, account.id, at(1))
    store.jobs.claim(SERVER, at(2))
    store.jobs.move(MODEL, JobState.FAILED, "no weights", at(3))

    store.jobs.move(MODEL, JobState.BENCHMARKING, "late news", at(4))
    kept, queued = store.jobs.ask(MODEL, account.id, at(5))

    assert (kept.state, kept.message, kept.ended_at, queued) == (JobState.FAILED, "no weights", at(3), False)

    again, queued = store.jobs.ask(MODEL, account.id, at(6), again=True)

    assert (again.state, again.ended_at, again.attempts, queued) == (JobState.QUEUED, None, 1, True)


def test_asking_again_leaves_a_job_under_way_alone(store: Store, account: Account) -> None:
    store.jobs.ask(MODEL, account.id, at(1))
    under_way = store.jobs.claim(SERVER, at(2))

    assert store.jobs.ask(MODEL, account.id, at(3), again=True) == (under_way, False)


def test_what_a_dead_server_was_at_comes_first(store: Store, account: Account) -> None:
    store.jobs.ask(MODEL, account.id, at(1))
    store.jobs.claim(SERVER, at(2))
    store.jobs.move(MODEL, JobState.BENCHMARKING, "measuring", at(5))
    store.jobs.ask("org/later", account.id, at(4))

    assert store.jobs.requeue_interrupted(SERVER) == 1

    job = store.jobs.claim(SERVER, at(7))
    assert job is not None
    assert (job.model_id, job.attempts) == (MODEL, 2)


def test_what_another_server_is_at_is_left_to_it(store: Store, account: Account) -> None:
    store.jobs.ask(MODEL, account.id, at(1))
    under_way = store.jobs.claim(OTHER_SERVER, at(2))

    assert store.jobs.requeue_interrupted(SERVER) == 0
    assert store.jobs.find(MODEL) == under_way
    assert store.jobs.requeue_interrupted(OTHER_SERVER) == 1


def test_the_one_server_queues_again_what_others_were_at(store: Store, account: Account) -> None:
    store.jobs.ask(MODEL, account.id, at(1))
    store.jobs.claim(OTHER_SERVER, at(2))

    assert store.jobs.requeue_those_of_others(OTHER_SERVER) == 0
    assert store.jobs.requeue_those_of_others(SERVER) == 1
    assert store.jobs.claim(SERVER, at(3)) is not None


def test_processes_share_the_queue(store: Store, account: Account, url: str, processes: list[Program]) -> None:
    names = [f"org/{number:02}" for number in range(20)]
    for name in names:
        store.jobs.ask(name, account.id, at(1))

    claimed = run_together(processes, url, "claim_jobs")

    assert sorted(name for each in claimed for name in each) == names


def test_accounts_take_turns_whoever_asked_for_more(store: Store, account: Account) -> None:
    other = store.accounts.create("bob", at(1))
    for number in range(4):
        store.jobs.ask(f"many/m{number}", account.id, at(number))
    store.jobs.ask("few/m", other.id, at(9))

    claimed = [store.jobs.claim("srv", at(20 + turn)) for turn in range(5)]

    assert [job and (job.model_id, job.account_id) for job in claimed] == [
        ("many/m0", account.id), ("few/m", other.id), ("many/m1", account.id), ("many/m2", account.id),
        ("many/m3", account.id),
    ]  # fmt: skip
    assert (store.jobs.count_open(account.id), store.jobs.count_open(other.id)) == (4, 1)
    store.jobs.move("few/m", JobState.DONE, "Available", at(30))
    assert store.jobs.count_open(other.id) == 0


def test_an_account_of_weight_3_gets_three_turns_for_one(store: Store, account: Account) -> None:
    other = store.accounts.create("bob", at(1))
    store.accounts.set_limits(other.id, weight=3)
    for number in range(8):
        store.jobs.ask(f"light/m{number}", account.id, at(number))
        store.jobs.ask(f"heavy/m{number}", other.id, at(number))

    claimed = [store.jobs.claim("srv", at(20 + turn)) for turn in range(9)]

    turns = [job.account_id == other.id for job in claimed if job is not None]
    assert len(turns) == 9
    assert sum(turns[1:]) == 6, "of eight, three of every four"


def test_every_change_has_another_number_and_a_look_has_none(store: Store, account: Account) -> None:
    numbers = [store.jobs.changes]
    store.jobs.ask(MODEL, account.id, at(1))
    numbers.append(store.jobs.changes)
    store.jobs.claim(SERVER, at(2))
    numbers.append(store.jobs.changes)
    store.jobs.move(MODEL, JobState.INSPECTING, "Looking at the model's files", at(3))
    numbers.append(store.jobs.changes)
    store.jobs.cancel(MODEL, "cancelled", at(4))
    numbers.append(store.jobs.changes)
    assert len(set(numbers)) == len(numbers)
    assert store.jobs.claim(SERVER, at(5)) is None
    store.jobs.list()
    assert store.jobs.changes == numbers[-1]
