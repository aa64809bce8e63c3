"""How long strings sound: keys held, dampers lifted by the pedal, strings struck again."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part


def sounding_notes(clip: Clip, until: float) -> list[Note]:
    """The notes of `clip` with the ends that are heard, sorted by start; each part has its own pedal.

    A note that ends while the pedal is down sounds on until the pedal comes up, or until `until` seconds
    where it never does. A string that is struck again stops its earlier sound. Notes without length are
    left out, as in `Clip.events`.
    """
    heard: list[Note] = []
    for part in Part:
        lifted = _lifted(clip, part, until)
        starts = [start for start, _ in lifted]
        last: dict[int, Note] = {}
        for note in sorted(note for note in clip.notes if note.part is part and note.end > note.start):
            # The span that began before the note's end: a pedal pressed at that very time comes too late.
            index = bisect_left(starts, note.end) - 1
            end = max(note.end, lifted[index][1]) if index >= 0 and note.end <= lifted[index][1] else note.end
            previous = last.get(note.pitch)
            if previous is not None:
                heard.append(replace(previous, end=min(previous.end, note.start)))
            last[note.pitch] = replace(note, end=end)
        heard.extend(last.values())
    return sorted(note for note in heard if note.end > note.start)


def _lifted(clip: Clip, part: Part, until: float) -> list[tuple[float, float]]:
    """When `part` holds its pedal down, as (from, to) in seconds."""
    spans: list[tuple[float, float]] = []
    down: float | None = None
    for pedal in sorted((p for p in clip.pedals if p.part is part), key=lambda p: p.time):
        if pedal.down and down is None:
            down = pedal.time
        elif not pedal.down and down is not None:
            spans.append((down, pedal.time))
            down = None
    if down is not None:
        spans.append((down, max(until, down)))
    return spans


def pedal_spans(clip: Clip, part: Part) -> list[tuple[float, float]]:
    """When the pedal of `part` is down, as (from, to) in seconds; to the end where it never comes up."""
    return _lifted(clip, part, clip.duration)
