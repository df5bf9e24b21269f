"""Back-off and crash budget."""

from modelyard.control.failures import Failures, GiveUp, Retry
from modelyard.control.policy import Policy

POLICY = Policy()


def boot(failures: Failures, now: float = 0.0, *, permanent: bool = False) -> Retry | GiveUp:
    return failures.add(now, POLICY, was_ready=False, permanent=permanent)


def crash(failures: Failures, now: float) -> Retry | GiveUp:
    return failures.add(now, POLICY, was_ready=True, permanent=False)


def test_failed_boots_are_tried_again_later_and_later_and_then_no_more() -> None:
    failures = Failures()
    assert [boot(failures) for _ in range(3)] == [Retry(0.5), Retry(1.0), GiveUp("did not start (3 tries)")]


def test_the_back_off_has_an_upper_end() -> None:
    failures, patient = Failures(), Policy(max_failed_boots=100, max_crashes=100)
    delays = [failures.add(0.0, patient, was_ready=False, permanent=False) for _ in range(20)]
    assert delays[5] == Retry(16.0)
    assert set(delays[6:]) == {Retry(30.0)}


def test_a_model_that_can_never_be_loaded_is_tried_once() -> None:
    assert boot(Failures(), permanent=True) == GiveUp("did not start")


def test_a_success_makes_the_next_failed_boot_the_first() -> None:
    failures = Failures()
    boot(failures)
    boot(failures)
    failures.boot_succeeded()
    assert boot(failures) == Retry(0.5)


def test_a_replica_that_served_is_replaced_at_once_until_the_budget_is_spent() -> None:
    failures = Failures()
    assert [crash(failures, float(n)) for n in range(5)] == [Retry(0.0)] * 5
    assert crash(failures, 5.0) == GiveUp("crashed 6 times within 10 minutes, last")


def test_old_crashes_leave_the_budget() -> None:
    failures = Failures()
    assert {crash(failures, 130.0 * n) for n in range(50)} == {Retry(0.0)}


def test_bygones_are_bygones() -> None:
    failures = Failures()
    for n in range(5):
        crash(failures, float(n))
    boot(failures)
    failures.clear()
    assert crash(failures, 5.0) == Retry(0.0)
    assert boot(failures) == Retry(0.5)
