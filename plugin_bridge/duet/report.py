"""What a session measured: the report that people and programs read."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plugin_bridge.files import atomic_path
from plugin_bridge.latest import Latest


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles and the highest in milliseconds of `n` measurements; None where there were none."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    n: int


def spread(seconds: Collection[float]) -> Spread:
    """The spread of measurements in seconds."""
    if not seconds:
        return Spread(None, None, None, None, 0)
    figures = np.percentile(list(seconds), (50, 95, 99, 100))
    p50, p95, p99, highest = (round(float(value) * 1e3, 3) for value in figures)
    return Spread(p50, p95, p99, highest, len(seconds))


_KEPT = 20_000


@dataclass(slots=True)
class Measurements:
    """Collected while a session runs, seconds; the latest twenty thousand of each.

    `reaction`: from the player's event at the input callback to the first partner event decided after it
    leaving the output. When the player comes back that is the partner's release. The pause that ends a
    phrase is music, not reaction: for an answer the clock starts when its first event is due, or when it
    was decided, whichever is later. `replans`: while the partner plays along, from the player's event to
    the first event of the plan made anew. `lateness`: sent minus due, of everything the partner sends.
    """

    reaction: Latest = field(default_factory=lambda: Latest(_KEPT))
    lateness: Latest = field(default_factory=lambda: Latest(_KEPT))
    replans: Latest = field(default_factory=lambda: Latest(_KEPT))


@dataclass(frozen=True, slots=True)
class Report:
    """`report.json` of the demo and of every live session. `round_trip_ms` is the way to FL Studio and back,
    None where there is no FL Studio."""

    seconds: float
    player_notes: int
    partner_notes: int
    hung_notes: int
    reaction_ms: Spread
    lateness_ms: Spread
    tokens: int
    step_ms: Spread
    transport: str
    style: str
    seed: int
    answers: int
    yields: int
    dropped_late: int
    mode: str = "answer"
    replan_ms: Spread = Spread(None, None, None, None, 0)
    host_tempo: float | None = None
    round_trip_ms: float | None = None
    style_changes: int = 0
    faults: int = 0
    echoes: int = 0
    slowest_rung: str = "full"
    lost: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values; what is in `more` stands beside the rest."""
        values = asdict(self)
        return {**{key: value for key, value in values.items() if key != "more"}, **self.more}


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write a report as JSON; the file appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
