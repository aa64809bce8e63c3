"""The benchmark of the engine: what it reports, not how fast it is."""

from __future__ import annotations

import pytest

from plugin_bridge.engine.bench_engine import YOUNG, bench_engine
from plugin_bridge.errors import BridgeError


def test_a_long_run_is_compared_with_a_young_one_place_by_place(style):
    report = bench_engine(style, past=100, long_run=2400)
    run = report["long_run"]
    places = [row["tokens"] for row in run["places"]]
    assert run["tokens"] >= 2400
    assert places == sorted(places)
    assert places[0] >= YOUNG
    for row in run["places"]:
        assert row["ratio"] == pytest.approx(row["token_ms"] / row["young_token_ms"], abs=0.02)
    assert run["ratio_highest"] == max(row["ratio"] for row in run["places"])
    assert {"step_ms", "floor_ms", "ratio_to_floor", "prefill_ms", "parameters"} <= report.keys()


def test_another_style_is_measured_beside_it(style, exact_style):
    report = bench_engine(style, past=100, beside=exact_style)
    beside = report["beside"]
    assert beside["ratio"] == pytest.approx(beside["step_ms"] / beside["this_step_ms"], rel=0.02)


def test_too_short_a_long_run_is_refused(style):
    with pytest.raises(BridgeError, match="too few"):
        bench_engine(style, past=100, long_run=100)
