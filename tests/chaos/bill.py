"""The bill held against the lives and answers that were seen from outside: life by life, request by request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from modelyard.store.tables import instances, requests
from tests.chaos.databases import Database
from tests.chaos.lives import Lives, Process, moment
from tests.chaos.load import Load, Outcomes

HEARTBEAT_S = 10.0
NOTICED_S = 1.0
"""By how much later than the kernel a server notices that a process has begun, or has ended, where it has the machine
for itself."""
WRITTEN_S = 2.0
"""For how long records of a server that can write wait in its memory; they take a quarter of a second."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of a server that was not its own wish, in seconds since boot. `at`: when it was told to end; `gone_at`:
    when its process was gone; `written_until`: up to when all it had to record was surely written."""

    at: float
    gone_at: float
    written_until: float


@dataclass(frozen=True, slots=True)
class Billed:
    """One instance on the bill: its process, as the server has it, the seconds that are billed, and what else its
    record tells, in words."""

    instance_id: str
    process: Process | None
    seconds: float
    record: str = ""


@dataclass(frozen=True)
class Bill:
    """What was lived and answered, and what is billed for it. `lines`: of every account's bill; `totals`: by account,
    its requests on the bill; `kept`: the requests that are written down; `noticed_s`: see NOTICED_S;
    `frozen`: from when to when ends were not told, since who tells them stood still."""

    lives: Lives
    outcomes: Outcomes
    ends: Sequence[End]
    lines: Sequence[Billed]
    totals: Mapping[str, int]
    kept: frozenset[str]
    noticed_s: float
    frozen: Sequence[tuple[float, float]] = ()

    def of_process(self) -> dict[Process, Billed]:
        return {line.process: line for line in self.lines if line.process is not None}

    def end_of(self, process: Process) -> End | None:
        """The end of the server that cut a life off."""
        began, ended = self.lives.began[process], self.lives.ended.get(process, moment())
        return next((end for end in self.ends if began <= end.gone_at and ended >= end.at), None)

    def bounds_s(self, process: Process) -> tuple[float, float]:
        """What may be billed of a life: all of it; up to the last heartbeat where its server's end cut it off."""
        lived_s, end = self.lives.lived_s(process), self.end_of(process)
        if end is None:
            return lived_s - self.noticed_s, lived_s + self.noticed_s + self._untold_s(process)
        least_s = end.written_until - HEARTBEAT_S - self.lives.began[process]
        return max(0.0, min(lived_s, least_s) - self.noticed_s), lived_s + self.noticed_s

    def _untold_s(self, process: Process) -> float:
        """For how long nobody could tell that a life was over."""
        ended = self.lives.ended.get(process, moment())
        return max((until - ended for since, until in self.frozen if since <= ended <= until), default=0.0)

    def lived_s(self) -> float:
        return sum(map(self.lives.lived_s, self.lives.began))

    def billed_s(self) -> float:
        return sum(line.seconds for line in self.lines)

    def lost_s(self) -> float:
        """What heartbeats may leave unbilled of the lives that an end of the server cut off."""
        cut = [each for each in self.lives.began if self.end_of(each) is not None]
        return sum(self.lives.lived_s(each) - self.bounds_s(each)[0] for each in cut)

    def largest_difference_s(self) -> float:
        """Between what was lived and what is billed, of a life whose end its server has seen."""
        whole = {process: line for process, line in self.of_process().items() if process in self.lives.began}
        return max(
            (
                abs(line.seconds - self.lives.lived_s(process))
                for process, line in whole.items()
                if self.end_of(process) is None
            ),
            default=0.0,
        )

    def unwritten(self) -> list[str]:
        """Requests that were answered and are not on the bill."""
        return [each for each in self.outcomes.answered if each not in self.kept]

    def problems(self) -> Iterator[str]:
        """What does not hold."""
        yield from self._problems_of_lives()
        yield from self._problems_of_lines()
        yield from self._problems_of_requests()

    def _problems_of_lives(self) -> Iterator[str]:
        lines = self.of_process()
        for process in self.lives.began:
            line, (least_s, most_s) = lines.get(process), self.bounds_s(process)
            billed_s = 0.0 if line is None else line.seconds
            if not least_s <= billed_s <= most_s:
                lived_s = self.lives.lived_s(process)
                yield f"{process} lived {lived_s:.2f} s, {billed_s:.2f} s are billed: {least_s:.2f} to {most_s:.2f} may"

    def _problems_of_lines(self) -> Iterator[str]:
        if len({line.instance_id for line in self.lines}) != len(self.lines):
            yield "an instance is billed twice"
        if len(self.of_process()) != sum(line.process is not None for line in self.lines):
            yield "a process is billed twice"
        for line in self.lines:
            if line.process not in self.lives.began and line.seconds > self.lives.unseen_s + self.noticed_s:
                yield f"{line.instance_id} is billed {line.seconds:.2f} s, and nobody saw it{line.record}"

    def _problems_of_requests(self) -> Iterator[str]:
        for request_id in self.unwritten():
            at = self.outcomes.answered[request_id].at
            if not any(end.written_until - WRITTEN_S <= at <= end.gone_at for end in self.ends):
                yield f"request {request_id} was answered, and is not on the bill"
        for name, asked in self.outcomes.asked.items():
            if self.totals[name] > asked:
                yield f"{name} asked {asked} times, and pays for {self.totals[name]}"

    def words(self) -> Iterator[str]:
        """The bill in words."""
        cut = sum(self.end_of(each) is not None for each in self.lives.began)
        yield f"bill          {self.billed_s():.2f} s of {len(self.lines)} instances"
        yield f"lived         {self.lived_s():.2f} s in {len(self.lives.began)} processes, as the kernel tells"
        yield f"              {self.largest_difference_s():.3f} s at most between a noticed life and its line"
        yield f"              {cut} lives were cut off by {len(self.ends)} ends of the server: heartbeats leave up to"
        yield f"              {self.lost_s():.2f} s of them unbilled"
        for name, asked in self.outcomes.asked.items():
            yield f"billed once   {self.totals[name]} inferences of {name}, of {asked} that were asked for"
        yield f"              {len(self.unwritten())} answers of the last moment before such an end are on no bill"


def read_bill(
    database: Database,
    load: Load,
    lives: Lives,
    ends: Sequence[End],
    told: Mapping[str, Any],
    noticed_s: float,
    frozen: Sequence[tuple[float, float]],
) -> Bill:
    """What there is when all is over. `told`: by account, what the server says of its usage, with lines."""
    rows = {row.id: row for row in database.read(select(instances))}
    lines = [
        Billed(name, process_of(rows[name]), line["billedSeconds"], words_of(rows[name]))
        for usage in told.values()
        for line in usage["lines"]
        for name in [line["instanceId"]]
    ]
    kept = frozenset(name for (name,) in database.read(select(requests.c.id)))
    totals = {name: usage["total"]["requests"] for name, usage in told.items()}
    return Bill(lives, load.outcomes, ends, lines, totals, kept, noticed_s, frozen)


def process_of(row: Row[Any]) -> Process | None:
    """An instance's process, as its record has it."""
    return None if row.pid is None else (row.pid, row.pid_started)


def words_of(row: Row[Any]) -> str:
    """An instance's record, for whoever looks for a fault."""
    times = ", ".join(f"{name} {getattr(row, name)}" for name in ("created_at", "started_at", "ready_at", "ended_at"))
    return f": {row.model_id}, process {process_of(row)}, {times}, {row.end_reason}"
