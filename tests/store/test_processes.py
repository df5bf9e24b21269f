"""What must hold when several processes, or threads, use one store at the same moment, or die in it."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from modelyard.records.accounts import Account
from modelyard.records.clusters import Capacity
from modelyard.store import Store
from tests.store.program import Program, run_together
from tests.store.samples import CAPACITY, MODEL, at, life, line


def test_processes_may_open_a_new_store_at_once(empty_url: str, processes: list[Program]) -> None:
    assert run_together(processes, empty_url, "nothing") == ["opened"] * 3

    with Store.open(empty_url) as store:
        assert store.accounts.list() == []


def test_processes_ensure_one_account_and_one_key(url: str, processes: list[Program]) -> None:
    answers = run_together(processes, url, "ensure_account", "ada")

    assert answers[0] == answers[1] == answers[2]


def test_one_process_makes_the_cluster(store: Store, account: Account, url: str, processes: list[Program]) -> None:
    made = run_together(processes, url, "put_cluster", account.id, MODEL)

    assert sorted(made) == [False, False, True]
    assert len(store.clusters.list()) == 1


def test_processes_counting_at_once_lose_nothing(
    store: Store, account: Account, url: str, processes: list[Program]
) -> None:
    ids = [store.clusters.put(account.id, f"org/{n}", CAPACITY, 60, at(0))[0].id for n in range(3)]

    run_together(processes, url, "count_inferences", ids, 40)

    assert [store.clusters.get(id_).inferences for id_ in ids] == [120, 120, 120]


def test_who_asks_what_changed_misses_no_cluster_that_is_made_meanwhile(
    store: Store, account: Account, url: str, processes: list[Program]
) -> None:
    seen: set[str] = set()
    version = 0

    def read_on() -> None:
        nonlocal version
        if (news := store.clusters.find_changed(version)) is not None:
            version = news.version
            seen.update(cluster.id for cluster in news.changed)

    with ThreadPoolExecutor() as thread:
        writing = thread.submit(run_together, processes, url, "put_clusters", account.id, 40)
        while not writing.done():
            read_on()
    read_on()

    assert seen == {id_ for each in writing.result() for id_ in each}
    assert len(seen) == 120


def test_a_reader_misses_no_line_that_is_written_meanwhile(
    store: Store, account: Account, url: str, processes: list[Program]
) -> None:
    seen: list[int] = []

    def read_on() -> None:
        new = store.events.list(account.id, after_id=seen[-1] if seen else 0, limit=1000)
        seen.extend(event.id or 0 for event in new)

    with ThreadPoolExecutor() as thread:
        writing = thread.submit(run_together, processes, url, "write_events", account.id, 30, 3)
        while not writing.done():
            read_on()
    read_on()

    assert seen == [event.id for event in store.events.list(account.id, limit=1000)]
    assert len(seen) == 270


def test_processes_learning_of_one_model_lose_no_fact(store: Store, url: str, processes: list[Program]) -> None:
    names = run_together(processes, url, "learn_facts", MODEL, 20)

    found = store.models.find(MODEL)
    assert found is not None
    assert found.facts == dict.fromkeys(chain.from_iterable(names), True)


def test_threads_share_a_store(store: Store, account: Account) -> None:
    cluster, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(0))
    lives = [life(account, n) for n in range(48)]

    def live(number: int) -> bool:
        instance = lives[number]
        store.instances.open(instance)
        store.instances.heartbeat([other.id for other in lives], at(100))
        store.clusters.add_inferences({cluster.id: (1, at(number))})
        store.clusters.update(cluster.id, capacity=Capacity(0, 1, 1 + number), now=at(number))
        store.events.add([line(account, str(number))])
        return store.instances.end(instance.id, at(200), "idle") and not store.instances.end(instance.id, at(1), "")

    with ThreadPoolExecutor(max_workers=12) as threads:
        assert all(threads.map(live, range(48)))

    after = store.clusters.get(cluster.id)
    assert (after.inferences, after.last_inference_at) == (48, at(47))
    assert {instance.ended_at for instance in store.instances.list(account.id)} == {at(200)}
    assert {event.message for event in store.events.list(account.id)} == {str(n) for n in range(48)}


def test_a_killed_process_loses_nothing_it_had_committed(store: Store, account: Account, url: str) -> None:
    ids = [store.clusters.put(account.id, f"org/{n}", CAPACITY, 60, at(0))[0].id for n in range(2)]
    with Program() as program:
        program.start(url, "write_until_killed", account.id, ids)
        said = [program.result() for _ in range(40)]
        said += program.kill()

    with Store.open(url) as reopened:
        written = [int(event.message) for event in reopened.events.list(account.id, limit=100_000)]
        counted = [reopened.clusters.get(id_).inferences for id_ in ids]
        reopened.clusters.put(account.id, "org/afterwards", CAPACITY, 60, at(1))

    # Each round commits the counts, then the line, then says its number: it may have died between any two.
    assert said == list(range(1, len(said) + 1))
    assert written == list(range(1, len(written) + 1))
    assert len(said) <= len(written) <= len(said) + 1
    assert counted[0] == counted[1]
    assert len(written) <= counted[0] <= len(written) + 1
