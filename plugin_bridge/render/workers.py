"""Workers: jobs to processes, or to a cluster, and what came of each.

The program's process only hands out jobs. At most as many jobs are out as there are workers, and one more
each: when a process dies, only these are in question, and each of them is tried once again alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.jobs import Job
from plugin_bridge.render.work import Outcome, work

Pools = Callable[[bool], AbstractContextManager[tuple[Executor, int]]]
"""Gives an executor and how many jobs it may have at once; told whether it shall be one process alone."""


def run_jobs(
    jobs: Sequence[Job], folder: Path, time_limit: float, *, processes: int, cluster: str | None = None
) -> Generator[Outcome, None, None]:
    """Do `jobs` in at most so many `processes`, or on the `dask.distributed` scheduler at `cluster`; outcomes
    as they come. After a full disk no more jobs are begun: they would fail, too. Raises BridgeError where the
    cluster cannot be had."""
    pools = _pools(min(processes, len(jobs)), cluster)
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


def _pools(processes: int, cluster: str | None) -> Pools:
    if cluster is not None:
        return lambda single: _cluster(cluster)
    return lambda single: _processes(1 if single else processes)


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
