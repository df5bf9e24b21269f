"""What instances cost: a pure function of their recorded intervals, so that a bill can be computed again at any time.

Every cost is a difference of two readings of one meter that only goes up (`reading`): what a life had cost at the end
of a period less what it had cost at its beginning. So the days of a life add up to the life, to the last unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from modelyard.money import US, amount_nano
from modelyard.records.instances import Instance, Tariff

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Charge:
    """Time and what it costs. `took_us`: the time that counts; `billed_us`: with the minimum, rounded up; `byte_us`:
    memory × billed time; `amount_nano`: billionths of a US dollar."""

    took_us: int = 0
    billed_us: int = 0
    byte_us: int = 0
    amount_nano: int = 0

    def __add__(self, other: Charge) -> Charge:
        return Charge(
            self.took_us + other.took_us,
            self.billed_us + other.billed_us,
            self.byte_us + other.byte_us,
            self.amount_nano + other.amount_nano,
        )

    def __sub__(self, other: Charge) -> Charge:
        return Charge(
            self.took_us - other.took_us,
            self.billed_us - other.billed_us,
            self.byte_us - other.byte_us,
            self.amount_nano - other.amount_nano,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: an instance's cost within a period. `since` to `until`: the time of it that counts."""

    instance_id: str
    account_id: str
    model_id: str
    memory_bytes: int
    since: datetime
    until: datetime
    open: bool
    charge: Charge

    @property
    def day(self) -> date:
        """The UTC day it begins on; a line of `by_day` lies within it."""
        return self.since.astimezone(UTC).date()


def billed_us(took_us: int, tariff: Tariff) -> int:
    """The time that is billed for the time that counts: the minimum at least, beyond that rounded up."""
    billed = max(took_us, tariff.minimum_s * US)
    step = tariff.round_s * US
    return -(-billed // step) * step if step and took_us > tariff.minimum_s * US else billed


def least_nano(memory_bytes: int, tariff: Tariff | None) -> int:
    """What an instance costs at least, in billionths of a US dollar, once its time counts."""
    if tariff is None or tariff.counts == "inference":
        return 0
    return amount_nano(memory_bytes, billed_us(0, tariff), tariff.pico_per_gb_s)


def span(instance: Instance, now: datetime | None = None) -> tuple[datetime, datetime] | None:
    """The time of an instance's life that counts; None where none does.

    A life that is still open counts up to `now`, by default up to when it was last known to go on.
    """
    tariff = instance.tariff
    if tariff is None or tariff.counts == "inference":
        return None
    since = instance.started_at if tariff.counts == "life" else instance.ready_at
    if since is None:
        return None
    return since, max(since, instance.ended_at or now or instance.heartbeat_at)


def reading(instance: Instance, since: datetime, until: datetime) -> Charge:
    """What an instance whose time counts from `since` has cost at `until`, not before it begins."""
    tariff = instance.tariff
    if tariff is None or until < since:
        return Charge()
    took_us = (until - since) // MICROSECOND
    billed = billed_us(took_us, tariff)
    return Charge(
        took_us,
        billed,
        instance.memory_bytes * billed,
        amount_nano(instance.memory_bytes, billed, tariff.pico_per_gb_s),
    )


def line(
    instance: Instance, since: datetime | None = None, until: datetime | None = None, now: datetime | None = None
) -> Line | None:
    """What an instance cost from `since` up to, not including, `until`; None where nothing of it counts then."""
    if (whole := span(instance, now)) is None:
        return None
    began, ended = whole
    if until is not None and began >= until:
        return None
    if since is not None and began < since and ended <= since:
        return None
    first = began if since is None else max(began, since)
    last = least(until, ended)
    charge = reading(instance, began, last)
    if first > began:
        charge -= reading(instance, began, first)
    return Line(
        instance.id,
        instance.account_id,
        instance.model_id,
        instance.memory_bytes,
        first,
        last,
        instance.ended_at is None and last == ended,
        charge,
    )


def lines(
    instances: Iterable[Instance],
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime | None = None,
) -> Iterator[Line]:
    """A line for each instance that counts between `since` and `until`."""
    return (each for instance in instances if (each := line(instance, since, until, now)) is not None)


def by_day(
    instances: Iterable[Instance],
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime | None = None,
) -> Iterator[Line]:
    """A line for each instance and UTC day it counts on; they add up to `lines` exactly."""
    for instance in instances:
        if (whole := line(instance, since, until, now)) is None:
            continue
        start = midnight(whole.since)
        while start <= whole.until:
            end = start + timedelta(days=1)
            if (part := line(instance, max(whole.since, start), least(until, end), now)) is not None:
                yield part
            start = end


def least(until: datetime | None, end: datetime) -> datetime:
    """The earlier of two ends, where the first may be missing."""
    return end if until is None else min(until, end)


def midnight(moment: datetime) -> datetime:
    """The beginning of a moment's UTC day."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def month_start(moment: datetime) -> datetime:
    """The beginning of a moment's UTC month."""
    return midnight(moment).replace(day=1)


def total(some: Iterable[Line]) -> Charge:
    """The sum of lines."""
    return sum((each.charge for each in some), Charge())
