"""Small pieces of music made up for the tests of data and training."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np

from model.dataset import Source
from model.prepare import BEAT, CHORD, chord_row
from plugin_bridge.music import tokens as codec
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.clip import ChordSpan, Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.music.midi_file import write_midi
from plugin_bridge.music.rhythm import steady_beats

PROGRESSION = ("C", "Am7", "F/A", "G7", "N.C.", "Dm7b5")


class Inline(Executor):
    """Runs what it is given at once, in this thread."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def duet_clip(bars=8, seed=0, *, played=True, chords=True, beats=True):
    """`bars` bars of 2 s: a melody above 60 for the player, chords below for the partner, each bar one chord
    of `PROGRESSION`, a pedal a bar. `played`: with velocities of a hand."""
    rng = np.random.default_rng(seed)
    notes, pedals, spans = [], [], []
    for bar in range(bars):
        at = 2.0 * bar
        chord = parse_chord(PROGRESSION[bar % len(PROGRESSION)])
        spans.append(ChordSpan(at, chord))
        root = 48 if chord is None else 43 + (chord.root_class - 43) % 12
        for step in (0, 4, 7):
            velocity = int(rng.integers(40, 90)) if played else 80
            notes.append(Note(at, at + 1.8, root + step, velocity, Part.PARTNER))
        for quarter in range(4):
            velocity = int(rng.integers(50, 120)) if played else 80
            start = at + 0.5 * quarter
            notes.append(Note(start, start + 0.4, int(rng.integers(62, 84)), velocity, Part.PLAYER))
        pedals += [Pedal(at + 0.1, True, Part.PARTNER), Pedal(at + 1.7, False, Part.PARTNER)]
    return Clip(
        tuple(sorted(notes)),
        tuple(pedals),
        tuple(spans) if chords else (),
        steady_beats(120, 2.0 * bars) if beats else (),
    )


def source_of(clip, name="piece", *, source="made", dealt="tracks", has_touch=True):
    """A clip as the stored piece that `prepare` would make of it."""
    beats = np.array([(b.time, b.number, b.beats_in_bar, b.sixteenths) for b in clip.beats], BEAT)
    chords = np.array([chord_row(span) for span in clip.chords], CHORD)
    body = codec.encode(codec.rows_from_events(clip.events()), velocities=has_touch)
    return Source(name, source, dealt, has_touch, body, beats, chords)


def write_pieces(folder: Path, names, bars=8, **options):
    """One MIDI file, all different, for each of `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        write_midi(duet_clip(bars, seed, **options), folder / f"{name}.mid")
    return folder
