"""Whether a cluster whose replica failed is worth another try, and when. Owns the crash budget; no clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.control.policy import Policy


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay_s`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It is no use. `because` continues a sentence that begins with the model's name and ends with the last reason."""

    because: str


Verdict = Retry | GiveUp


@dataclass(eq=False, slots=True)
class Failures:
    """One cluster's failures. `boots`: since a replica last became ready. `deaths`: monotonic times, boots included."""

    boots: int = 0
    deaths: list[float] = field(default_factory=list)

    def add(self, now: float, policy: Policy, *, was_ready: bool, permanent: bool) -> Verdict:
        """Counts one. `was_ready`: it served before it died. `permanent`: it said that it can never be loaded."""
        self.deaths = [at for at in self.deaths if at > now - policy.crash_window_s] + [now]
        self.boots += not was_ready
        if permanent:
            return GiveUp("did not start")
        if self.boots >= policy.max_failed_boots:
            return GiveUp(f"did not start ({self.boots} tries)")
        if len(self.deaths) > policy.max_crashes:
            return GiveUp(f"crashed {len(self.deaths)} times within {policy.crash_window_s / 60:.0f} minutes, last")
        return Retry(min(policy.back_off_max_s, policy.back_off_s * 2 ** (self.boots - 1)) if self.boots else 0.0)

    def boot_succeeded(self) -> None:
        """A replica became ready: the next failed boot is the first one again."""
        self.boots = 0

    def clear(self) -> None:
        """Lets bygones be bygones."""
        self.boots = 0
        self.deaths.clear()
