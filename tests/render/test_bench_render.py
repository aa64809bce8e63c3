"""The benchmark of rendering: what it reports, not how fast it is."""

from __future__ import annotations

import pytest

from plugin_bridge.render.bench_render import ROWS, bench_render, write_manifest
from plugin_bridge.render.plan import make_plan


def test_loop_and_batch_do_the_same_work() -> None:
    report = bench_render(clips=2, jobs=2)
    assert (report["clips"], report["jobs"], report["same_files"]) == (2, 2, True)
    assert report["audio_seconds"] > 2 * 8 * 4 * 60 / 110  # eight bars each, and what rings on
    loop, batch = report["loop"], report["batch"]
    assert report["ratio"] == pytest.approx(loop["seconds"] / batch["seconds"], abs=0.01)
    for way in (loop, batch):
        assert way["clips_per_minute"] == pytest.approx(2 * 60 / way["seconds"], rel=0.01)
        assert way["times_real_time"] == pytest.approx(report["audio_seconds"] / way["seconds"], rel=0.1)
        assert way["cpu_seconds"] > 0
    assert batch["memory_mb"] > loop["memory_mb"] > 50


def test_the_manifest_has_every_chart_in_every_setting(tmp_path) -> None:
    jobs = make_plan([write_manifest(tmp_path / "pack.toml", 10)]).jobs
    assert ROWS == 20
    assert len(jobs) == len({job.name for job in jobs}) == len({job.key for job in jobs}) == 200
