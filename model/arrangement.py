"""From a MIDI file to a piece for training: parts dealt out, beats and chords found, all on the grid."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.errors import BridgeError
from plugin_bridge.music import tokens as codec
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.chords import Chord, parse_chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.music.midi_file import MidiFile, Track, read_midi

Dealt = Literal["tracks", "pitch", "solo"]

FEWEST_NOTES = 16
SCORE_VELOCITIES = 8
"""A file with fewer distinct velocities was not played: it teaches harmony, not touch."""

_MELODY = re.compile(r"melod|voice|vocal|vox|sing|solo|lead|sopran", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece in the form that training data keeps: `tokens` of both parts (uint16 [T], no bos, no eos),
    `beats` and `chords` in seconds, how the parts were dealt, and whether it was played with touch."""

    name: str
    tokens: codec.Tokens
    beats: tuple[Beat, ...]
    chords: tuple[ChordSpan, ...]
    dealt: Dealt
    has_touch: bool
    notes: int


def read_piece(path: Path, name: str) -> Piece:
    """Read one MIDI file and its sidecars. Raises BridgeError, with the reason, when it is of no use."""
    midi = read_midi(path)
    tracks = [track for track in midi.tracks if track.notes and not track.is_drums]
    notes = sum(len(track.notes) for track in tracks)
    if not tracks:
        raise BridgeError(f"{path}: only drums or no notes at all")
    if notes < FEWEST_NOTES:
        raise BridgeError(f"{path}: only {notes} notes; a piece needs at least {FEWEST_NOTES}")
    velocities = {note.velocity for track in tracks for note in track.notes}
    clip, dealt = deal_parts(tracks)
    chords = _chords(path, midi)
    beats = _beats(path, midi, bool(chords))
    clip = replace(clip, chords=chords, beats=beats)
    start = min(note.start for note in clip.notes)
    bar_start = max((b.time for b in beats if b.number == 0 and b.time <= start), default=start)
    clip = clip.shifted(-bar_start if start - bar_start < 4.0 else -start)
    rows = codec.rows_from_events(event for event in clip.events() if event.time >= 0)
    has_touch = len(velocities) >= SCORE_VELOCITIES
    return Piece(
        name, codec.encode(rows, velocities=has_touch), clip.beats, clip.chords, dealt, has_touch, notes
    )


def deal_parts(tracks: list[Track]) -> tuple[Clip, Dealt]:
    """Deal the music out: the melody, or the upper voices, to the player; the rest to the partner.

    With several tracks the one named as a melody (else the highest) is the melody. One track is split by
    pitch where its hands part. A single line stays whole, and is the partner's.
    """
    if len(tracks) > 1:
        named = [track for track in tracks if _MELODY.search(track.name)]
        melody = named[0] if named else max(tracks, key=_mean_pitch)
        upper = list(melody.notes)
        lower = [note for track in tracks if track is not melody for note in track.notes]
        dealt: Dealt = "tracks"
    else:
        notes = tracks[0].notes
        if is_monophonic(tracks[0]):
            upper, lower, dealt = [], list(notes), "solo"
        else:
            split = float(np.clip(np.median([note.pitch for note in notes]), 52, 68))
            upper = [note for note in notes if note.pitch >= split]
            lower = [note for note in notes if note.pitch < split]
            dealt = "pitch"
    player = [replace(note, part=Part.PLAYER) for note in upper]
    partner = [replace(note, part=Part.PARTNER) for note in lower]
    return Clip(tuple(sorted(player + partner)), merge_pedals([track.pedals for track in tracks])), dealt


def merge_pedals(lanes: list[tuple[Pedal, ...]]) -> tuple[Pedal, ...]:
    """Several pedal lanes as the one pedal of a piano: down while any of them is. Partner's."""
    changes = sorted((pedal.time, pedal.down, lane) for lane, pedals in enumerate(lanes) for pedal in pedals)
    down: set[int] = set()
    merged: list[Pedal] = []
    for time, is_down, lane in changes:
        before = bool(down)
        (down.add if is_down else down.discard)(lane)
        if bool(down) != before:
            merged.append(Pedal(time, bool(down), Part.PARTNER))
    return tuple(merged)


def _mean_pitch(track: Track) -> float:
    return float(np.mean([note.pitch for note in track.notes]))


def is_monophonic(track: Track) -> bool:
    """True when hardly two notes of the track sound together for more than 50 ms."""
    pairs = zip(track.notes, track.notes[1:], strict=False)
    overlaps = sum(first.end - second.start > 0.05 for first, second in pairs)
    return overlaps <= 0.05 * len(track.notes)


def _chords(path: Path, midi: MidiFile) -> tuple[ChordSpan, ...]:
    """Chords from a `.chords.txt` (start, end, label) or `.chords.tsv` (with a column of seconds) beside
    the file, else from its markers."""
    spans: list[ChordSpan] = []
    text = path.with_suffix(".chords.txt")
    table = path.with_suffix(".chords.tsv")
    if text.exists():
        for line in text.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split()
            if len(fields) >= 3:
                spans.append(_span(fields[0], fields[2]))
    elif table.exists():
        with table.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                seconds = row.get("sec") or row.get("second")
                label = row.get("chord") or row.get("label")
                if seconds is None or label is None:
                    break
                spans.append(_span(seconds, label))
    spans = sorted(spans, key=lambda span: span.start) or list(midi.chords)
    end = max((note.end for track in midi.tracks for note in track.notes), default=0.0)
    if spans and (spans[-1].start > end + 30.0 or spans[0].start > end):
        raise BridgeError(
            f"{path}: its chords reach {spans[-1].start:.0f} s but the music ends at {end:.0f} s"
        )
    merged: list[ChordSpan] = []
    for span in spans:
        if not merged or merged[-1].chord != span.chord:
            merged.append(span)
    return tuple(merged)


def _span(seconds: str, label: str) -> ChordSpan:
    chord: Chord | None
    try:
        chord = parse_chord(label)
    except BridgeError:
        chord = None
    try:
        start = float(seconds)
    except ValueError as error:
        raise BridgeError(f"chord sidecar: {seconds!r} is not a time in seconds") from error
    if not np.isfinite(start):
        raise BridgeError(f"chord sidecar: {seconds!r} is not a time in seconds")
    return ChordSpan(start, chord)


def _beats(path: Path, midi: MidiFile, has_chords: bool) -> tuple[Beat, ...]:
    """Beats from a `.beats.txt` beside the file (time, ..., downbeat of a four-beat bar), else from the
    tempo map where the music really follows it."""
    sidecar = path.with_suffix(".beats.txt")
    if sidecar.exists():
        table = np.loadtxt(sidecar, ndmin=2)
        if table.shape[1] < 2:
            raise BridgeError(f"{path}: {sidecar.name} needs a time and a downbeat column")
        if not (np.isfinite(table).all() and (np.diff(table[:, 0]) >= 0).all()):
            raise BridgeError(f"{path}: the beats in {sidecar.name} are not in order of time")
        return _beats_from_table(table[:, 0], table[:, -1] > 0.5)
    onsets = np.array([note.start for track in midi.tracks for note in track.notes])
    annotated = midi.tempo_changes >= SCORE_VELOCITIES and has_chords
    if len(midi.beats) >= 2 and (annotated or aligned_share(onsets, midi.beats) >= 0.7):
        return midi.beats
    return ()


def _beats_from_table(times: NDArray[np.float64], downbeats: NDArray[np.bool_]) -> tuple[Beat, ...]:
    starts = np.nonzero(downbeats)[0]
    if len(starts) < 2:
        return ()
    in_bar = int(np.clip(np.median(np.diff(starts)), 1, 16))
    beats, number = [], int(-starts[0] % in_bar)
    for time, down in zip(times.tolist(), downbeats.tolist(), strict=True):
        number = 0 if down else number
        beats.append(Beat(time, number % in_bar, in_bar))
        number += 1
    return tuple(beats)


def aligned_share(onsets: NDArray[np.float64], beats: tuple[Beat, ...]) -> float:
    """The share of onsets within a hundredth of a beat of a twelfth of a beat; chance gives about 0.24."""
    times = np.array([beat.time for beat in beats])
    index = np.clip(np.searchsorted(times, onsets, side="right") - 1, 0, len(times) - 2)
    passed = (onsets - times[index]) / np.maximum(np.diff(times)[index], 1e-6) * 12
    return float((np.abs(passed - np.round(passed)) < 0.12).mean()) if len(onsets) else 0.0


def seconds_of(tokens: codec.Tokens) -> float:
    """The length of a token stream in seconds."""
    return float(codec.ticks(tokens)[-1]) * v.TICK_SECONDS if len(tokens) else 0.0
