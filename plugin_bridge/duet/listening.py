"""What the partner goes by beside the notes: chords that are heard, and the host's clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from enum import Enum, auto

from plugin_bridge.duet.heard_chords import HeardChords
from plugin_bridge.engine.stream import MetreAt
from plugin_bridge.music.beat_tracking import BeatTracker
from plugin_bridge.music.chord_detection import ChordDetector
from plugin_bridge.music.clip import ChordSpan
from plugin_bridge.music.events import Event, NoteOn
from plugin_bridge.music.harmony import Chart
from plugin_bridge.ports.host_clock import BeatLine, HostClock, Timeline, pull_to_grid

MOVED = 0.006
"""Seconds by which the host's time may move before what is planned is planned anew."""
FINAL = 0.003
"""Seconds ahead of now that nothing is moved any more: it may be on its way."""
DRIFT_PAUSE = 0.3
"""Seconds until it is looked again whether the tempo has changed: the estimate from MIDI clock trembles."""
AHEAD = 1.0
"""Seconds ahead at which that is looked at: about as far as plans reach."""
GONE = 10.0
"""Seconds after which a host that stopped and fell silent is gone."""
SIXTEENTH = 0.25
"""Quarter notes."""
CHART_BEHIND, CHART_AHEAD = 16.0, 64.0
"""Quarter notes of a given chart around now that are laid on the host's time."""
CHART_REFRESH = 0.5
"""Seconds after which that is done again, for the tempo may have changed."""
KEPT = 32
"""Chords of the past that the chart keeps: more than a plan looks back."""

_TRANSPORT = (b"\xf2", b"\xf8", b"\xfa", b"\xfb", b"\xfc")


class Change(Enum):
    """What a host's transport did."""

    NONE = auto()
    DRIFT = auto()
    """The tempo changed, so that what was planned falls elsewhere."""
    JUMP = auto()
    """It started, stopped, or is at another place."""


class ChordListener:
    """The chords that the player is heard to play, as a chart for the stream. Events are in seconds from the
    start of the session; one thread. `heard` are the chords so far."""

    def __init__(self) -> None:
        self.heard = HeardChords()
        self._detector = ChordDetector()

    def hear(self, event: Event) -> None:
        """Take an event in."""
        self._detector.hear(event)

    def chart_at(self, time: float) -> Chart | None:
        """A new chart where the chord has changed by `time`; None where it is still the same."""
        chord = self._detector.heard_at(time).chord
        if chord == self.heard.latest:
            return None
        # from now on: what was played before was heard with the chord that was known then
        self.heard.append(ChordSpan(time, chord))
        return Chart(self.heard.since(len(self.heard) - KEPT)[0])


class Surroundings:
    """What the session goes by beside the notes: a given chart or the chords that are heard, the host's clock
    or a given metre. One thread. Seconds count from the start of the session, which is at `began`."""

    def __init__(
        self, chart: Chart | None, metre_at: MetreAt, hears_chords: bool, tempo: float | None = None
    ) -> None:
        self.began = 0.0
        self._given, self._tempo = chart, tempo
        self._charted: tuple[int, float] | None = None  # the transport's generation and when it was looked at
        self._listener = ChordListener() if chart is None and hears_chords else None
        self._metre_at = metre_at
        self._clock = HostClock()
        self._timeline: Timeline | None = None
        self._linked = False
        self._planned: Timeline | None = None
        self._timed: Timeline | None = None
        self._drift_at = 0.0
        self._stopped: float | None = None  # when the host stopped, having played
        self._tracker = BeatTracker()
        self._onset: float | None = None

    @property
    def spans(self) -> tuple[ChordSpan, ...]:
        """The chords, given or heard so far."""
        if self._listener is not None:
            return self._listener.heard.since(0)[0]
        return self._given.spans if self._given is not None else ()

    def chords_from(self, count: int, until: float) -> tuple[tuple[ChordSpan, ...], int]:
        """The chords after the first `count`, as far as they begin before `until` and are known, and how many
        there are now. Any thread may ask."""
        if self._listener is not None:
            return self._listener.heard.since(count)
        spans = self._given.spans if self._given is not None else ()
        reached = bisect_left(spans, until, key=lambda span: span.start)
        return spans[count:reached], max(count, reached)

    @property
    def host_tempo(self) -> float | None:
        """The tempo of the host's clock, quarter notes a minute; None where there is none."""
        return self._timeline.tempo if self._timeline is not None else None

    def hear_message(self, message: bytes, time: float) -> bool:
        """Take a message in, at `time` of the clock; True where it was the host's and no music."""
        if message[:1] not in _TRANSPORT:
            return False
        self._clock.hear(message, time)
        if not self._linked:
            self._timeline = self._clock.at(time)
        return True

    def follow(self, timeline: Timeline) -> None:
        """The host's link tells its transport; while it does, MIDI clock is not listened to."""
        self._linked = timeline.alive
        self._timeline = timeline

    def hear(self, event: Event) -> None:
        """Take an event of the player's in, seconds of the session."""
        if self._listener is not None:
            self._listener.hear(event)
        if isinstance(event, NoteOn) and self.playing_transport is None and self._has_time_for(event.time):
            self._tracker.hear(self.began + event.time, event.velocity)
            self._onset = event.time

    def _has_time_for(self, time: float) -> bool:
        """A flood of notes is no rhythm, and costs what it costs: one in 5 ms is enough."""
        return self._onset is None or time - self._onset >= 0.005

    def chart_at(self, seconds: float) -> Chart | None:
        """A new chart where the chord that is heard has changed, or where a given chart, which goes by the
        host's bars while it plays, lies elsewhere now."""
        if self._listener is not None:
            return self._listener.chart_at(seconds)
        transport = self.playing_transport
        if self._given is None or self._tempo is None:
            return None
        if transport is None:
            was_charted, self._charted = self._charted, None
            return self._given if was_charted else None
        if self._charted is not None:
            generation, looked = self._charted
            if generation == transport.generation and seconds - looked < CHART_REFRESH:
                return None
        self._charted = transport.generation, seconds
        return self._by_host(self._given, self._tempo, transport, seconds)

    def _by_host(self, chart: Chart, tempo: float, transport: Timeline, seconds: float) -> Chart:
        """The part of `chart` around now, its positions at `tempo` put where the host's are."""
        position = transport.position(self.began + seconds)
        assert position is not None
        first = max(chart.index((position - CHART_BEHIND) * 60 / tempo), 0)
        spans = []
        for span in chart.spans[first:]:
            place = span.start * tempo / 60
            time = transport.time_of(place)
            if time is None or place > position + CHART_AHEAD:
                break
            spans.append(ChordSpan(time - self.began, span.chord))
        return Chart(tuple(spans))

    def change_at(self, seconds: float) -> Change:
        """What the host's transport has done since the last call."""
        if self._timeline is None:
            return Change.NONE
        time = self.began + seconds
        if not self._linked:
            self._timeline = self._clock.at(time)  # a clock that stopped is not followed
        before, after = self._planned, self._timeline
        if before is not None and before.generation == after.generation:
            if time < self._drift_at or not _moved(before, after, time):
                return Change.NONE
            self._planned, self._drift_at = after, time + DRIFT_PAUSE
            return Change.DRIFT
        self._planned = after
        if after.playing:
            self._stopped = None
        elif before is not None and before.playing:
            self._stopped = time
        return Change.JUMP

    def moved_since(self, time: float, amount: float) -> Callable[[float], float] | None:
        """How what was planned, pulled to the sixteenths by `amount`, moves along with what has become known
        of the host's time since the last call: from clock seconds to clock seconds. What is due at once
        stays. None where nothing moves."""
        before, after = self._timed, self.playing_transport
        self._timed = after
        if before is None or after is None or before is after or before.generation != after.generation:
            return None
        final = time + FINAL

        def moved(due: float) -> float:
            place = before.position(due)
            then = after.time_of(place) if place is not None and due > final else None
            return due if then is None else max(due + amount * (then - due), final)

        return moved if amount > 0 else None

    def host_stands(self, time: float) -> bool:
        """Whether the host has played and stopped: the partner waits for it, but not for ever when it is
        gone."""
        if self._stopped is None:
            return False
        alive = self._timeline is not None and self._timeline.alive
        return alive or time - self._stopped < GONE

    @property
    def playing_transport(self) -> Timeline | None:
        """The host's transport while it plays at a known tempo; None otherwise."""
        timeline = self._timeline
        return timeline if timeline is not None and timeline.playing and timeline.tempo else None

    def beat_line(self, time: float) -> BeatLine:
        """What is known of the beat at `time` of the clock: the host's transport, else the beat that the
        player is heard to play."""
        return self.playing_transport or self._tracker.at(time)

    def pulled(self, time: float, amount: float, earliest: float) -> float:
        """`time` pulled to the sixteenths by `amount`, and not before `earliest` (clock seconds)."""
        if amount <= 0:
            return time
        return pull_to_grid(time, amount, SIXTEENTH, self.beat_line(earliest), earliest)

    def metre_at(self, seconds: float) -> int:
        """The metrical position: by the host's clock while it runs, else as given."""
        timeline = self._timeline
        if timeline is not None and timeline.playing:
            return timeline.metre_id(self.began + seconds)
        return self._metre_at(seconds)


def _moved(before: Timeline, after: Timeline, time: float) -> bool:
    """Whether the place that `before` expected a little ahead comes at another time now."""
    place = before.position(time + AHEAD) if before.playing else None
    then = after.time_of(place) if place is not None and after.playing else None
    return then is not None and abs(then - time - AHEAD) > MOVED
