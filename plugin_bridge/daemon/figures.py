"""Figures about the process and the duet, as plain values for the API."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

EDGES_MS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 250, 500)
"""Where the bins of a histogram begin, milliseconds; the last is open."""


def histogram(seconds: Collection[float]) -> dict[str, list[int]]:
    """How many of these fall into each bin."""
    edges = np.array([*EDGES_MS, np.inf]) / 1e3
    counts, _ = np.histogram(np.maximum(np.array(list(seconds), dtype=np.float64), 0.0), edges)
    return {"edges_ms": list(EDGES_MS), "counts": [int(count) for count in counts]}


def process_figures(started: float) -> dict[str, Any]:
    """Memory now (bytes; None where the system does not say), processor seconds so far, threads, open
    handles, and seconds since `started` on the monotonic clock."""
    return {
        "memory_bytes": memory_bytes(),
        "cpu_seconds": round(time.process_time(), 3),
        "threads": threading.active_count(),
        "handles": _handles(),
        "uptime_s": round(time.monotonic() - started, 1),
    }


def memory_bytes(process: int | str = "self") -> int | None:
    """Memory that a process occupies, where the system says so at no cost. The segment that a JACK server
    shares with all its clients, some 100 MB, is the server's and left out."""
    if sys.platform != "linux":
        return None
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    rows = (line.split() for line in status.splitlines())
    return sum(int(row[1]) * 1024 for row in rows if row[0] in ("RssAnon:", "RssFile:"))


def _handles() -> int | None:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return None
