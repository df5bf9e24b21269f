"""What the comparison with other servers makes of figures: every target of every row has one, and none is hidden."""

from __future__ import annotations

import json
import xml.etree.ElementTree as xml
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from benchmarks import report
from benchmarks.peers.comparison import told
from benchmarks.peers.load import Figures, Load, Took, figures_of, percentile
from benchmarks.peers.peers import ALONE, OURS, OWN, SHORT_WEIGHTS
from benchmarks.peers.results import check, plot, table
from benchmarks.peers.rows import ROWS, Row
from benchmarks.peers.targets import Case, Medians
from benchmarks.report import Bounds, rounds

ECHO = next(row for row in ROWS if row.name == "ECHO")
FIGURES = Figures(rate=100.0, p50_ms=2.0, p99_ms=9.0, first_ms=30.0)


def medians_of(row: Row) -> Medians:
    """Equal figures for every server of a row in every case it is asked in."""
    names = (*(OWN if row.measured else OWN[:1]), *([SHORT_WEIGHTS] if row.short_weights else []))
    ours = {name: row.cases_of(None) for name in names}
    servers = {**ours, **{peer.name: row.cases_of(peer) for peer in row.peers}}
    alone = {(ALONE, case): FIGURES for case in (row.cases if row.task != "echo" else ())}
    return {(name, case): FIGURES for name, cases in servers.items() for case in cases} | alone


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_target_has_a_figure_and_every_server_a_line(row: Row) -> None:
    medians = medians_of(row)
    figures = [bound.figure for bound in check(row, medians)]
    assert figures == ["0.00" if "above" in target.words else "1.00" for target in row.targets]
    written = table(row, medians)
    for name in (OURS, *(peer.name for peer in row.peers)):
        assert f"| {name} |" in written
        assert f">{name}<" in plot({row: medians})
    xml.fromstring(plot({row: medians}))


def test_a_peer_that_cannot_stream_has_no_figure_for_it() -> None:
    row = next(row for row in ROWS if row.name == "GENERATE")
    asked = {peer.name: row.cases_of(peer) for peer in row.peers}
    assert asked["mosec, batches"] == [Case(1), Case(16)]
    assert asked["LitServe, streamed"] == [Case(1, streams=True), Case(16, streams=True)]
    assert asked["transformers serve, continuous batching"] == list(row.cases)


def test_a_peer_that_failed_costs_its_own_figures_only() -> None:
    lost = {place: figures for place, figures in medians_of(ECHO).items() if place[0] != "mosec"}
    assert {bound.figure for bound in check(ECHO, lost)} == {"none"}
    assert not any(bound.kept for bound in check(ECHO, lost))
    classify = next(row for row in ROWS if row.name == "CLASSIFY")
    lost = {place: figures for place, figures in medians_of(classify).items() if place[0] != "mosec"}
    assert {bound.figure for bound in check(classify, lost)} == {"1.00"}
    assert "| mosec |" not in table(classify, lost)


def test_a_missed_target_is_seen() -> None:
    medians = {**medians_of(ECHO), (OURS, Case(64)): replace(FIGURES, rate=99.0)}
    (missed,) = [bound for bound in check(ECHO, medians) if not bound.kept]
    assert missed.row.endswith("| ≥ 1 | 0.99 | **missed** |")
    bounds = Bounds()
    assert not bounds.check(missed.words, missed.figure, missed.promised, missed.kept)
    assert "**missed**" in bounds.table()


def test_figures_of_streams_count_what_ended_and_when_the_first_came() -> None:
    took = [Took(ended_s=ended, all_s=1.0, first_s=0.25) for ended in (1.0, 2.0, 3.0, 4.0)]
    wanted = Load(bodies=("{}",), clients=1, seconds=2, echoed_bytes=0)
    assert figures_of(took, wanted) == Figures(rate=1.0, p50_ms=1000.0, p99_ms=1000.0, first_ms=250.0)
    assert figures_of(took[:1], replace(wanted, echoed_bytes=None)) == Figures(0.5, 1000.0, 1000.0)


def test_percentiles_are_read_in_the_units_that_wrk_writes() -> None:
    text = "  Latency Distribution\n     50%  180.00us\n     99%    1.32s \n"
    assert (percentile(text, 50), percentile(text, 99)) == (0.18, 1320.0)


def test_one_setting_cuts_the_rounds_of_every_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_ROUNDS", raising=False)
    assert rounds(5) == 5
    monkeypatch.setenv("BENCH_ROUNDS", "1")
    assert rounds(5) == 1
    monkeypatch.setenv("BENCH_ROUNDS", "9")
    assert rounds(5) == 5


def test_a_figure_that_varies_is_told_with_the_interval_of_its_median(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "BOUNDS", Bounds())
    values = [float(each) for each in range(33)]
    low, high = report.interval(values)
    assert 5 < low < 16 < high < 27
    assert report.interval([1.0, 1.0]) == (1.0, 1.0)
    assert report.at_most("it costs", 0.5, 1.0, "% of a core", between=(0.25, 0.75))
    assert report.BOUNDS.all[0].figure == "0.50 % of a core [0.25 to 0.75]"


def test_what_was_checked_so_far_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    bounds = Bounds()
    bounds.check("one", "1 x", "at most 2", kept=True)
    bounds.write("today: one")
    bounds.check("other", "3 x", "at most 2", kept=False)
    page = bounds.write("today: one, other")
    assert (tmp_path / "results/targets.md").read_text() == page
    assert "1 of 2 missed" in page
    assert [each["kept"] for each in json.loads((tmp_path / "results/targets.json").read_text())] == [True, False]


def test_a_row_that_fails_costs_its_own_figures_only(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (
        AssertionError("no answer"),
        RuntimeError("pip"),
        FileNotFoundError("wrk"),
        httpx.ReadTimeout("slow"),
    ):
        with told("ECHO"):
            raise error
    assert capsys.readouterr().out.count("ECHO failed") == 4
    assert {bound.figure for bound in check(ECHO, {})} == {"none"}
    xml.fromstring(plot({ECHO: {}}))
    assert "## ECHO" in table(ECHO, {})


def test_each_load_has_texts_that_none_before_it_had() -> None:
    row = next(row for row in ROWS if row.tokens)
    first, second = row.texts_of(1), row.texts_of(2)

    assert not {*first} & {*second}
    assert [len(text) for text in first] == [len(text) for text in second] == [len(text) for text in row.texts]
    assert next(row for row in ROWS if not row.tokens).texts_of(1) == next(row for row in ROWS if not row.tokens).texts
