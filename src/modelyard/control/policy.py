"""The numbers the control loop goes by. Owns their defaults and their reasons; decides nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds unless named otherwise."""

    boot_s: float = 600.0
    drain_s: float = 120.0
    stop_grace_s: float = 5.0
    stop_at_once_grace_s: float = 0.5
    stable_window_s: float = 60.0
    tick_s: float = 1.0
    read_s: float = 0.03
    """What another process has changed is acted on within a twentieth of a second; asking whether anything has costs
    some ten microseconds."""
    read_again_s: float = 1.0
    """After the store could not be read."""
    heartbeat_s: float = 10.0
    count_s: float = 2.0
    back_off_s: float = 0.5
    back_off_max_s: float = 30.0
    boots_at_once: int = 16
    """Of one account: the others' boots wait behind no more than that."""
    max_failed_boots: int = 3
    max_crashes: int = 5
    crash_window_s: float = 600.0
    failure_kept_s: float = 30.0
    idle_timeout_s: int = 1800
    cold_start_gb_s: float = 0.0
    """The GB times seconds of idle memory that a cold start may be spared for; 0: nothing is learned, each cluster's
    timeout holds."""
    slots_per_target: int = 4
    """A replica that batches, of a model that nobody has measured, is worth a second one beside it when a quarter of
    its slots are taken: most models gain little by more (see benchmarks). A measured one says itself what pays."""
