"""`modelyard simulate`: what a policy would have done with a trace of requests, without a server and without models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import output
from modelyard.cli.options import Json
from modelyard.errors import InvalidRequest
from modelyard.money import decimal
from modelyard.units import GIB

if TYPE_CHECKING:
    from modelyard.simulation.outcome import Outcome
    from modelyard.simulation.traces import Trace

COLUMNS = (
    "policy", "#requests", "#failed", "#cold %", "#p50 s", "#p90 s", "#p99 s", "#max s", "#launches", "#evictions",
    "#GB hours", "#peak GB", "#cost $",
)  # fmt: skip
DEFAULT_TIMEOUT_S = 1800
NANO_PER_CENT = 10_000_000


def simulate(
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="a CSV file of requests (docs/reference/simulation.md)"),
    ] = None,
    shape: Annotated[
        str, typer.Option("--shape", help="without a file: poisson, bursty, diurnal or azure, drawn from --seed")
    ] = "azure",
    seed: Annotated[int, typer.Option("--seed", help="of the drawn trace, and of the nodes that fail", min=0)] = 1,
    models: Annotated[int, typer.Option("--models", help="of a drawn trace", min=1)] = 500,
    requests: Annotated[int, typer.Option("--requests", help="of a drawn trace, about", min=1)] = 10_000,
    hours: Annotated[float, typer.Option("--hours", help="that a drawn trace spans", min=0.01)] = 24.0,
    nodes: Annotated[int, typer.Option("--nodes", help="machines", min=1)] = 10,
    node_gb: Annotated[float, typer.Option("--node-gb", help="what replicas may hold on each, in GB", min=0.01)] = 64.0,
    node_fails_hours: Annotated[
        float, typer.Option("--node-fails-hours", help="mean time until a node fails; 0: none does", min=0.0)
    ] = 0.0,
    server_fails_hours: Annotated[
        float,
        typer.Option(
            "--server-fails-hours",
            help="mean time until the server that leads dies, and another follows; 0: never",
            min=0.0,
        ),
    ] = 0.0,
    most: Annotated[int, typer.Option("--max", help="replicas of a model at most", min=1)] = 1,
    timeout: Annotated[
        list[int] | None,
        typer.Option(
            "--timeout", help="idle seconds after which a replica ends; repeatable, to compare", show_default="1800"
        ),
    ] = None,
    learned: Annotated[
        list[float] | None,
        typer.Option(
            "--learned",
            help="compare the learned keep-alive too, with so many GB times seconds of idle memory for a cold start; "
            "the longest --timeout bounds it; repeatable",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="a file for pictures of it (SVG)")] = None,
    json: Json = False,
) -> None:
    """Replay requests through the scheduler, on a clock that jumps: cold starts, waiting times, memory and cost."""
    from modelyard.control.policy import Policy
    from modelyard.simulation.engine import Fleet
    from modelyard.simulation.plots import plot_comparison
    from modelyard.simulation.replay import Setting, replay

    replayed = find_trace(trace, shape, seed, models, requests, hours)
    fleet = Fleet(
        nodes,
        int(node_gb * GIB),
        fails_every_s=3600 * node_fails_hours,
        server_fails_every_s=3600 * server_fails_hours,
    )
    timeouts = timeout or [DEFAULT_TIMEOUT_S]
    policies = {f"fixed {each} s": Policy(idle_timeout_s=each) for each in timeouts}
    for worth in learned or ():
        policies[f"learned {worth:g} GB s"] = Policy(idle_timeout_s=max(timeouts), cold_start_gb_s=worth)
    outcomes = [replay(replayed, Setting(fleet, each, most, seed=seed), name) for name, each in policies.items()]
    if plot is not None:
        write(plot, plot_comparison(replayed.name, outcomes))
    if json:
        return output.print_json([each.as_data() for each in outcomes])
    output.print_table(COLUMNS, map(row, outcomes), empty="")
    return None


def find_trace(path: Path | None, shape: str, seed: int, models: int, requests: int, hours: float) -> Trace:
    """The trace of the file, or one that is drawn. Raises InvalidRequest."""
    from modelyard.simulation.csv_traces import read_trace
    from modelyard.simulation.generated import SHAPES, TraceSize, generate

    if path is not None:
        return read_trace(path)
    if shape not in SHAPES:
        raise InvalidRequest(field="shape", got=shape, accepted=", ".join(SHAPES))
    return generate(shape, seed, TraceSize(models, requests, 3600 * hours))


def write(path: Path, text: str) -> None:
    """Raises InvalidRequest when it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"plot: {path} cannot be written: {error.strerror or error}.", field="plot") from error


def row(outcome: Outcome) -> tuple[object, ...]:
    """An outcome as a line of the table."""
    return (
        outcome.policy,
        outcome.requests,
        outcome.failed.total(),
        f"{100 * outcome.cold_share:.2f}",
        *(f"{outcome.wait_s(percentile):.2f}" for percentile in (50, 90, 99, 100)),
        outcome.launches,
        outcome.evictions,
        f"{outcome.gb_hours:.1f}",
        f"{outcome.peak_bytes / GIB:.1f}",
        decimal(round(outcome.cost_nano / NANO_PER_CENT), 2),
    )
