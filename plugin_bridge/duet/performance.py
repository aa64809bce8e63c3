"""The built-in performance: a short piece of our own for the demo, played with touch and pedal.

Two bars of the player, two bars left for an answer; the third phrase comes in early, so that the partner
has to yield. The chart is given, a chord a bar.
"""

from __future__ import annotations

import random
from dataclasses import replace

from plugin_bridge.music.chords import parse_progression
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.music.harmony import even_chart
from plugin_bridge.music.rhythm import steady_beats

TEMPO = 96.0
BAR = 4 * 60.0 / TEMPO
ROUND = 4 * BAR
PROGRESSION = "Dm7 G7 Cmaj7 Am7"

_Line = tuple[tuple[float, float, int, int], ...]
"""Beat, length in beats, pitch, velocity."""

_PHRASES: tuple[_Line, ...] = (
    ((0, 0.9, 74, 70), (1, 0.4, 77, 74), (1.5, 0.4, 76, 66), (2, 0.9, 74, 78), (3, 0.9, 69, 62),
     (4, 1.4, 71, 80), (5.5, 0.4, 74, 70), (6, 0.4, 72, 66), (6.5, 0.9, 71, 72)),
    ((0, 0.4, 69, 72), (0.5, 0.4, 72, 70), (1, 0.4, 74, 76), (1.5, 0.9, 77, 84), (2.5, 0.4, 76, 72),
     (3, 0.9, 74, 70), (4, 0.4, 77, 82), (4.5, 0.4, 76, 74), (5, 0.4, 74, 72), (5.5, 0.9, 71, 76),
     (6.5, 0.9, 67, 64)),
    ((0, 0.7, 81, 88), (0.75, 0.2, 79, 70), (1, 0.9, 77, 80), (2, 0.4, 76, 74), (2.5, 0.4, 74, 70),
     (3, 0.9, 72, 72),
     (4, 0.4, 71, 76), (4.5, 0.4, 74, 74), (5, 0.4, 77, 80), (5.5, 1.2, 79, 88)),
    ((0, 1.4, 77, 76), (1.5, 0.4, 76, 68), (2, 1.4, 74, 72), (3.5, 0.4, 72, 64), (4, 1.9, 71, 74),
     (6, 0.9, 67, 60)),
)  # fmt: skip
_LEFT: _Line = (
    (0, 3.6, 50, 50), (0.02, 3.5, 60, 44), (0.04, 3.5, 65, 46),
    (4, 3.2, 43, 52), (4.02, 3.1, 59, 44), (4.04, 3.1, 65, 45),
)  # fmt: skip


def performance(seconds: float) -> Clip:
    """The player's part, up to about `seconds` long, with its chart and beats; always the same."""
    touch = random.Random(96)  # noqa: S311 - the human unevenness of the touch
    beat = 60.0 / TEMPO
    notes: list[Note] = []
    pedals: list[Pedal] = []
    start, index = 0.0, 0
    while start + 2 * BAR <= max(seconds - BAR, 2.5 * BAR):
        for at, length, pitch, velocity in (*_PHRASES[index % len(_PHRASES)], *_LEFT):
            onset = max(start + at * beat + touch.gauss(0.0, 0.008), 0.0)
            loudness = min(max(velocity + round(touch.gauss(0, 3)), 1), 127)
            notes.append(Note(onset, onset + length * beat * 0.95, pitch, loudness, Part.PLAYER))
        for at in (0.1, 4.1):
            pedals.append(Pedal(start + at * beat, True, Part.PLAYER))
            pedals.append(Pedal(start + (at + 3.2) * beat, False, Part.PLAYER))
        early = index % len(_PHRASES) == 1  # the phrase after the second does not wait for its answer's end
        start += ROUND - (BAR if early else 0.0)
        index += 1
    end = start
    chart = even_chart(parse_progression(PROGRESSION), BAR, end=end)
    clip = Clip(tuple(sorted(notes)), tuple(pedals), chart.spans, steady_beats(TEMPO, end))
    return replace(clip, pedals=tuple(sorted(pedals, key=lambda pedal: pedal.time)))
