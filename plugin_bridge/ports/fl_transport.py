"""FL Studio's transport as its script reports it, turned into the `Timeline` that a duet plays by.

A report is a whole picture (playing, tempo, position, metre, loop), so that one lost costs nothing. It also
counts the runs of the transport: within one, position follows time, and every start, loop wrap or jump begins
another, which the script sees best, for it knows when it read what.
"""

from __future__ import annotations

from dataclasses import dataclass

from plugin_bridge.ports.fl_endpoint import SCRIPT_SILENCE
from plugin_bridge.ports.fl_position import USUAL_SPREAD, PositionLine
from plugin_bridge.ports.fl_protocol import PLAYING, RECORDING, SONG_MODE, Message
from plugin_bridge.ports.host_clock import Timeline

WRAP_WITHIN = 0.04
"""Seconds by which a loop's wrap may miss where it is expected, and be one."""
_SLOWEST, _FASTEST = 1_000, 1_000_000  # thousandths of a beat a minute; FL itself has 10 to 522
_MOST_BEATS = 64


@dataclass(frozen=True, slots=True)
class TransportReport:
    """One report. `run` tells one run from the next, `tempo` is quarter notes a minute, `position` and `loop`
    quarter notes; the metre is as in `Timeline`."""

    run: tuple[int, int]
    playing: bool
    recording: bool
    song_mode: bool
    tempo: float
    position: float
    loop: tuple[float, float] | None
    beats_in_bar: int
    sixteenths: int


def read_report(message: Message) -> TransportReport | None:
    """The report in a `transport` message, or None when it says what no song can be."""
    quarter, tempo = message.number("quarter"), message.number("tempo")
    if not quarter or not _SLOWEST <= tempo <= _FASTEST:
        return None
    flags = message.number("flags")
    start, end = message.number("loop_start"), message.number("loop_end")
    return TransportReport(
        (message.source, message.number("run")),
        bool(flags & PLAYING),
        bool(flags & RECORDING),
        bool(flags & SONG_MODE),
        tempo / 1000,
        message.number("position") / quarter,
        (start / quarter, end / quarter) if 0 <= start < end else None,
        *_metre(message.number("bar"), quarter),
    )


class FlTransport:
    """Follows the transport of one FL Studio."""

    def __init__(self) -> None:
        self._generation = 0
        self._playing = False
        self._line = PositionLine(0.0, 0.0, 120.0, 0.0)
        self._spread = USUAL_SPREAD
        self._last: TransportReport | None = None
        self._heard: float | None = None

    @property
    def last(self) -> TransportReport | None:
        """The latest report."""
        return self._last

    def report(self, report: TransportReport, time: float) -> None:
        """`report` came at `time` seconds, which is not before the one before."""
        if self._playing and self._gone(time):
            self._generation += 1  # told already
            self._playing = False
        same_run = (
            self._playing and report.playing and self._last is not None and report.run == self._last.run
        )
        if same_run:
            self._line.report(time, report.position, report.tempo)
            self._spread = self._line.spread
        elif self._has_wrapped(report, time):
            self._generation += 1
        else:
            self._generation += self._playing or report.playing
            self._line = PositionLine(
                time, report.position, report.tempo, self._spread if report.playing else 0.0
            )
        self._playing, self._last, self._heard = report.playing, report, time

    def leave(self) -> None:
        """FL Studio is gone: it said so."""
        self._heard = None

    def _has_wrapped(self, report: TransportReport, time: float) -> bool:
        """Whether the song has gone round its loop: then it has lost no time, and all that was known of its
        line is true at the other place."""
        last = self._last
        if last is None or not (self._playing and report.playing) or report.run[0] != last.run[0]:
            return False
        if report.loop is None or report.loop != last.loop:
            return False
        length = report.loop[1] - report.loop[0]
        late = (self._line.at(time) - length - report.position) * 60 / report.tempo
        if abs(late) > WRAP_WITHIN:
            return False
        self._line.move(-length)
        self._line.report(time, report.position, report.tempo)
        return True

    def at(self, time: float, lead: float = 0.0) -> Timeline:
        """What is known at `time` seconds, which is not before the last report: `lead` seconds
        later, that is, the way to FL and back: what leaves at a time of this timeline is there on time."""
        alive = not self._gone(time)
        return Timeline(
            playing=self._playing and alive,
            alive=alive,
            tempo=self._line.tempo if alive else None,
            generation=self._generation + (self._playing and not alive),
            anchor_time=self._line.time - lead,
            anchor_position=self._line.position,
            beats_in_bar=self._last.beats_in_bar if self._last else 4,
            sixteenths=self._last.sixteenths if self._last else 4,
        )

    def _gone(self, time: float) -> bool:
        return self._heard is None or time - self._heard > SCRIPT_SILENCE


def _metre(bar: int, quarter: int) -> tuple[int, int]:
    """Beats in a bar and sixteenths in a beat, from ticks: the longest beat up to a quarter that fits."""
    for sixteenths in (4, 2, 1):
        beats, rest = divmod(bar * 4, quarter * sixteenths)
        if not rest and 1 <= beats <= _MOST_BEATS:
            return beats, sixteenths
    return 4, 4
