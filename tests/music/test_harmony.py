"""Charts and the window of chords around a moment."""

from __future__ import annotations

import pytest

from plugin_bridge.music.chords import parse_chord, parse_progression
from plugin_bridge.music.clip import ChordSpan, Clip, Note
from plugin_bridge.music.events import Part
from plugin_bridge.music.harmony import NO_QUALITY, NO_ROOT, Chart, chord_ids, chord_tone_rate, even_chart

CHART = even_chart(parse_progression("C F G7"), 2.0, end=12.0)


def test_repeats_are_one_span_and_order_does_not_matter() -> None:
    spans = [
        ChordSpan(4.0, parse_chord("F")),
        ChordSpan(0.0, parse_chord("C")),
        ChordSpan(2.0, parse_chord("C")),
    ]
    assert [(span.start, str(span.chord)) for span in Chart.of(spans).spans] == [(0.0, "C"), (4.0, "F")]


@pytest.mark.parametrize(
    ("seconds", "symbol"),
    [(0.0, "C"), (1.99, "C"), (1.996, "F"), (2.0, "F"), (5.0, "G7"), (6.0, "C"), (99.0, "G7")],
)
def test_the_chord_at_a_moment(seconds: float, symbol: str) -> None:
    assert str(CHART.chord(seconds)) == symbol


def test_before_the_chart_there_is_none() -> None:
    late = even_chart(parse_progression("C"), 1.0, start=5.0, end=6.0)
    assert late.chord(1.0) is None
    assert late.index(1.0) == -1
    assert late.window(-1, 4, 11) is None


def test_the_window_looks_behind_and_ahead() -> None:
    window = CHART.window(1, 2, 3)
    c, f, g7 = (chord_ids(parse_chord(symbol)) for symbol in ("C", "F", "G7"))
    assert window == (None, c, f, g7, c, f)
    assert CHART.window(len(CHART.spans) - 1, 1, 2) == (f, g7, None, None)


def test_no_chord_is_a_chord_of_its_own() -> None:
    assert chord_ids(None) == (NO_ROOT, NO_QUALITY, NO_ROOT)
    silent = even_chart(parse_progression("C N.C."), 1.0, end=2.0)
    assert [span.chord is None for span in silent.spans] == [False, True]


def test_chord_tone_rate_weighs_by_time() -> None:
    notes = (Note(0.0, 1.0, 60, 80), Note(1.0, 1.5, 61, 80), Note(0.0, 9.0, 66, 80, Part.PLAYER))
    assert chord_tone_rate(Clip(notes, chords=CHART.spans)) == pytest.approx(1.0 / 1.5)
    assert chord_tone_rate(Clip(notes)) is None
    assert chord_tone_rate(Clip((), chords=CHART.spans)) is None
