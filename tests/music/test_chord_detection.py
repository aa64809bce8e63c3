"""Chords heard in what is played: live, as events come, and in finished clips."""

from __future__ import annotations

import pytest
from hypothesis import given
from music_strategies import clips

from plugin_bridge.music.chord_detection import ChordDetector, detect_chords
from plugin_bridge.music.chords import QUALITIES, Chord
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.rhythm import steady_beats

C, AM, F, G = (48, 64, 67, 72), (45, 64, 69, 72), (41, 65, 69, 72), (43, 62, 67, 71)


def block(start: float, end: float, pitches: tuple[int, ...], part: Part = Part.PLAYER) -> list[Note]:
    return [Note(start, end, pitch, 80, part) for pitch in pitches]


def piece(*chords: tuple[int, ...], seconds: float = 2.0) -> Clip:
    notes = [n for i, chord in enumerate(chords) for n in block(i * seconds, (i + 1) * seconds, chord)]
    return Clip(tuple(sorted(notes)))


def listen(events: list[Event]) -> ChordDetector:
    detector = ChordDetector()
    for event in events:
        detector.hear(event)
    return detector


def answers(clip: Clip, times: list[float]) -> list[str]:
    """What a live detector says at `times`, each asked before any later event is heard."""
    detector, events, said = ChordDetector(), clip.events(), []
    for time in times:
        while events and events[0].time <= time:
            detector.hear(events.pop(0))
        said.append(str(detector.chord_at(time)))
    return said


def names(clip: Clip, **options: object) -> list[tuple[float, str]]:
    return [(round(span.start, 3), str(span.chord)) for span in detect_chords(clip, **options)]


@pytest.mark.parametrize("root", range(12))
@pytest.mark.parametrize("quality", QUALITIES)
def test_every_chord_in_root_position_is_heard_as_it_is_rare_ones_when_struck_again(
    quality: str, root: int
) -> None:
    strikes = {"6": 2, "m6": 2, "mmaj7": 2, "5": 6}.get(quality, 1)
    pitches = tuple(40 + root + step for step in (*QUALITIES[quality], 12))
    clip = Clip(tuple(note for i in range(strikes) for note in block(i, i + 0.9, pitches)))
    heard = listen(clip.events()).chord_at(strikes - 0.9)
    assert heard is not None
    assert (heard.root_class, heard.quality, heard.bass) == ((40 + root) % 12, quality, None)


@pytest.mark.parametrize("higher", [-5, 0, 5])
@pytest.mark.parametrize(
    ("above", "quality", "strikes"),
    [
        ((60, 64, 67), "", 1), ((64, 67, 72), "", 1), ((63, 67, 72), "m", 1),
        ((64, 67, 71), "maj7", 3), ((60, 64, 67, 71), "maj7", 3), ((60, 64, 67, 70), "7", 3),
        ((64, 67, 70), "7", 3), ((60, 63, 67, 70), "m7", 3), ((60, 64, 67, 69), "6", 6),
        ((60, 63, 67, 69), "m6", 6), ((60, 63, 67, 71), "mmaj7", 6), ((60, 67), "5", 6),
    ],
)  # fmt: skip
def test_a_right_hand_above_middle_c_is_heard_over_a_bass_that_stays(
    above: tuple[int, ...], quality: str, strikes: int, higher: int
) -> None:
    clip = Clip(
        tuple(n for i in range(6) for n in block(i, i + 0.95, tuple(p + higher for p in (48, *above))))
    )
    wanted = str(Chord("C", quality).transposed(higher))
    assert answers(clip, [strikes - 0.5]) == [wanted]
    assert names(clip) == [(0.0, wanted)]


def test_nothing_is_reported_before_the_first_note_nor_before_its_group_is_complete() -> None:
    detector = ChordDetector()
    assert detector.chord_at(0.5) is None
    for index, pitch in enumerate(C):
        detector.hear(NoteOn(1.0 + 0.005 * index, pitch, 80))
    assert detector.chord_at(1.02) is None
    assert str(detector.chord_at(1.05)) == "C"


def test_a_new_chord_is_reported_within_150_ms_of_its_notes() -> None:
    clip = piece(C, AM, F, G)
    assert answers(clip, [1.9, 2.15, 4.15, 6.15]) == ["C", "Am", "F", "G"]


def test_a_broken_chord_with_its_bass_first_is_known_once_its_third_has_sounded() -> None:
    before = block(0.0, 2.0, C)
    broken = [Note(2.0 + 0.25 * i, 4.0, pitch, 80) for i, pitch in enumerate((44, 60, 63, 68))]
    assert answers(Clip(tuple(before + broken)), [2.75]) == ["Ab"]


def test_passing_notes_above_do_not_change_the_chord() -> None:
    scale = [
        Note(0.25 * i, 0.25 * i + 0.2, pitch, 70) for i, pitch in enumerate((72, 74, 76, 77, 79, 81, 83, 84))
    ]
    clip = Clip(tuple(sorted(block(0.0, 2.0, (36, 48, 55, 64)) + scale)))
    assert set(answers(clip, [0.05 * i for i in range(2, 40)])) == {"C"}
    assert names(clip) == [(0.0, "C")]


def test_a_passing_bass_note_does_not_change_a_chord_that_sounds_on() -> None:
    clip = Clip(
        tuple(sorted([*block(0.0, 4.0, (36, 60, 64, 67)), Note(1.5, 1.7, 38, 60), Note(1.7, 4.0, 40, 60)]))
    )
    assert {chord.split("/")[0] for chord in answers(clip, [1.0, 1.6, 1.8, 2.5])} == {"C"}


def test_the_pedal_keeps_notes_in_the_chord_that_the_keys_have_let_go() -> None:
    def arpeggio(pedal: bool) -> str:
        events: list[Event] = [Pedal(0.0, pedal)]
        for i, pitch in enumerate((45, 60, 64)):
            events += [NoteOn(0.4 * i, pitch, 80), NoteOff(0.4 * i + 0.05, pitch)]
        detector = listen(events)
        return str(detector.chord_at(1.6)) if detector.chord_at(6.0) else "silence"

    assert arpeggio(True) == "Am"
    assert arpeggio(False) == "silence"


def test_each_part_has_its_own_pedal() -> None:
    events: list[Event] = [Pedal(0.0, True, Part.PARTNER)]
    events += [NoteOn(0.0, pitch, 80, Part.PLAYER) for pitch in C]
    events += [NoteOff(0.5, pitch, Part.PLAYER) for pitch in C]
    assert listen(events).chord_at(4.0) is None


def test_a_rest_keeps_the_chord_and_a_long_silence_ends_it() -> None:
    detector = listen(piece(C).events())
    assert str(detector.chord_at(4.0)) == "C"
    heard = detector.heard_at(5.5)
    assert (heard.chord, heard.since) == (None, pytest.approx(5.0))


def test_after_a_silence_the_old_chord_does_not_come_back() -> None:
    detector = listen(piece(C).events())
    for pitch in G:
        detector.hear(NoteOn(20.0, pitch, 80))
    assert detector.chord_at(20.01) is None
    assert str(detector.chord_at(20.1)) == "G"


@pytest.mark.parametrize(
    ("pitches", "symbol"),
    [
        ((40, 60, 67, 72), "C/E"),
        ((43, 60, 64, 72), "C/G"),
        ((48, 57, 64, 69), "Am/C"),
        ((45, 60, 64, 67), "Am7"),
        ((48, 55, 57, 64), "C6"),
    ],
)
def test_the_bass_decides_inversions_and_roots(pitches: tuple[int, ...], symbol: str) -> None:
    thrice = piece(pitches, pitches, pitches, seconds=1.0)
    assert answers(thrice, [2.2]) == [symbol]
    assert names(thrice) == [(0.0, symbol)]


def test_a_bare_fifth_takes_its_third_from_what_was_played_before() -> None:
    fifth = (45, 52, 57)
    assert answers(piece(AM, F, C, fifth), [6.2]) == ["Am"]
    assert answers(piece((45, 61, 64, 69), (38, 62, 66, 69), (40, 64, 68, 71), fifth), [6.2]) == ["A"]


def test_asking_changes_no_later_answer() -> None:
    clip = piece(C, AM, F, G, C, seconds=0.7)
    times = [0.5, 1.0, 1.9, 2.5, 3.3]
    often = sorted([*times, *(0.013 * i for i in range(260))])
    said = dict(zip(often, answers(clip, often), strict=True))
    assert [said[time] for time in times] == answers(clip, times)


def test_how_likely_the_chord_is_tells_a_full_chord_from_a_lone_note() -> None:
    lone, full = ChordDetector(), ChordDetector()
    lone.hear(NoteOn(0.0, 64, 80))
    for pitch in C:
        full.hear(NoteOn(0.0, pitch, 80))
    assert lone.heard_at(0.1).probability < 0.4
    assert full.heard_at(0.1).probability > 0.7


def test_a_progression_is_found_where_it_changes() -> None:
    clip = piece(C, AM, F, G, C)
    expected = [(0.0, "C"), (2.0, "Am"), (4.0, "F"), (6.0, "G"), (8.0, "C")]
    assert names(clip) == expected
    assert names(clip, beats=steady_beats(120, 12)) == expected


def test_chords_that_return_after_a_long_rest_have_no_chord_between_them() -> None:
    clip = Clip(tuple(block(0.0, 2.0, C) + block(10.0, 12.0, C)))
    assert names(clip) == [(0.0, "C"), (2.0, "None"), (10.0, "C")]


def test_transposed_music_has_transposed_chords() -> None:
    for up in range(1, 12):
        chords = [tuple(pitch + up - 6 for pitch in chord) for chord in (C, AM, F, G)]
        expected = [
            Chord(root, quality).transposed(up - 6)
            for root, quality in (("C", ""), ("A", "m"), ("F", ""), ("G", ""))
        ]
        assert [span.chord for span in detect_chords(piece(*chords))] == expected


def test_an_empty_clip_has_no_chords() -> None:
    assert detect_chords(Clip()) == []


@given(clips(on_grid=False))
def test_any_performance_is_heard_without_a_fault(clip: Clip) -> None:
    detector = listen(clip.events())
    heard = detector.heard_at(clip.duration + 1)
    assert 0.0 <= heard.probability <= 1.0 + 1e-9
    spans = detect_chords(clip)
    starts = [span.start for span in spans]
    assert starts == sorted(starts)
    assert bool(spans) == bool(any(note.end > note.start for note in clip.notes))
