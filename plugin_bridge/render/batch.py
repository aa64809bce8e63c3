"""Batches: jobs to processes, or to a cluster; what is done already is left out; what fails is listed.

The program's process only hands out jobs and notes what came of them. At most as many jobs are out as there
are workers, and one more each: when a process dies, only these are in question, and each of them is tried
once again alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from plugin_bridge import __version__
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.render.encoding import check_formats
from plugin_bridge.render.instruments import PluginSpec, SoundFontPreset
from plugin_bridge.render.jobs import Job
from plugin_bridge.render.piano import Piano, load_soundfont
from plugin_bridge.render.plan import Failure, Plan
from plugin_bridge.render.plugin_host import DEFAULT_TIME_LIMIT, PluginHost
from plugin_bridge.render.work import HIDDEN, STAGING, Outcome, read_record, work

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
                    Piano(rate, load_soundfont(thing.path), bank=thing.bank, program=thing.program)
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
    pools = _pools(jobs or default_jobs(), len(todo), cluster)
    try:
        with closing(_run(todo, target, pools, time_limit)) as outcomes:
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


Pools = Callable[[bool], AbstractContextManager[tuple[Executor, int]]]
"""Gives an executor and how many jobs it may have at once; told whether it shall be one process alone."""


def _run(
    jobs: Sequence[Job], folder: Path, pools: Pools, time_limit: float
) -> Generator[Outcome, None, None]:
    """Outcomes as they come. After a full disk no more jobs are begun: they would fail, too."""
    waiting, alone = deque(jobs), deque[Job]()
    full = False
    while (waiting or alone) and not full:
        single = bool(alone)
        queue = alone if single else waiting
        with pools(single) as (pool, most):
            out: dict[Future[Outcome], Job] = {}
            try:
                while out or (queue and not full):
                    while queue and len(out) < most and not full:
                        out[pool.submit(work, queue[0], folder, time_limit)] = queue[0]
                        queue.popleft()
                    for future in wait(out, return_when=FIRST_COMPLETED).done:
                        outcome = _outcome(future, out[future])
                        del out[future]
                        full = full or outcome.full
                        yield outcome
            except BrokenProcessPool:
                lost = list(out.values())
                if single:
                    for job in lost:
                        yield Outcome(job.name, job.where, reason="its process died (out of memory?)")
                else:
                    alone.extend(lost)
    for job in (*alone, *waiting):
        yield Outcome(job.name, job.where, reason="not rendered: the disk is full")


def _outcome(future: Future[Outcome], job: Job) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:  # a cluster's own: a worker that was lost, a version that differs
        return Outcome(job.name, job.where, reason=f"{type(error).__name__}: {error}")


def _pools(jobs: int, clips: int, cluster: str | None) -> Pools:
    if cluster is not None:
        return lambda single: _cluster(cluster)
    return lambda single: _processes(1 if single else max(1, min(jobs, clips)))


@contextmanager
def _processes(count: int) -> Iterator[tuple[Executor, int]]:
    pool = ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        yield pool, 1 if count == 1 else 2 * count
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """An interrupt is for the program's process; when that dies in any way, this one ends at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """The workers of a `dask.distributed` scheduler."""
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise BridgeError("--cluster needs dask: python -m pip install 'plugin-bridge[cluster]'") from error
    connect: Any = distributed.Client
    try:
        client = connect(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise BridgeError(
            f"{address}: no dask scheduler answers there ({error}); start one with 'dask scheduler'"
        ) from error
    try:
        threads = sum(client.nthreads().values())
        if not threads:
            raise BridgeError(f"{address}: the scheduler has no workers; start some with 'dask worker'")
        with client.get_executor() as pool:
            yield pool, 2 * threads
    finally:
        client.close()
