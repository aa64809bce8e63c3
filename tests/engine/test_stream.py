"""The stream keeps cache, grammar, encoder and random state together."""

from __future__ import annotations

import numpy as np
import pytest

from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.generation import Request, generate
from plugin_bridge.engine.stream import Stream
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import parse_progression
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.harmony import Chart, even_chart
from plugin_bridge.music.tokens import Decoder, encode, rows_from_events


def _play(stream: Stream, start: float, count: int) -> list[Event]:
    events = []
    while len(events) < count:
        event = stream.generate(not_before=start, until=stream.seconds + 30)
        if event is not None:
            events.append(event)
    return events


def _phrase(start: float) -> list[Event]:
    events: list[Event] = []
    for index, pitch in enumerate((60, 64, 67, 72)):
        events += [NoteOn(start + index * 0.25, pitch, 80), NoteOff(start + index * 0.25 + 0.2, pitch)]
    return events


def test_only_the_partner_plays_and_only_what_is_valid(style: Style) -> None:
    stream = Stream(Engine(style), seed=3)
    stream.hear(_phrase(0.5))
    events = _play(stream, 2.0, 300)
    assert {event.part for event in events} == {Part.PARTNER}
    assert min(event.time for event in events) >= 2.0
    decoder = Decoder()
    for token in encode(rows_from_events(events)).tolist():
        decoder.push(token)
    assert decoder.invalid == 0


def test_a_thousand_interruptions_leave_no_trace(exact_style: Style) -> None:
    """Random plans are made and taken back; what is played in the end is what would have been anyway."""
    rng = np.random.default_rng(0)
    plain, troubled = Stream(Engine(exact_style), seed=5), Stream(Engine(exact_style), seed=5)
    time, taken_back = 0.0, 0
    while taken_back < 1000:
        for stream in (plain, troubled):
            stream.hear(_phrase(time))
        for _ in range(10):
            mark = troubled.mark()
            _play(troubled, time + 1.0, int(rng.integers(1, 12)))
            if rng.random() < 0.3:
                troubled.hear([NoteOn(troubled.seconds, 100, 90)])
            assert troubled.can_rewind(mark)
            troubled.rewind(mark)
            taken_back += 1
        count = int(rng.integers(1, 6))
        assert _play(plain, time + 1.0, count) == _play(troubled, time + 1.0, count)
        time = plain.seconds + 0.5
    assert plain.engine.length == troubled.engine.length


def test_silence_passes_in_whole_seconds(style: Style) -> None:
    stream = Stream(Engine(style))
    stream.advance(3.7)
    assert stream.seconds == pytest.approx(3.0)
    event = _play(stream, 3.7, 1)[0]
    assert event.time >= 3.7


def test_an_event_from_the_past_is_put_at_the_end(style: Style) -> None:
    stream = Stream(Engine(style))
    stream.hear([NoteOn(2.0, 60, 80)])
    stream.hear([NoteOff(1.0, 60), Pedal(1.5, True)])
    assert stream.seconds == pytest.approx(2.0)


def test_the_same_request_gives_the_same_clip(style: Style) -> None:
    request = Request(tempo=120, bars=4, chords=tuple(parse_progression("C Am F G")), seed=4)
    first = generate(Engine(style), request)
    assert first == generate(Engine(style), request)
    assert first != generate(Engine(style), Request(tempo=120, bars=4, chords=request.chords, seed=5))
    assert len(first.notes) > 0
    assert all(note.end <= 8.0 + 1e-6 for note in first.notes)


def test_chord_bias_keeps_to_the_chords(style: Style) -> None:
    chords = tuple(parse_progression("Cmaj7"))
    clip = generate(Engine(style), Request(bars=8, chords=chords, chord_bias=20.0, seed=1))
    assert {note.pitch % 12 for note in clip.notes} <= {0, 4, 7, 11}


def test_a_prompt_comes_first_and_is_gone_on_from(style: Style) -> None:
    prompt = Clip(tuple(Note(i * 0.5, i * 0.5 + 0.4, 60 + i, 80) for i in range(5)))
    clip = generate(Engine(style), Request(tempo=120, bars=4, prompt=prompt, seed=2))
    assert [note.pitch for note in clip.notes[:5]] == [60, 61, 62, 63, 64]
    assert all(note.start >= 4.0 - 1e-6 for note in clip.notes[5:])
    assert len(clip.notes) > 5


@pytest.mark.parametrize("wrong", [{"tempo": 5}, {"bars": 0}, {"bars": 10**6}])
def test_requests_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(BridgeError):
        Request(**wrong)


def test_the_chart_is_followed_as_time_passes(style: Style) -> None:
    chart = even_chart(parse_progression("C F"), 1.0, end=10.0)
    with_chart, without = Stream(Engine(style), chart=chart), Stream(Engine(style), chart=Chart(()))
    logits = []
    for stream in (with_chart, without):
        stream.hear(_phrase(0.0))
        logits.append(stream.mark().logits)
    assert np.abs(logits[0] - logits[1]).max() > 1e-4
