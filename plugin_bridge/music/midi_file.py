"""MIDI files in and out: all types, tempo maps, any division, overlapping notes, both pedal states.

Parsing is mido's. What a file says wrongly is read as far as it is clear and refused, in one line that
names the file, where it is not.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mido

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip, Note
from plugin_bridge.music.events import Part, Pedal

DRUM_CHANNEL = 9
LARGEST_FILE = 32 * 2**20
"""Bytes. A larger file is no piece of music: MIDI of a whole day's playing is a tenth of it."""
LONGEST_PIECE = 24 * 3600.0
"""Seconds."""

_DEFAULT_TEMPO = 500_000  # microseconds a quarter note, by the specification
_DIVISION = 480


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
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BridgeError(
                f"{path}: larger than {LARGEST_FILE >> 20} MB, which no piece of music is; split it"
            )
        parsed = mido.MidiFile(path, clip=True)
    except FileNotFoundError as error:
        raise BridgeError(f"{path}: there is no such file") from error
    except IsADirectoryError as error:
        raise BridgeError(f"{path}: is a folder, not a MIDI file") from error
    except BridgeError:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        struct.error,
        mido.midifiles.meta.KeySignatureError,
    ) as error:
        reason = str(error) or "the file ends too early"
        raise BridgeError(
            f"{path}: not a readable MIDI file ({reason}); export it again from your DAW"
        ) from error
    try:
        return _Reader(path, parsed).read()
    except (ValueError, OverflowError, ZeroDivisionError, MemoryError) as error:
        raise BridgeError(
            f"{path}: its timing makes no sense ({error}); export it again from your DAW"
        ) from error


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
    """Turns mido's messages into tracks, beats and chords."""

    def __init__(self, path: Path, parsed: Any) -> None:
        self.path = path
        self.parsed = parsed
        self.tempos: list[tuple[int, int]] = []
        self.signatures: list[tuple[int, int, int]] = []
        self.markers: list[tuple[int, str]] = []
        self.last_tick = 0
        self._scan_metas()
        self.map = _TempoMap(parsed.ticks_per_beat, self.tempos)

    def read(self) -> MidiFile:
        if self.map.seconds(self.last_tick) > LONGEST_PIECE:
            raise BridgeError(
                f"{self.path}: lasts more than a day, so its timing must be wrong; export it again"
            )
        tracks = [track for source in self.parsed.tracks for track in self._tracks(source)]
        return MidiFile(
            self.path,
            tuple(tracks),
            tuple(self._beats()),
            tuple(self._chords()),
            len({t for _, t in self.tempos}),
        )

    def _scan_metas(self) -> None:
        for track in self.parsed.tracks:
            tick = 0
            for message in track:
                tick += message.time
                if message.type == "set_tempo":
                    self.tempos.append((tick, message.tempo))
                elif message.type == "time_signature":
                    self.signatures.append((tick, message.numerator, message.denominator))
                elif message.type == "marker":
                    self.markers.append((tick, message.text))
                elif message.type in ("note_on", "note_off"):
                    self.last_tick = max(self.last_tick, tick)

    def _tracks(self, source: Any) -> Iterator[Track]:
        """One `Track` for each channel that plays in this track."""
        notes: dict[int, list[Note]] = defaultdict(list)
        pedals: dict[int, list[Pedal]] = defaultdict(list)
        open_notes: dict[tuple[int, int], deque[tuple[float, int]]] = defaultdict(deque)
        name, tick, time = "", 0, 0.0

        def close(channel: int, pitch: int) -> None:
            start, velocity = open_notes[channel, pitch].popleft()
            notes[channel].append(Note(start, max(time, start), pitch, velocity))

        for message in source:
            tick += message.time
            if message.type == "track_name":
                name = name or message.name.strip()
            elif message.type in ("note_on", "note_off"):
                time = self.map.seconds(tick)
                if message.type == "note_on" and message.velocity > 0:
                    open_notes[message.channel, message.note].append((time, message.velocity))
                elif open_notes[message.channel, message.note]:
                    close(message.channel, message.note)  # the oldest first
            elif message.type == "control_change" and message.control == 64:
                down = message.value >= 64
                lane = pedals[message.channel]
                if down != (lane[-1].down if lane else False):
                    lane.append(Pedal(self.map.seconds(tick), down, Part.PARTNER))
        for (channel, pitch), waiting in open_notes.items():
            while waiting:
                close(channel, pitch)
        for channel in sorted(notes.keys() | pedals.keys()):
            yield Track(name, channel, tuple(sorted(notes[channel])), tuple(pedals[channel]))

    def _beats(self) -> Iterator[Beat]:
        """Every beat from the start past the last note, by the time signatures."""
        signatures = sorted(self.signatures) or [(0, 4, 4)]
        if signatures[0][0] > 0:
            signatures.insert(0, (0, 4, 4))
        ends = [signature[0] for signature in signatures[1:]] + [self.last_tick + 4 * self.map.ticks_per_beat]
        for (start, numerator, denominator), end in zip(signatures, ends, strict=True):
            if not 1 <= numerator <= 64 or denominator not in (1, 2, 4, 8, 16):
                numerator, denominator = 4, 4
            step = max(self.map.ticks_per_beat * 4 // denominator, 1)
            if (end - start) / step > 200_000:
                raise BridgeError(f"{self.path}: has more beats than a day of music; export it again")
            for index, tick in enumerate(range(start, end, step)):
                yield Beat(self.map.seconds(tick), index % numerator, numerator, 16 // denominator)

    def _chords(self) -> Iterator[ChordSpan]:
        """Markers that are chord symbols."""
        for tick, text in sorted(self.markers):
            try:
                chord = parse_chord(text)
            except BridgeError:
                continue
            yield ChordSpan(self.map.seconds(tick), chord)


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
    """Seconds to ticks along a list of beats, or at a steady tempo where there is none."""

    def __init__(self, beats: tuple[Beat, ...], tempo: float) -> None:
        self.beats = [b for i, b in enumerate(beats) if i == 0 or b.time > beats[i - 1].time + 1e-3]
        if len(self.beats) < 2:
            self.beats = [Beat(0.0, 0), Beat(60.0 / tempo, 1)]
        first = self.beats[0]
        length = self.beats[1].time - first.time
        lead = first.time / length  # time before the first beat runs at the first beat's tempo
        self.offset = round(lead * self._ticks(first))
        self.starts = [self.offset]
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
        for index, beat in enumerate(self.beats[:-1]):
            length = self.times[index + 1] - self.times[index]
            micros = round(length * 1e6 * 4 / beat.sixteenths)
            if micros != last:
                yield (0 if index == 0 else self.starts[index]), min(max(micros, 1), 0xFFFFFF)
            last = micros

    def signatures(self) -> Iterator[tuple[int, int, int]]:
        last = (0, 0)
        for index, beat in enumerate(self.beats):
            metre = (beat.beats_in_bar, 16 // beat.sixteenths)
            if metre != last and (beat.number == 0 or index == 0):
                yield (0 if index == 0 and beat.number == 0 else self.starts[index]), *metre
                last = metre
