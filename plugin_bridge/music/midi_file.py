"""MIDI files in and out: all types, tempo maps, any division, overlapping notes, both pedal states.

What a file says wrongly is read as far as it is clear and refused, in one line that names the file, where
it is not: docs/midi-files.md lists both. The bytes are parsed by :mod:`plugin_bridge.music.midi_bytes`.
Writing is mido's. Its reader is not used here: a delta time that never ends takes it quadratic time (7 s
for 300 kB), each event costs it 300 bytes, a key signature that is wrong costs the whole file, and an
unknown meta event loses its delta time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mido

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.music.midi_bytes import RawFile, RawTrack, parse_midi

DRUM_CHANNEL = 9
LARGEST_FILE = 32 * 2**20
"""Bytes. A larger file is no piece of music: MIDI of a whole day's playing is a tenth of it."""
LONGEST_PIECE = 24 * 3600.0
"""Seconds."""
MOST_BEATS = 200_000
"""A day at 138 beats a minute."""

_DEFAULT_TEMPO = 500_000  # microseconds a quarter note, by the specification
_DIVISION = 480
_SAME_TIME = 1e-3  # seconds
_MOST_LEADING_BEATS = 10_000


@dataclass(frozen=True, slots=True)
class Track:
    """What one channel plays in one track. Note parts are all PARTNER until someone deals them out."""

    name: str
    channel: int
    notes: tuple[Note, ...]
    pedals: tuple[Pedal, ...]

    @property
    def is_drums(self) -> bool:
        return self.channel == DRUM_CHANNEL


@dataclass(frozen=True, slots=True)
class MidiFile:
    """A file as read. `beats` come from its tempo map and time signatures; `tempo_changes` counts the
    distinct tempos, which tells a beat map from a recording made at the default tempo."""

    path: Path
    tracks: tuple[Track, ...]
    beats: tuple[Beat, ...]
    chords: tuple[ChordSpan, ...]
    tempo_changes: int

    @property
    def note_count(self) -> int:
        return sum(len(track.notes) for track in self.tracks)

    def clip(self, part: Part = Part.PARTNER, *, drums: bool = False) -> Clip:
        """Everything pitched in one clip, played by `part`."""
        tracks = [track for track in self.tracks if drums or not track.is_drums]
        clip = Clip(
            tuple(sorted(note for track in tracks for note in track.notes)),
            tuple(sorted((p for track in tracks for p in track.pedals), key=lambda pedal: pedal.time)),
            self.chords,
            self.beats,
        )
        return clip.with_part(part)


def read_midi(path: Path) -> MidiFile:
    """Read a Standard MIDI File. Raises BridgeError, naming the file, when it cannot be."""
    data = _content(path)
    try:
        return _Reader(path, parse_midi(data)).read()
    except ValueError as error:
        raise BridgeError(
            f"{path}: not a readable MIDI file ({error}); export it again from your DAW"
        ) from error


def _content(path: Path) -> bytes:
    """The bytes of the file; no more than `LARGEST_FILE` are read, whatever the size it reports."""
    try:
        if path.is_dir():
            raise BridgeError(f"{path}: is a folder, not a MIDI file")
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise BridgeError(f"{path}: there is no such file") from error
    except PermissionError as error:
        raise BridgeError(f"{path}: you may not read this file; change its permissions") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BridgeError(f"{path}: cannot be read ({reason})") from error
    if len(data) > LARGEST_FILE:
        raise BridgeError(
            f"{path}: larger than {LARGEST_FILE >> 20} MB, which no piece of music is; split it"
        )
    return data


class _TempoMap:
    """Ticks to seconds by the file's tempo changes, or by its SMPTE division."""

    def __init__(self, division: int, changes: list[tuple[int, int]]) -> None:
        self._starts = [0]
        self._times = [0.0]
        if division < 0:  # SMPTE: frames a second in the high byte, negated; ticks a frame in the low one
            frames, per_frame = -(division >> 8), max(division & 0xFF, 1)
            ticks_a_second = (30000 / 1001 if frames == 29 else float(max(frames, 1))) * per_frame
            self.ticks_per_beat = max(round(ticks_a_second / 2), 1)  # a nominal beat at 120 a minute
            self._rates = [1.0 / ticks_a_second]
            return
        self.ticks_per_beat = max(division, 1)
        self._rates = [_DEFAULT_TEMPO * 1e-6 / self.ticks_per_beat]
        for tick, tempo in sorted(changes, key=lambda change: change[0]):
            rate = max(tempo, 1) * 1e-6 / self.ticks_per_beat
            if tick == self._starts[-1]:
                self._rates[-1] = rate
                continue
            self._times.append(self.seconds(tick))
            self._starts.append(tick)
            self._rates.append(rate)

    def seconds(self, tick: float) -> float:
        index = bisect_right(self._starts, tick) - 1
        return self._times[index] + (tick - self._starts[index]) * self._rates[index]


class _Reader:
    """Turns what the file says into tracks, beats and chords."""

    def __init__(self, path: Path, raw: RawFile) -> None:
        self.path = path
        self.raw = raw
        self.map = _TempoMap(raw.division, raw.tempos)
        self.last_note = 0  # in ticks
        self.last_tick = 0

    def read(self) -> MidiFile:
        tracks = tuple(track for source in self.raw.tracks for track in self._tracks(source))
        if self.map.seconds(self.last_tick) > LONGEST_PIECE:
            raise BridgeError(
                f"{self.path}: lasts more than a day, so its timing must be wrong; export it again"
            )
        return MidiFile(
            self.path,
            tracks,
            tuple(self._beats()),
            tuple(self._chords()),
            len({tempo for _, tempo in self.raw.tempos}),
        )

    def _tracks(self, source: RawTrack) -> Iterator[Track]:
        """One `Track` for each channel that plays in this track. Of several notes open on one key the
        oldest ends first; those that never end do so with the track."""
        notes: dict[int, list[Note]] = defaultdict(list)
        pedals: dict[int, list[Pedal]] = defaultdict(list)
        open_notes: dict[tuple[int, int], deque[tuple[float, int]]] = defaultdict(deque)
        tick = 0
        for tick, channel, pitch, velocity in source.keys:
            time = self.map.seconds(tick)
            waiting = open_notes[channel, pitch]
            if velocity > 0:
                waiting.append((time, velocity))
            elif waiting:
                start, struck = waiting.popleft()
                notes[channel].append(Note(start, time, pitch, struck))
        if any(open_notes.values()):
            tick = source.end
        time = self.map.seconds(tick)
        for (channel, pitch), waiting in open_notes.items():
            notes[channel] += [Note(start, time, pitch, struck) for start, struck in waiting]
        self.last_note = max(self.last_note, tick)
        self.last_tick = max(self.last_tick, tick)
        for tick, channel, value in source.pedals:
            down, lane = value >= 64, pedals[channel]
            if down != (lane[-1].down if lane else False):
                lane.append(Pedal(self.map.seconds(tick), down, Part.PARTNER))
                self.last_tick = max(self.last_tick, tick)
        for channel in sorted(notes.keys() | pedals.keys()):
            yield Track(source.name, channel, tuple(sorted(notes[channel])), tuple(pedals[channel]))

    def _beats(self) -> Iterator[Beat]:
        """Every beat from the start past the last note, by the time signatures. A metre that nobody
        plays in (0/4, 4/32, 65/8) is read as 4/4."""
        after_last = self.last_note + 4 * self.map.ticks_per_beat
        signatures = sorted(self.raw.signatures)  # of two at one tick the longer: some programs add a 1/4
        if not signatures or signatures[0][0] > 0:
            signatures.insert(0, (0, 4, 4))
        starts = [min(start, after_last) for start, _, _ in signatures] + [after_last]
        count = 0
        for (_, *metre), start, end in zip(signatures, starts, starts[1:], strict=False):
            playable = 1 <= metre[0] <= 64 and metre[1] in (1, 2, 4, 8, 16)
            numerator, denominator = metre if playable else (4, 4)
            step = max(self.map.ticks_per_beat * 4 // denominator, 1)
            count += -(-(end - start) // step)
            if count > MOST_BEATS:
                raise BridgeError(f"{self.path}: has more beats than a day of music; export it again")
            for index, tick in enumerate(range(start, end, step)):
                yield Beat(self.map.seconds(tick), index % numerator, numerator, 16 // denominator)

    def _chords(self) -> Iterator[ChordSpan]:
        """Markers that are chord symbols."""
        for tick, text in sorted(self.raw.markers, key=lambda marker: marker[0]):
            time = self.map.seconds(tick)
            if time > LONGEST_PIECE:
                return
            try:
                chord = parse_chord(text)
            except BridgeError:
                continue
            yield ChordSpan(time, chord)


def write_midi(clip: Clip, path: Path, *, tempo: float = 120.0) -> None:
    """Write a type 1 file: a conductor track (tempo, metre, chords as markers), then one track a part.

    Where the clip has beats its tempo map follows them, so that bars line up in a DAW; otherwise the
    tempo is `tempo` beats a minute. The file appears whole or not at all.
    """
    times = _BeatClock(clip.beats, tempo)
    midi = mido.MidiFile(type=1, ticks_per_beat=_DIVISION)
    conductor: list[tuple[int, int, Any]] = [
        (tick, 0, mido.MetaMessage("set_tempo", tempo=micros)) for tick, micros in times.tempos()
    ]
    for tick, numerator, denominator in times.signatures():
        signature = mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)
        conductor.append((tick, 1, signature))
    for span in clip.chords:
        text = "N.C." if span.chord is None else str(span.chord)
        conductor.append((times.tick(span.start), 2, mido.MetaMessage("marker", text=text)))
    midi.tracks.append(_track("Plugin Bridge", conductor))
    for part in Part:
        mine = clip.part(part)
        messages: list[tuple[int, int, Any]] = []
        for note in mine.notes:
            start, end = times.tick(note.start), times.tick(note.end)
            on = mido.Message("note_on", channel=part, note=note.pitch, velocity=note.velocity)
            off = mido.Message("note_off", channel=part, note=note.pitch, velocity=0)
            messages += [(start, 2, on), (max(end, start + 1), 0, off)]
        for pedal in mine.pedals:
            change = mido.Message("control_change", channel=part, control=64, value=127 * pedal.down)
            messages.append((times.tick(pedal.time), 1, change))
        midi.tracks.append(_track(part.name.lower(), messages))
    with atomic_path(path) as temporary:
        midi.save(temporary)


def _track(name: str, messages: list[tuple[int, int, Any]]) -> Any:
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    now = 0
    for tick, _, message in sorted(messages, key=lambda entry: entry[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track"))
    return track


class _BeatClock:
    """Seconds to ticks along a list of beats, or at a steady tempo where there is none.

    Tick 0 is 0 seconds. Time before the first beat is filled with whole beats, and a bar that is begun in
    the middle with a shorter metre, so that every bar line of the clip is one in the file.
    """

    def __init__(self, beats: tuple[Beat, ...], tempo: float) -> None:
        self.beats = _rising(beats)
        if len(self.beats) < 2:
            length = round(60e6 / tempo) * 1e-6  # as the file can say it, so that nothing drifts
            self.beats = [Beat(0.0, 0), Beat(length, 1)]
        first = self.beats[0]
        if first.time > _SAME_TIME:
            count = round(first.time / (self.beats[1].time - first.time))
            count = min(max(count, 1), _MOST_LEADING_BEATS)
            bar = first.beats_in_bar
            self.beats = [
                replace(first, time=first.time * index / count, number=(first.number - count + index) % bar)
                for index in range(count)
            ] + self.beats
        self.starts = [0]
        for beat in self.beats[:-1]:
            self.starts.append(self.starts[-1] + self._ticks(beat))
        self.times = [beat.time for beat in self.beats]

    @staticmethod
    def _ticks(beat: Beat) -> int:
        return _DIVISION * beat.sixteenths // 4

    def tick(self, seconds: float) -> int:
        index = min(max(bisect_right(self.times, seconds) - 1, 0), len(self.beats) - 2)
        length = self.times[index + 1] - self.times[index]
        passed = (seconds - self.times[index]) / length
        return max(round(self.starts[index] + passed * self._ticks(self.beats[index])), 0)

    def tempos(self) -> Iterator[tuple[int, int]]:
        last = 0
        for start, beat, after in zip(self.starts, self.beats, self.beats[1:], strict=False):
            micros = round((after.time - beat.time) * 1e6 * 4 / beat.sixteenths)
            if micros != last:
                yield start, min(max(micros, 1), 0xFFFFFF)
            last = micros

    def signatures(self) -> Iterator[tuple[int, int, int]]:
        """(tick, numerator, denominator) where the metre changes, the pickup bar's first."""
        last = (0, 0)
        first = self.beats[0]
        if first.number:
            last = ((-first.number) % first.beats_in_bar, 16 // first.sixteenths)
            yield 0, *last
        for start, beat in zip(self.starts, self.beats, strict=True):
            metre = (beat.beats_in_bar, 16 // beat.sixteenths)
            if metre != last and beat.number == 0:
                yield start, *metre
                last = metre


def _rising(beats: tuple[Beat, ...]) -> list[Beat]:
    """The beats from 0 seconds on, each later than the one before."""
    kept: list[Beat] = []
    for beat in beats:
        if beat.time > (kept[-1].time + _SAME_TIME if kept else -_SAME_TIME):
            kept.append(beat)
    return kept
