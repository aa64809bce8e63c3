"""The chart of a style: nats a note before and after, on its own music, on others' and on the base's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugin_bridge.files import atomic_path

_KINDS = {"held_out": "own held-out pieces", "others": "other performers", "base": "base music"}


def draw_styles(reports: Sequence[dict[str, Any]], path: Path) -> None:
    """One group of bars a report (`export.style`): the change of nats a note on each kind of music."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(7.0, 1.6 * len(reports) + 3), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours = {"held_out": "#0072b2", "others": "#e69f00", "base": "#999999"}
    width = 0.26
    for offset, (kind, label) in enumerate(_KINDS.items()):
        places = [index for index, report in enumerate(reports) if kind in report["nats"]]
        heights = [100 * reports[index]["nats"][kind]["change"] for index in places]
        at = [index + (offset - 1) * width for index in places]
        bars = axes.bar(at, heights, width, color=colours[kind], label=label)
        axes.bar_label(bars, fmt="%+.1f", padding=2, fontsize=8)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(reports)), [report["style"] for report in reports])
    axes.set_ylabel("change of nats a note (%)")
    axes.set_title("What styles learned: below zero is better expected than by the base")
    axes.margins(y=0.15)
    axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
