"""The benchmark of the codec: what it reports, not how fast it is."""

from __future__ import annotations

import pytest

from plugin_bridge.duet.bench_tokens import bench_tokens
from plugin_bridge.duet.performance import performance


def test_the_built_in_performance_is_counted_and_every_way_timed() -> None:
    clip = performance(30.0)
    report = bench_tokens(clip)
    assert report["events"] == 2 * len(clip.notes) + len(clip.pedals)
    assert 1 < report["tokens_per_event"] < 5
    assert report["tokens"] == pytest.approx(report["tokens_per_event"] * report["events"], rel=0.01)
    for way in ("encode", "decode", "encoder", "decoder"):
        assert report[f"{way}_events_per_second"] > 0
