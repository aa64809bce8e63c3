"""The plan of a turn: what the partner plays next, drawn from the model and handed to the scheduler.

One thread, the session's worker. Times are clock seconds, as the events' are; the stream counts from `began`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from plugin_bridge.duet.candidates import Background, score
from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.journal import World
from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.mixing import ADMITS_ALL, admit, loudest_heard
from plugin_bridge.duet.pace import Pace
from plugin_bridge.duet.player import Player
from plugin_bridge.duet.report import Measurements
from plugin_bridge.duet.roles import limits_of
from plugin_bridge.duet.scheduler import Scheduler
from plugin_bridge.engine.stream import Mark, Stream, rewind_reach
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.grammar import StartBy
from plugin_bridge.music.tokens import tick_of

PLAN_MARGIN = 0.02
"""Seconds ahead of now that nothing new is planned in, so that it can be decided before it is due."""
FIRST_NOTE_WITHIN = 0.02
"""Seconds from the start of a turn to its first note at most."""
LATE_AT_MOST = 0.004
"""Seconds that a note pulled to the grid may be late; one that would be later takes the next sixteenth."""
SEGMENT = 0.5
"""Seconds of one continuation, where several are compared."""
SLACK = 0.15
"""Seconds that the plan must be ahead of now before several continuations are tried."""

_Piece: TypeAlias = tuple[list[int], Event | None]
"""The tokens of an event, and the event as it was drawn."""

_LONGEST_ORPHAN = 1.0
_RECENT = 1024


@dataclass(frozen=True, slots=True)
class Planned:
    """Events of the plan that leave together, the first at `due`, and the place in the stream after them."""

    due: float
    after: Mark
    events: tuple[Event, ...]

    @property
    def is_note(self) -> bool:
        return any(isinstance(event, NoteOn) for event in self.events)

    def moved(self, by: Callable[[float], float]) -> Planned:
        """The same at other times."""
        return Planned(by(self.due), self.after, tuple(replace(e, time=by(e.time)) for e in self.events))


@dataclass(slots=True)
class Turn:
    """The partner's turn, being prepared or played. `base` is the stream before any of `plan`; `shift` holds
    how far each sounding note was moved to the grid."""

    start: float
    end: float
    base: Mark
    plan: deque[Planned] = field(default_factory=deque)
    begun: bool = False
    has_note: bool = False
    committed_note: bool = False
    complete: bool = False
    refused: bool = False
    latest_due: float = 0.0
    soonest: float = 0.0
    shift: dict[int, float] = field(default_factory=dict)

    def committed(self, time: float) -> tuple[Mark, list[Event]]:
        """The place after all that was due before `time`, as far as the plan can be taken back, and the
        events that became final since the last call."""
        final: list[Event] = []
        while self.plan and self.plan[0].due < time:
            planned = self.plan.popleft()
            self.base = planned.after
            self.committed_note |= planned.is_note
            final += planned.events
        return self.base, final


class Planner:
    """Plans turns. `recent` holds the latest events of both parts that are final; `generation` is what the
    scheduler takes plans of; `early` seconds are taken from each due time."""

    def __init__(
        self, stream: Stream, scheduler: Scheduler, world: World, around: Surroundings, player: Player,
        pace: Pace, measurements: Measurements, *, has_chart: bool, early: float,
    ) -> None:  # fmt: skip
        self.recent: deque[Event] = deque(maxlen=_RECENT)
        self.generation = 0
        self.early = early
        self.replanning: float | None = None
        self._stream, self._scheduler, self._world, self._around = stream, scheduler, world, around
        self._player, self._pace, self._measurements = player, pace, measurements
        self._began = around.began
        self._has_chart = has_chart
        self._controls = Controls()
        self._debt = 0.0
        self._floor = 0.0

    def lookahead(self, controls: Controls) -> float:
        """Seconds that the plan reaches beyond now."""
        return self._pace.lookahead(controls.lookahead)

    def rewind(self, turn: Turn, time: float) -> None:
        """Take back, in the stream, what is due at `time` or later."""
        place, final = turn.committed(time)
        self.recent.extend(final)
        if self._stream.can_rewind(place):
            self._stream.rewind(place)
        turn.plan.clear()
        turn.latest_due = time
        self._floor = 0.0

    def retime(self, turn: Turn, moved: Callable[[float], float]) -> None:
        """The beat that `turn` was planned by has moved: what is planned moves along, to `moved`."""
        turn.plan = deque(each.moved(moved) for each in turn.plan)
        turn.latest_due = moved(turn.latest_due)
        self._scheduler.retime(lambda time: moved(time + self.early) - self.early)

    def plan_ahead(self, turn: Turn, controls: Controls) -> None:
        """Generate until the plan reaches the lookahead, the turn ends, or the player does something."""
        stream, world = self._stream, self._world
        self._controls = controls
        stream.advance(turn.start - self._began)
        self._apply_controls()
        while not (turn.complete or turn.refused or world.interrupted()):
            time = world.now()
            final = turn.committed(time)[1]
            self.recent.extend(final)
            horizon = min(time - self._began + self.lookahead(controls), turn.end - self._began)
            too_long = stream.engine.length - turn.base.length > rewind_reach()
            if stream.seconds > horizon or (too_long and stream.seconds > time - self._began):
                self._replanned(time)  # it rests that long
                break
            reached = stream.seconds
            self._limit(turn, time)
            forks = self._pace.forks(self._controls.forks)
            if forks > 1 and controls.mixing in ADMITS_ALL and reached - (time - self._began) > SLACK:
                self._plan_best(turn, time, horizon, forks)
            else:
                self._plan_next(turn, time, horizon)
            took = world.now() - time
            self._pace.planned(time, took, stream.seconds - reached)

    def _apply_controls(self) -> None:
        controls, stream = self._controls, self._stream
        stream.sampling = replace(stream.sampling, temperature=controls.temperature, top_p=controls.top_p)
        stream.set_chord_bias(controls.adherence if self._has_chart else 0.0)

    def _limit(self, turn: Turn, time: float) -> None:
        limits = limits_of(
            self._controls, self._player.velocity(time), self._player.density(time), self._pace.fewest_ticks
        )
        if not turn.has_note:
            limits += (StartBy(Part.PARTNER, tick_of(turn.start - self._began + FIRST_NOTE_WITHIN)),)
        self._stream.set_limits(limits)

    def _plan_next(self, turn: Turn, time: float, horizon: float) -> None:
        """The next event, decided and handed to the scheduler."""
        before = self._stream.mark()
        event = self._draw(turn, time, horizon)
        if self._stream.seconds > turn.end - self._began:
            self._stream.rewind(before)
            turn.complete = True
        elif event is not None:
            self._plan(turn, event, before)

    def _draw(self, turn: Turn, time: float, horizon: float) -> Event | None:
        turn.soonest = time + PLAN_MARGIN + self.early
        soonest = max(turn.start - self._began, turn.soonest - self._began, self._floor)
        return self._stream.generate(not_before=soonest, until=horizon, loudest=self._loudest(time))

    def _loudest(self, time: float) -> int | None:
        return loudest_heard(self._controls.mixing, self._controls.mix, self._player.velocity(time))

    def _plan_best(self, turn: Turn, time: float, horizon: float, forks: int) -> None:
        """Several continuations of one segment; the best by `score` is planned."""
        stream = self._stream
        start = stream.mark()
        until = min(horizon, stream.seconds + SEGMENT)
        background = self._background()
        best: tuple[float, list[_Piece]] | None = None
        for _ in range(forks):
            pieces: list[_Piece] = []
            while stream.seconds <= until:
                if self._world.interrupted():
                    stream.rewind(start)
                    return
                before = stream.mark()
                event = self._draw(turn, time, until)
                if stream.seconds > turn.end - self._began:
                    stream.rewind(before)
                    break
                pieces.append((stream.since(before), event))
            value = score([event for _, event in pieces if event is not None], background)
            if best is None or value > best[0]:
                best = value, pieces
            random = stream.random
            stream.rewind(start)
            stream.random = random  # the next continuation is drawn by other numbers
        assert best is not None
        for tokens, event in best[1]:
            before = stream.mark()
            stream.repeat(tokens)
            if event is not None:
                self._plan(turn, event, before)
        if not best[1]:
            turn.complete = True

    def _background(self) -> Background:
        recent = [event for event in self.recent if isinstance(event, NoteOn) and event.part is Part.PARTNER]
        pitches = tuple(event.pitch for event in recent[-16:])
        return Background(self._stream.chord, self._stream.player_holds, pitches)

    def _plan(self, turn: Turn, event: Event, before: Mark) -> None:
        """Hand `event` (stream seconds) to the scheduler, unless the mixing keeps it out of the stream."""
        controls, stream = self._controls, self._stream
        event = replace(event, time=event.time + self._began)
        events: tuple[Event, ...] = (self._shaped(event),)
        if isinstance(event, NoteOn):
            admission = admit(event, controls.mixing, controls.mix, stream.player_holds, self._debt)
            self._debt = admission.debt
            if not admission.admitted:
                random = stream.random
                stream.rewind(before)
                stream.random = random
                self._floor = event.time - self._began + 0.01
                off = NoteOff(event.time + self._usual_length(), event.pitch, Part.PARTNER)
                events = () if controls.mix_sounds else (events[0], off)
            turn.has_note |= bool(events)
        if not events:
            return
        first, *rest = (self._placed(turn, each) for each in events)
        due = max(first.time, turn.latest_due)
        turn.latest_due = due
        sounding = (replace(first, time=due), *rest)
        turn.plan.append(Planned(due, stream.mark(), sounding))
        early = [replace(each, time=each.time - self.early) for each in sounding]
        if not self._scheduler.schedule(self.generation, early):
            turn.refused = True  # the port is lost, or was
        self._replanned(self._world.now() if self.replanning is not None else 0.0)

    def _replanned(self, time: float) -> None:
        """The plan that the player's last event asked for stands."""
        if self.replanning is not None:
            self._measurements.replans.append(time - self.replanning)
            self.replanning = None

    def _shaped(self, event: Event) -> Event:
        """As loud as the controls say."""
        if not isinstance(event, NoteOn):
            return event
        velocity = event.velocity * self._controls.dynamics
        if self._controls.mix_sounds:
            velocity = min(velocity, self._loudest(event.time) or 127)
        return replace(event, velocity=max(1, min(127, round(velocity))))

    def _placed(self, turn: Turn, event: Event) -> Event:
        """Pulled to the grid: an onset by as much as the controls say, its end along with it."""
        match event:
            case NoteOn():
                time = self._pulled(turn, event.time)
                turn.shift[event.pitch] = time - event.time
            case NoteOff():
                time = event.time + turn.shift.pop(event.pitch, 0.0)
            case Pedal():
                time = event.time
        return replace(event, time=time)

    def _pulled(self, turn: Turn, time: float) -> float:
        grid = self._controls.grid
        if not grid:
            return time
        drawn = self._world.now() + self.early - LATE_AT_MOST  # to draw it took its time
        return self._around.pulled(time, grid, max(turn.latest_due, turn.soonest, drawn))

    def _usual_length(self) -> float:
        """Seconds that the partner's notes have lasted lately."""
        begun: dict[int, float] = {}
        lengths: list[float] = []
        for event in self.recent:
            if isinstance(event, NoteOn) and event.part is Part.PARTNER:
                begun[event.pitch] = event.time
            elif isinstance(event, NoteOff) and event.part is Part.PARTNER and event.pitch in begun:
                lengths.append(event.time - begun.pop(event.pitch))
        lengths = sorted(lengths[-32:])
        return min(max(lengths[len(lengths) // 2], 0.05), _LONGEST_ORPHAN) if lengths else 0.3
