"""What clients of each surface are told to do about an error."""

import pytest

from modelyard.errors import (
    ClusterOff,
    DeadlineExceeded,
    ForeignPage,
    InvalidRequest,
    ModelRefused,
    ModelyardError,
    NoCapacity,
    NotFound,
    Overloaded,
    PaymentRequired,
    QueueFull,
    QuotaExceeded,
    Unauthorized,
    UnknownCluster,
    UnknownModel,
    all_errors,
)
from modelyard.gateway.remedies import OPERATOR, V1, V2, Remedies, find_remedy, sentence
from modelyard.http.exchange import too_large

CASES: list[tuple[ModelyardError, str, str]] = [
    (UnknownCluster("You have no cluster of a/b.", model="a/b"), "POST /model/load", "PUT /models/v2/a/b"),
    (ClusterOff("The cluster of a/b is off.", cause="off", model="a/b"), "/models/v2", 'PATCH {"status": "on"}'),
    (ClusterOff("Nothing may run.", cause="max", model="a/b"), "POST /model/load", 'PATCH {"capacity": {"max": 1}}'),
    (QueueFull("3 requests wait.", retry_after_s=1.0), "concurrency", "capacity.max"),
    (NoCapacity("a/b needs 3 GB.", cause="machine"), "raise --memory-gb", "raise --memory-gb"),
    (NoCapacity("a/b needs 3 GB.", cause="device"), "a smaller model", "a smaller model"),
    (NoCapacity("a/b needs 3 GB.", cause="account memory"), "NAME --max-memory-gb", "NAME --max-memory-gb"),
    (NoCapacity("a/b cannot start.", cause="account instances"), "--max-instances N", "--max-instances N"),
    (InvalidRequest("Not public.", cause="unreachable host"), "--allow-private-media", "--allow-private-media"),
    (too_large(9, 5), "--max-body-mb", "--max-body-mb"),
    (PaymentRequired("ada has spent all.", cause="credit"), "adds credit", "`modelyard accounts credit`"),
    (PaymentRequired("ada has spent all.", cause="monthly limit"), "until the month is over", "accounts set"),
    (Unauthorized(), "Authorization: Key", "`modelyard keys create NAME`"),
    (Unauthorized("Not known.", cause="unknown key"), "makes one that is", "`modelyard keys create NAME`"),
    (Unauthorized("It has ended.", cause="session"), "Sign in again.", "Sign in again."),
    (ForeignPage(), "Send an API key", "Send an API key"),
    (UnknownModel("a/b.onnx was not made.", cause="variant", model="a/b.onnx"), "/model/job", "/request/a/b.onnx"),
    (ModelRefused("a/b has pickle files.", cause="unsafe", model="a/b"), "--allow-unsafe a/b", "--allow-unsafe a/b"),
    (Overloaded(retry_after_s=1.0), "Try again shortly", "Try again shortly"),
    (DeadlineExceeded("It waited.", cause="waiting"), "modelyard events", "x-request-timeout"),
    (DeadlineExceeded("No replica became free.", cause="queue"), "modelyard events", "?events=10"),
    (QuotaExceeded("Too many.", cause="models", limit=3), "POST /model/delete", "DELETE /models/v2/org/model"),
]


@pytest.mark.parametrize(("error", "v1", "v2"), CASES, ids=lambda value: type(value).__name__)
def test_each_surface_names_its_own_calls(error: ModelyardError, v1: str, v2: str) -> None:
    assert sentence(error, V1).startswith(error.message.rstrip("."))
    assert v1 in sentence(error, V1)
    assert v2 in sentence(error, V2)


def test_an_error_without_a_remedy_says_what_is_wrong() -> None:
    assert sentence(NotFound("No such thing."), V2) == "No such thing."


def test_a_cause_that_no_table_knows_has_the_remedy_of_its_class_or_none() -> None:
    assert find_remedy(ClusterOff("It is gone.", cause="removed"), V2) is None
    assert find_remedy(QueueFull("Full.", cause="some", retry_after_s=1.0), V2) == V2[QueueFull, None]


@pytest.mark.parametrize("table", [OPERATOR, V1, V2])
def test_every_remedy_can_be_said_of_an_error_without_data(table: Remedies) -> None:
    for kind, cause in table:
        assert kind in set(all_errors())
        error = kind.__new__(kind)
        ModelyardError.__init__(error, "Wrong.", cause=cause)
        assert sentence(error, table).startswith("Wrong. ")
