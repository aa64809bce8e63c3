"""The host's transport, from its MIDI clock: whether it plays, how fast, and where it is.

After the MIDI 1.0 detailed specification (system common and system real time messages): 24 timing clocks a
quarter note; a start or continue takes effect with the next clock, which is the position told (0, or the
song position pointer in sixteenths); from there the position is the count of clocks. All else is passed over.

No threads, no timers, no clock of its own: `HostClock.hear` takes whole messages and their times,
`HostClock.at` says in a frozen `Timeline` what is known at a time. One thread owns the `HostClock`; a
`Timeline` may go anywhere.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from plugin_bridge.music.clip import Beat
from plugin_bridge.music.rhythm import UNKNOWN, metrical_positions
from plugin_bridge.ports.clock_line import RecentClocks

CLOCKS_A_QUARTER = 24
TIMEOUT = 0.5
"""Seconds without a clock after which the host is gone: two clocks at 10 beats a minute."""

_FORGET = 10.0  # seconds without a clock after which it is another host: it plays when it says so
_EDGE = 1e-6  # quarters: a moment this much after a beat is on it


class BeatLine(Protocol):
    """What maps time to musical position and back; None where it is not known."""

    def position(self, time: float) -> float | None:
        """Quarter notes at `time` seconds."""

    def time_of(self, position: float) -> float | None:
        """Seconds at which `position` (quarter notes) is reached."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The transport as known at one moment. Times are seconds of the program's clock, positions quarter
    notes from the start of the song.

    `tempo` is in quarter notes a minute, None while too few clocks have come; `alive` says that clocks come.
    Positions told by two timelines of one `generation` lie on one run of the transport, tempo changes
    included; every start, stop, jump and loss of the host begins another. A bar has `beats_in_bar` beats
    of `sixteenths` sixteenths each.
    """

    playing: bool = False
    alive: bool = False
    tempo: float | None = None
    generation: int = 0
    anchor_time: float = 0.0
    anchor_position: float = 0.0
    beats_in_bar: int = 4
    sixteenths: int = 4

    def position(self, time: float) -> float | None:
        """Quarter notes at `time`: where it stands while it stands, None while it plays at no tempo known."""
        if not self.playing:
            return self.anchor_position
        if self.tempo is None:
            return None
        return self.anchor_position + (time - self.anchor_time) * self.tempo / 60

    def time_of(self, position: float) -> float | None:
        """Seconds at which `position` is or was reached if nothing changes; None unless it plays."""
        if not self.playing or self.tempo is None:
            return None
        return self.anchor_time + (position - self.anchor_position) * 60 / self.tempo

    def next_beat(self, time: float) -> float | None:
        """Seconds of the first beat at or after `time`."""
        return self._next(time, self.sixteenths / 4)

    def next_bar(self, time: float) -> float | None:
        """Seconds of the first bar line at or after `time`."""
        return self._next(time, self.beats_in_bar * self.sixteenths / 4)

    def _next(self, time: float, length: float) -> float | None:
        position = self.position(time)
        return None if position is None else self.time_of(math.ceil((position - _EDGE) / length) * length)

    def beats(self, start: float, end: float) -> tuple[Beat, ...]:
        """The beats from the last one by `start` to the first after `end` (seconds), in the form that clips
        have; none unless it plays."""
        length = self.sixteenths / 4
        first, last = self.position(start), self.position(end)
        if not self.playing or first is None or last is None:
            return ()
        found = []
        for number in range(math.floor(first / length), math.floor(last / length) + 2):
            time = self.time_of(number * length)
            assert time is not None
            found.append(Beat(time, number % self.beats_in_bar, self.beats_in_bar, self.sixteenths))
        return tuple(found)

    def metre_id(self, time: float) -> int:
        """The sixteenth of the bar at `time`, counted from 1, as the model is told it; 0 unless it plays."""
        beats = self.beats(time, time)
        return int(metrical_positions(np.array([time]), beats)[0]) if beats else UNKNOWN


_TIMELINE = struct.Struct("<BBdqddHH")
"""Playing, alive, tempo (NaN: none), generation, anchor time and position, beats, sixteenths."""


def timeline_to_bytes(line: Timeline) -> bytes:
    """`line` in a form to keep."""
    tempo = math.nan if line.tempo is None else line.tempo
    return _TIMELINE.pack(
        line.playing, line.alive, tempo, line.generation, line.anchor_time, line.anchor_position,
        line.beats_in_bar, line.sixteenths,
    )  # fmt: skip


def timeline_from_bytes(data: bytes) -> Timeline:
    """What `timeline_to_bytes` made. ValueError for anything else."""
    try:
        playing, alive, tempo, *rest = _TIMELINE.unpack(data)
    except struct.error:
        raise ValueError("these bytes are no timeline") from None
    line = Timeline(bool(playing), bool(alive), None if math.isnan(tempo) else tempo, *rest)
    if not (line.beats_in_bar > 0 < line.sixteenths) or (line.tempo is not None and not line.tempo > 0):
        raise ValueError("these bytes are no timeline")
    return line


def pull_to_grid(
    time: float, amount: float, grid: float, line: BeatLine, earliest: float = -math.inf
) -> float:
    """`time` (seconds) moved by `amount` (0 not at all, 1 wholly) towards the nearest multiple of `grid`
    quarter notes on `line`, or the first one from `earliest` seconds on where that is before. Where the line
    knows nothing the time stays as it is.

    ValueError when amount is not 0 to 1 or grid not above 0.
    """
    if not 0 <= amount <= 1 or not grid > 0:
        raise ValueError(f"amount {amount} is not 0 to 1, or grid {grid} not above 0")
    position = line.position(time)
    if position is None:
        return time
    target = line.time_of(round(position / grid) * grid)
    if target is not None and target < earliest:
        first = line.position(earliest)
        target = None if first is None else line.time_of(math.ceil((first - _EDGE) / grid) * grid)
    return time if target is None else max(time + amount * (target - time), min(time, earliest))


class HostClock:
    """Follows one host. `beats_in_bar` and `sixteenths` a beat are the user's, for MIDI clock tells no metre;
    `timeout` is the silence, in seconds, after which the host counts as gone."""

    def __init__(self, beats_in_bar: int = 4, sixteenths: int = 4, timeout: float = TIMEOUT) -> None:
        self.beats_in_bar, self.sixteenths, self.timeout = beats_in_bar, sixteenths, timeout
        self._generation = 0
        self._playing = False
        self._armed = False  # started, and waiting for the clock that it starts with
        self._last: float | None = None  # when the last clock came
        self._base = 0, 0.0  # a clock's number and its position; standing: the position of the next start
        self._clocks = RecentClocks()

    def hear(self, message: Sequence[int], time: float) -> None:
        """Take one whole message that came at `time` seconds. Nothing raises; what is not ours is nothing."""
        if len(message) > 3 or not math.isfinite(time):
            return
        match tuple(message):
            case (0xF8,):
                self._clock(time if self._last is None else max(time, self._last))
            case (0xFA,):
                self._begin(time, 0.0)
            case (0xFB,):
                self._begin(time, None)
            case (0xFC,):
                self._stop()
            case (0xF2, low, high) if 0 <= low <= 127 and 0 <= high <= 127:
                self._locate((high << 7 | low) / 4)

    def at(self, time: float) -> Timeline:
        """What is known at `time` seconds, which is not before the last message."""
        alive = not self._gone(time)
        line = self._clocks.line
        return Timeline(
            playing=self._playing and alive,
            alive=alive,
            tempo=60 / CLOCKS_A_QUARTER / line.period if line and alive else None,
            generation=self._generation + (self._playing and not alive),
            anchor_time=line.time(self._clocks.number) if line else self._last or 0.0,
            anchor_position=self._position(self._clocks.number) if self._playing else self._base[1],
            beats_in_bar=self.beats_in_bar,
            sixteenths=self.sixteenths,
        )

    def _gone(self, time: float) -> bool:
        return self._last is None or time - self._last > self.timeout

    def _position(self, number: int) -> float:
        """The position of the clock `number`, playing."""
        return self._base[1] + (number - self._base[0]) / CLOCKS_A_QUARTER

    def _begin(self, time: float, position: float | None) -> None:
        """A start at 0 or a continue (None). A start while playing is a jump: some hosts loop so."""
        if self._playing and self._gone(time):
            self._stop()
        if position is not None:
            self._locate(position)
        self._armed = not self._playing

    def _stop(self) -> None:
        self._armed = False
        if self._playing:  # a continue goes on with the clock that would have been the next
            self._base = self._clocks.number, self._position(self._clocks.number + 1)
            self._playing = False
            self._generation += 1

    def _locate(self, position: float) -> None:
        """The next clock is `position`. The specification tells it only while standing; while playing it is a
        jump, unless it says where we are, give or take the one clock by which hosts differ."""
        if self._playing:
            if abs(position - self._position(self._clocks.number + 1)) < 1.01 / CLOCKS_A_QUARTER:
                return
            self._generation += 1
        self._base = self._clocks.number + 1, position

    def _clock(self, time: float) -> None:
        silence = 0.0 if self._last is None else time - self._last
        if silence > self.timeout:
            if self._playing and silence > _FORGET:
                self._stop()
            self._generation += 2 * self._playing  # while it was gone, one was told already
            self._clocks.break_off()
        self._last = time
        self._clocks.add(time, may_break=self._armed)
        if self._armed:
            self._armed, self._playing = False, True
            self._generation += 1
            self._base = self._clocks.number, self._base[1]
