"""A duet as a picture: a piano roll of both parts with pedals, chords and bars."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.events import Part
from plugin_bridge.render.settings import PART_NAMES
from plugin_bridge.render.sustain import pedal_spans

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {Part.PLAYER: "#0072B2", Part.PARTNER: "#D55E00"}
"""Blue and vermilion of Okabe and Ito's palette, told apart with every colour vision deficiency."""

ROW_SECONDS = 30.0
MAX_ROWS = 40

_DPI = 100
_WIDTH, _HEIGHT = 1600, 700
_ROW_HEIGHT = 420
_MARGINS = (76, 24, 104, 46)  # pixels: left, right, top, bottom
_GAP = 74  # pixels between rows: the lower one's chords and the upper one's seconds
_BLACK_KEYS = frozenset({1, 3, 6, 8, 10})
_PAPER, _BLACK_KEY, _OCTAVE, _INK, _FAINT = "#FFFFFF", "#F1F3F6", "#C9CED6", "#22262C", "#7A828E"
_LANE = 0.035  # height of a pedal lane, as a fraction of the pitches shown


def draw_duet(clip: Clip, path: str | os.PathLike[str], title: str | None = None) -> None:
    """Draw `clip` as a PNG of 1600 pixels width at `path`; 700 high up to a minute, then a row more per 30 s.

    Time runs in seconds along rows; velocity is opacity; the lanes at the foot of a row show the pedals;
    chord names stand above, bar lines where beats with number 0 are. Raises BridgeError when the clip is
    longer than 20 minutes or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = row_spans(clip)
    row_height = _ROW_HEIGHT if len(rows) > 2 else (_HEIGHT - _MARGINS[2] - _MARGINS[3]) / len(rows)
    row_height -= _GAP * (len(rows) - 1) / len(rows) if len(rows) <= 2 else 0
    left, right, top, bottom = _MARGINS
    height = round(top + bottom + len(rows) * row_height + (len(rows) - 1) * _GAP)
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    low, high = pitch_range(clip)
    for index, span in enumerate(rows):
        under = height - top - (index + 1) * row_height - index * _GAP
        box = (left / _WIDTH, under / height, (_WIDTH - left - right) / _WIDTH, row_height / height)
        _draw_row(figure.add_axes(box), clip, span, (low, high), last=index == len(rows) - 1)
    _head(figure, clip, title, height)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": "Plugin Bridge"})


def row_spans(clip: Clip) -> list[tuple[float, float]]:
    """The rows as (from, to) in seconds, at most 30 s each, broken at bar lines where there are some."""
    duration = max(clip.duration, 1.0)
    count = max(1, math.ceil(duration / ROW_SECONDS - 1e-9))
    if count > MAX_ROWS:
        raise BridgeError(
            f"a clip of {duration:.0f} s is too long to draw (the limit is {MAX_ROWS * ROW_SECONDS:.0f} s); "
            "draw a slice of it"
        )
    if count == 1:
        return [(0.0, duration)]
    bars = sorted({beat.time for beat in clip.beats if beat.number == 0 and 0 < beat.time < duration})
    return _rows_of_bars(bars, duration, count) or _rows_of_seconds(duration, count)


def _rows_of_seconds(duration: float, count: int) -> list[tuple[float, float]]:
    length = math.ceil(duration / count)
    return [(float(index * length), float((index + 1) * length)) for index in range(count)]


def _rows_of_bars(bars: list[float], duration: float, count: int) -> list[tuple[float, float]] | None:
    """Rows of equally many bars; None where the bars do not reach through the clip."""
    for rows in range(count, min(2 * count, MAX_ROWS) + 1):
        step = math.ceil((len(bars) + 1) / rows)
        starts = [0.0, *bars][::step]
        spans = list(pairwise([*starts, duration]))
        if all(end - start <= ROW_SECONDS + 1e-6 for start, end in spans):
            start, end = spans[-1]
            return [*spans[:-1], (start, max(end, start + spans[0][1] - spans[0][0]))]
    return None


def pitch_range(clip: Clip) -> tuple[int, int]:
    """Lowest and highest pitch to show: the notes with some air, two octaves at least."""
    pitches = [note.pitch for note in clip.notes] or [48, 72]
    low, high = min(pitches) - 2, max(pitches) + 2
    missing = max(0, 24 - (high - low))
    return max(0, low - missing // 2), min(127, high + missing - missing // 2)


def _draw_row(
    axes: Axes, clip: Clip, span: tuple[float, float], pitches: tuple[int, int], *, last: bool
) -> None:
    start, end = span
    low, high = pitches
    axes.set_xlim(start, end)
    lane = _LANE * (high - low + 1)
    axes.set_ylim(low - 0.5 - 3 * lane, high + 0.5)
    _keyboard(axes, low, high)
    _bars(axes, clip, start, end)
    _pedals(axes, clip, span, low - 0.5, lane)
    _notes(axes, clip, start, end)
    _chords(axes, clip, start, end)
    step = _tick_step(end - start)
    first = math.ceil(start / step - 1e-9)
    axes.set_xticks([tick * step for tick in range(first, math.floor(end / step + 1e-9) + 1)])
    axes.tick_params(axis="both", length=0, labelsize=11, labelcolor=_FAINT, pad=6)
    for side in axes.spines.values():
        side.set_visible(False)
    if last:
        axes.set_xlabel("seconds", fontsize=11, color=_FAINT, labelpad=2)


def _tick_step(length: float) -> float:
    return next((step for step in (0.1, 0.25, 0.5, 1.0, 2.0) if length / step <= 16), 5.0)


def _keyboard(axes: Axes, low: int, high: int) -> None:
    """A stripe for every black key, a line under every C, and the names of the octaves."""
    from matplotlib.collections import LineCollection, PolyCollection

    across = axes.get_yaxis_transform()  # x from 0 to 1, y in pitches
    stripes = [
        [(x, pitch + y) for x, y in ((0, -0.5), (0, 0.5), (1, 0.5), (1, -0.5))]
        for pitch in range(low, high + 1)
        if pitch % 12 in _BLACK_KEYS
    ]
    axes.add_collection(
        PolyCollection(stripes, facecolors=_BLACK_KEY, linewidths=0, zorder=0, transform=across),
        autolim=False,
    )
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    lines = [[(0, pitch - 0.5), (1, pitch - 0.5)] for pitch in octaves if pitch > low]
    axes.add_collection(
        LineCollection(lines, colors=_OCTAVE, linewidths=0.8, zorder=1, transform=across), autolim=False
    )
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])


def _bars(axes: Axes, clip: Clip, start: float, end: float) -> None:
    from matplotlib.collections import LineCollection

    beats = [beat for beat in clip.beats if start <= beat.time <= end]
    axes.add_collection(
        LineCollection(
            [[(beat.time, 0), (beat.time, 1)] for beat in beats],
            colors=["#9AA2AE" if beat.number == 0 else "#E3E6EB" for beat in beats],
            linewidths=[1.0 if beat.number == 0 else 0.6 for beat in beats],
            zorder=1.5, transform=axes.get_xaxis_transform(),
        ),
        autolim=False,
    )  # fmt: skip


def _pedals(axes: Axes, clip: Clip, span: tuple[float, float], floor: float, height: float) -> None:
    """A lane for each part under `floor`, `height` semitones high."""
    axes.axhspan(floor - 3 * height, floor, color=_PAPER, linewidth=0, zorder=1.8)
    axes.axhline(floor, color=_OCTAVE, linewidth=0.8, zorder=2)
    for lane, part in enumerate(Part):
        bottom = floor - (1.4 + 1.3 * lane) * height
        axes.axhspan(bottom, bottom + height, color=_BLACK_KEY, linewidth=0, zorder=1.9)
        held = [(a, b - a) for a, b in pedal_spans(clip, part) if b > span[0] and a < span[1]]
        axes.broken_barh(held, (bottom, height), color=COLOURS[part], alpha=0.55, linewidth=0, zorder=2)
    axes.annotate(
        "pedal", (0, floor - 1.55 * height), xycoords=("axes fraction", "data"), xytext=(-6, 0),
        textcoords="offset points", ha="right", va="center", fontsize=9, color=_FAINT,
    )  # fmt: skip


def _notes(axes: Axes, clip: Clip, start: float, end: float) -> None:
    """The partner is drawn a little slimmer and above, so that a unison shows both colours."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    for part, half in ((Part.PLAYER, 0.46), (Part.PARTNER, 0.34)):
        notes = [n for n in clip.notes if n.part is part and n.start < end and n.end > start]
        least = (end - start) / 800  # two pixels, so that the shortest note is seen
        corners = []
        for n in notes:
            right = max(n.end, n.start + least)
            low, high = n.pitch - half, n.pitch + half
            corners.append([(n.start, low), (n.start, high), (right, high), (right, low)])
        faces = [to_rgba(COLOURS[part], 0.30 + 0.70 * n.velocity / 127) for n in notes]
        edges = [to_rgba(COLOURS[part], 0.9)] * len(notes)
        axes.add_collection(
            PolyCollection(corners, facecolors=faces, edgecolors=edges, linewidths=0.6, zorder=3 + part)
        )


def _chords(axes: Axes, clip: Clip, start: float, end: float) -> None:
    """Names above the row, at their time; one that would run into the one before it is raised."""
    spans = [span for span in clip.chords if start < span.start < end]
    spans = [span for span in clip.chords if span.start <= start][-1:] + spans
    clear = [-math.inf, -math.inf]
    pixel = (end - start) / (_WIDTH - _MARGINS[0] - _MARGINS[1])
    for span in spans:
        name = "N.C." if span.chord is None else str(span.chord)
        at = max(span.start, start)
        level = next((i for i, free in enumerate(clear) if at >= free), None)
        if level is None:
            continue
        clear[level] = at + (len(name) * 11.5 + 8) * pixel
        axes.annotate(
            name, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(1, 6 + 15 * level),
            textcoords="offset points", fontsize=12, color=_INK, fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _head(figure: Figure, clip: Clip, title: str | None, height: int) -> None:
    from matplotlib.patches import Patch

    left, right = _MARGINS[0] / _WIDTH, 1 - _MARGINS[1] / _WIDTH
    if title:
        figure.text(
            left,
            1 - 20 / height,
            title,
            fontsize=17,
            fontweight="bold",
            color=_INK,
            va="top",
            parse_math=False,
        )
    handles: list[Any] = []
    for part in Part:
        count = sum(note.part is part for note in clip.notes)
        label = f"{PART_NAMES[part]}: {count} {'note' if count == 1 else 'notes'}"
        handles.append(Patch(facecolor=COLOURS[part], edgecolor=COLOURS[part], label=label))
    figure.legend(
        handles=handles, loc="upper right", borderaxespad=0.2, bbox_to_anchor=(right, 1 - 10 / height),
        ncols=2, frameon=False, fontsize=12, labelcolor=_INK, handlelength=1.2, handleheight=0.9,
    )  # fmt: skip
