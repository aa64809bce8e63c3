"""Batches: a plan to a folder of clips; what is done already is left out; what fails is listed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from plugin_bridge import __version__
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.render.encoding import check_formats
from plugin_bridge.render.instruments import PluginSpec, SoundFontPreset
from plugin_bridge.render.plan import Failure, Plan
from plugin_bridge.render.plugin_host import DEFAULT_TIME_LIMIT, PluginHost
from plugin_bridge.render.renderer import make_piano
from plugin_bridge.render.work import HIDDEN, STAGING, Outcome, read_record
from plugin_bridge.render.workers import run_jobs

INDEX = "index.json"
FORMAT = 1

Progress = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a batch came to: records of all clips that are there, in the order of the plan; how many of them
    were rendered now; and what failed."""

    folder: Path
    clips: tuple[dict[str, Any], ...]
    rendered: int
    failures: tuple[Failure, ...]


def default_jobs() -> int:
    """As many processes as there are processors for this program."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_plan(plan: Plan, time_limit: float = DEFAULT_TIME_LIMIT) -> None:
    """Load every instrument and effect once, and try every format. Raises BridgeError, naming row and key."""
    for output in {job.output for job in plan.jobs}:
        check_formats(output)
    checked: set[object] = set()
    for job in plan.jobs:
        rate = job.output.sample_rate
        uses = [("instrument", job.instrument), *(("effects", effect) for effect in job.effects)]
        for key, thing in uses:
            if (key, rate, thing) in checked:
                continue
            checked.add((key, rate, thing))
            try:
                if isinstance(thing, SoundFontPreset):
                    make_piano(thing, rate)
                elif isinstance(thing, PluginSpec):
                    with PluginHost(thing, time_limit) as host:
                        host.describe("instrument" if key == "instrument" else "effect", rate)
            except BridgeError as error:
                raise BridgeError(f"{job.where}, {key}: {error}") from error


def render_batch(
    plan: Plan,
    folder: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    resume: bool = False,
    cluster: str | None = None,
    time_limit: float = DEFAULT_TIME_LIMIT,
    progress: Progress | None = None,
) -> BatchReport:
    """Render a plan into `folder`, with `index.json` beside the clips.

    `jobs` processes, or the workers of the `dask.distributed` scheduler at `cluster`, which have to see the
    same paths. `resume` leaves out what lies there with the same key. A plugin gets `time_limit` seconds a
    clip. `progress` is told every outcome. Raises BridgeError for what is wrong before work starts; later
    the batch goes on and the report lists what failed. On spawned processes: call it from a script only
    below `if __name__ == "__main__":`.
    """
    target = Path(folder).absolute()
    _make_folder(target)
    check_plan(plan, time_limit)
    records: dict[str, dict[str, Any]] = {}
    if resume:
        found = ((job, read_record(target, job)) for job in plan.jobs)
        records = {job.name: record | {"where": job.where} for job, record in found if record is not None}
    todo = [job for job in plan.jobs if job.name not in records]
    failed: dict[str, Failure] = {}
    rendered = 0
    work = run_jobs(todo, target, time_limit, processes=jobs or default_jobs(), cluster=cluster)
    try:
        with closing(work) as outcomes:
            for outcome in outcomes:
                if outcome.record is not None:
                    records[outcome.name] = dict(outcome.record)
                    rendered += 1
                else:
                    failed[outcome.name] = Failure(outcome.name, outcome.where, outcome.reason)
                if progress:
                    progress(outcome)
    finally:
        _sweep(target)
        clips = tuple(records[job.name] for job in plan.jobs if job.name in records)
        failures = (*plan.failures, *(failed[job.name] for job in plan.jobs if job.name in failed))
        report = BatchReport(target, clips, rendered, failures)
        try:
            write_index(report)
        except BridgeError as error:
            report = replace(report, failures=(*failures, Failure(INDEX, INDEX, str(error))))
    return report


def write_index(report: BatchReport) -> None:
    """Write `index.json`: a line for each clip and each failure. What was measured is in it, when and how
    fast is not: the same batch gives the same index."""
    clips = ",\n  ".join(json.dumps(clip) for clip in report.clips)
    failures = ",\n  ".join(json.dumps(asdict(failure)) for failure in report.failures)
    head = f'"format": {FORMAT},\n "program": {json.dumps(__version__)}'
    with atomic_path(report.folder / INDEX) as temporary:
        temporary.write_text(
            f'{{{head},\n "clips": [\n  {clips}\n ],\n "failures": [\n  {failures}\n ]}}\n', encoding="utf-8"
        )


def _make_folder(folder: Path) -> None:
    """Make it, see that it can be written to, and sweep out what a killed batch left."""
    try:
        (folder / HIDDEN).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BridgeError(
            f"{folder}: cannot be written to ({error.strerror}); choose another folder"
        ) from error
    _sweep(folder)
    with atomic_path(folder / HIDDEN / "trial") as trial:
        trial.write_bytes(b"")
    (folder / HIDDEN / "trial").unlink()


def _sweep(folder: Path) -> None:
    for stage in (folder / HIDDEN).glob(f"{STAGING}*"):
        shutil.rmtree(stage, ignore_errors=True)
