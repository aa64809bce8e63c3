"""What the partner does: its turns, the plan of what it plays next, and taking back what is overtaken.

All of it runs in one thread, the session's worker, and depends on nothing but what it is told and on the
`World`: so a session can be played again from its tape, or run in simulated time.

Times are clock seconds, as the events' are; the stream counts from `began`. What lies less than `COMMIT`
ahead is final; the rest of the plan is provisional, and whatever the player does takes it back: the stream
is rewound to the last final event, the player's event goes in, and the plan is made anew.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from plugin_bridge.duet.candidates import Background, score
from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.journal import World
from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.mixing import admit, loudest_heard
from plugin_bridge.duet.pace import Pace
from plugin_bridge.duet.phrases import Decision, Mode, Move, Snapshot
from plugin_bridge.duet.player import Player
from plugin_bridge.duet.report import Measurements
from plugin_bridge.duet.roles import Policies, limits_of
from plugin_bridge.duet.scheduler import Scheduler
from plugin_bridge.duet.style_switch import CaughtUp, StyleRequest, StyleSwitch
from plugin_bridge.engine.replay import History, Replay
from plugin_bridge.engine.stream import Mark, Stream, rewind_reach
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal, drop_strays
from plugin_bridge.music.grammar import Limit, StartBy
from plugin_bridge.music.tokens import tick_of

COMMIT = 0.06
"""Seconds ahead of now that the plan is final, when the player does something and the partner plays on."""
PLAN_MARGIN = 0.02
"""Seconds ahead of now that nothing new is planned in, so that it can be decided before it is due."""
FIRST_NOTE_WITHIN = 0.3
"""Seconds from the start of an answer to its first note at most."""
CHUNK_CONTEXT = 10.0
"""Seconds that the chunk mode hears, as a baseline."""
SEGMENT = 0.5
"""Seconds of one continuation, where several are compared."""
REFUSED_PAUSE = 0.25
"""Seconds until it tries again, where the scheduler takes no plan."""
ASLEEP = 1.0
"""Seconds later than it wanted to look again, after which the partner takes it that the machine slept."""
SLACK = 0.15
"""Seconds that the plan must be ahead of now before several continuations are tried."""

_Piece: TypeAlias = tuple[list[int], Event | None]
"""The tokens of an event, and the event as it was drawn."""

_IDLE = 1.0
_LONGEST_ORPHAN = 1.0
_RECENT = 4096


@dataclass(frozen=True, slots=True)
class _Planned:
    """Events of the plan that leave together, the first at `due`, and the place in the stream after them."""

    due: float
    after: Mark
    events: tuple[Event, ...]

    @property
    def is_note(self) -> bool:
        return any(isinstance(event, NoteOn) for event in self.events)


@dataclass(slots=True)
class Turn:
    """The partner's turn, being prepared or played. `base` is the stream before any of `plan`; `shift` holds
    how far each sounding note was moved to the grid."""

    start: float
    end: float
    base: Mark
    plan: deque[_Planned] = field(default_factory=deque)
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


@dataclass(slots=True)
class Counts:
    """What happened since the start."""

    answers: int = 0
    yields: int = 0
    style_changes: int = 0
    faults: int = 0


class Partner:
    """One partner. `hear` what the player does, `play` when there is time; `play` says how long it can wait.

    `began` is the clock at second 0 of the stream; `early` seconds are taken from each due time, to make up
    for a slow way out.
    """

    def __init__(
        self, stream: Stream, scheduler: Scheduler, world: World, around: Surroundings, controls: Controls,
        policies: Policies, measurements: Measurements, *, has_chart: bool, early: float = 0.0,
        post: Callable[..., None] = lambda item: None, in_background: bool = True,
    ) -> None:  # fmt: skip
        self.stream, self.controls = stream, controls
        self.player = Player()
        self.counts = Counts()
        self.pace = Pace()
        self.switch = StyleSwitch(post, in_background=in_background)
        self.began = around.began
        self.awaited: float | None = None
        self.asked: float | None = None
        self._scheduler, self._world, self._around = scheduler, world, around
        self._policies, self._measurements = policies, measurements
        self._has_chart, self._early = has_chart, early
        self._generation = 0
        self._turn: Turn | None = None
        self._pending: list[Event] = []
        self._recent: deque[Event] = deque(maxlen=_RECENT)  # both parts, for the chunk mode and recovery
        self._replanning: float | None = None
        self._debt = 0.0
        self._expected = math.inf
        self._silent_until = -math.inf
        self._floor = 0.0

    # what it is told

    def hear(self, event: Event) -> list[Event]:
        """The player did something. It enters the stream before anything else is decided; what it amounted
        to is returned."""
        struck = isinstance(event, NoteOn)
        if struck and self._is_new_phrase(event.time):
            self.player.onsets.clear()
        events = self.player.take(event)
        for each in events:
            self._recent.append(each)
            self._around.hear(self._in_stream(each))
        if self.controls.mode is Mode.CHUNK:
            return events  # the next window hears it
        self._pending += events
        if events and self._turn is not None:
            time = self._world.now()
            yielding = self._decide(time, struck).move is Move.YIELD
            self._take_back(self._turn, event.time, time, yielding)
        return events

    def all_off(self, time: float) -> list[Event]:
        """The player's keys and pedal are all up."""
        return [each for event in self.player.all_off(time) for each in self.hear(event)]

    def flush(self) -> None:
        """Put what was heard into the stream, in one pass."""
        if self._pending:
            self.stream.hear([self._in_stream(event) for event in self._pending])
            self._pending.clear()

    def set_controls(self, controls: Controls) -> None:
        """Play by other controls from now on. Another mode, or mute, ends what is being played first."""
        before, self.controls = self.controls, controls
        if controls.mode is not before.mode or (controls.mute and not before.mute):
            self.end_turn()
            if before.mode is Mode.CHUNK:
                self._restart(self._world.now())
        elif controls != before and self._turn is not None:
            self._take_back(self._turn, None, self._world.now(), yielding=False)

    def panic(self) -> None:
        """Everything off at once, and listen."""
        self._scheduler.panic()
        self.end_turn()

    def end_turn(self) -> None:
        """Let go of what sounds and listen: what was planned and is not due is forgotten."""
        turn = self._turn
        if turn is None:
            return
        self.flush()
        time = self._world.now()
        self._cut(turn, time, release=True)
        self._let_go(time)
        self._turn = None
        self.awaited = None
        if self.controls.mode is not Mode.CHUNK:
            self.player.onsets.clear()

    def recover(self) -> None:
        """Begin anew after something broke: everything off, and the stream holds the latest seconds."""
        self._generation += 1
        self._scheduler.panic()
        self._turn, self.awaited, self._replanning = None, None, None
        self.counts.faults += 1
        self._pending.clear()
        self._restart(self._world.now())

    def now(self) -> float:
        """The clock of its world."""
        return self._world.now()

    @property
    def looks_again(self) -> float:
        """When it means to look again, clock seconds; long past where the worker hangs. Any may ask."""
        return self._expected

    def planned(self) -> tuple[Event, ...]:
        """What is planned and not final yet, clock seconds, the next first. Any thread may ask: a plan that
        is just being changed is seen as it was or as it will be."""
        turn = self._turn
        return () if turn is None else tuple(event for each in tuple(turn.plan) for event in each.events)

    # what it does

    def play(self) -> float:
        """Decide and plan; how many seconds to wait before looking again, unless something comes in."""
        time = self._world.now()
        self.pace.dropped(time, self._world.late())
        if time > self._expected + ASLEEP and self._turn is not None:
            self.end_turn()  # the machine slept: what was planned belongs to another time
        wait = self._play(time)
        self._expected = self._world.now() + wait
        return wait

    def _play(self, time: float) -> float:
        if (chart := self._around.chart_at(time - self.began)) is not None:
            self.stream.set_chart(chart)
        if self._around.has_jumped(time - self.began):
            self._jumped(time)
        if self._turn is None:
            if (replay := self.switch.take()) is not None:
                self.flush()
                self._move(replay)
            decision = self._decide(time)
            if decision.move is not Move.ANSWER:
                self.stream.advance(time - self.began)  # so that no long silence is left to catch up on
                look = decision.look_again
                return _IDLE if look is None else min(max(look - time, 0.0), _IDLE)
            self._begin_turn(decision, time)
        turn = self._turn
        assert turn is not None
        if not turn.begun and time >= turn.start:
            turn.begun = True
            self.counts.answers += 1
        if turn.begun and (time >= turn.end or self._decide(time).move is Move.YIELD):
            self.end_turn()
            return 0.0
        self._plan_ahead(turn)
        now = self._world.now()
        if turn.refused:
            self.end_turn()
            self._silent_until = now + REFUSED_PAUSE
            return REFUSED_PAUSE
        if not turn.begun:
            return max(turn.start - now, 0.0)
        if turn.complete:
            return max(turn.end - now, 0.0)
        ahead = self.began + self.stream.seconds - now
        return min(max(ahead - 0.8 * self._lookahead, 0.01), 0.25)

    @property
    def _lookahead(self) -> float:
        return self.pace.lookahead(self.controls.lookahead)

    def _decide(self, time: float, struck: bool = False) -> Decision:
        if self.controls.mute or self.pace.resting(time) or time < self._silent_until:
            return Decision(Move.LISTEN if self._turn is None else Move.YIELD, look_again=time + 0.25)
        return self._policies.decide(self.controls.mode, self._snapshot(time, struck))

    def _snapshot(self, time: float, struck: bool) -> Snapshot:
        player = self.player
        playing = self._turn is not None and self._is_playing(self._turn, time)
        return Snapshot(
            time, tuple(player.onsets), player.last_release, len(player.held), playing, struck, player.pedal,
            player.density(time), player.velocity(time), self._around.playing_transport,
            self._around.beat_line(time),
        )  # fmt: skip

    def _is_new_phrase(self, time: float) -> bool:
        """Whether a note at `time` begins a phrase: the partner plays, or the last one was too long ago."""
        if self.controls.mode is not Mode.ANSWER:
            return False
        if self._turn is not None and self._is_playing(self._turn, time):
            return True
        player, rules = self.player, self._policies.phrases
        quiet_since = max(player.onsets[-1] if player.onsets else 0.0, player.last_release or 0.0)
        return not player.held and time - quiet_since > rules.longest_pause + rules.longest_held

    def _begin_turn(self, decision: Decision, time: float) -> None:
        if decision.context is not None:
            self._restart(time, decision.context)
        self._generation += 1
        self._scheduler.begin(self._generation, cut=time)
        self._turn = Turn(decision.start, decision.end, self.stream.mark())
        self._await(decision.start, asked=None)

    def _is_playing(self, turn: Turn, time: float) -> bool:
        return turn.begun or time >= turn.start

    def _jumped(self, time: float) -> None:
        """The host stopped, started or jumped: what was planned was for another place."""
        if self._turn is None:
            return
        if self._around.playing_transport is None:
            self.end_turn()
        else:
            self._take_back(self._turn, None, time, yielding=False)

    # taking back

    def _take_back(self, turn: Turn, asked: float | None, time: float, yielding: bool) -> None:
        """The plan is overtaken: forget what is not final. Yielding, let go of what sounds and listen;
        otherwise a turn that has begun is planned anew, one only prepared is dropped."""
        playing = self._is_playing(turn, time)
        if yielding and self.stream.partner_holds:
            self._await(time, asked=asked)
        if yielding or not playing:
            cut = time
            self._cut(turn, cut, release=yielding)
        else:
            cut = time + COMMIT
            self._scheduler.cancel_after(cut - self._early)
            self._rewind(turn, cut)
            self._replanning = asked
        turn.complete, turn.has_note = False, turn.committed_note
        if yielding:
            self.counts.yields += playing
            self._let_go(cut)
        self.flush()
        if not turn.plan and (replay := self.switch.take()) is not None:
            self._move(replay)
        self.stream.reseed()
        turn.base = self.stream.mark()
        if yielding or not playing:
            self._turn = None

    def _cut(self, turn: Turn, time: float, release: bool) -> None:
        """End the turn's planning: what is due from `time` on is forgotten, here and in the stream."""
        self._generation += 1
        self._scheduler.begin(self._generation, cut=time - self._early, release=release)
        self._rewind(turn, time)

    def _rewind(self, turn: Turn, time: float) -> None:
        place, final = turn.committed(time)
        self._recent.extend(final)
        if self.stream.can_rewind(place):
            self.stream.rewind(place)
        turn.plan.clear()
        turn.latest_due = time
        self._floor = 0.0

    def _let_go(self, time: float) -> None:
        """Write into the stream what the scheduler's release does: the partner's keys and pedal come up."""
        offs: list[Event] = [
            NoteOff(time, pitch, Part.PARTNER) for pitch in sorted(self.stream.partner_holds)
        ]
        if self.stream.partner_pedal:
            offs.insert(0, Pedal(time, False, Part.PARTNER))
        self._recent.extend(offs)
        self.stream.hear([self._in_stream(event) for event in offs])

    def _restart(self, time: float, seconds: float = CHUNK_CONTEXT) -> None:
        """Let the stream hold the latest `seconds` only."""
        start = time - seconds
        latest = sorted(
            (event for event in self._recent if start <= event.time <= time), key=lambda event: event.time
        )
        self._pending.clear()
        self.stream.restart(
            max(start - self.began, 0.0), [self._in_stream(event) for event in drop_strays(latest)]
        )
        self._let_go(time)
        self.stream.advance(time - self.began)

    # planning

    def _plan_ahead(self, turn: Turn) -> None:
        """Generate until the plan reaches the lookahead, the turn ends, or the player does something."""
        stream, world = self.stream, self._world
        stream.advance(turn.start - self.began)
        self._apply_controls()
        while not (turn.complete or turn.refused or world.interrupted()):
            time = world.now()
            final = turn.committed(time)[1]
            self._recent.extend(final)
            horizon = min(time - self.began + self._lookahead, turn.end - self.began)
            too_long = stream.engine.length - turn.base.length > rewind_reach()
            if stream.seconds > horizon or (too_long and stream.seconds > time - self.began):
                break
            reached = stream.seconds
            self._limit(turn, time)
            forks = self.pace.forks(self.controls.forks)
            if forks > 1 and reached - (time - self.began) > SLACK:
                self._plan_best(turn, time, horizon, forks)
            else:
                self._plan_next(turn, time, horizon)
            took = world.now() - time
            self.pace.planned(time, took, stream.seconds - reached)

    def _apply_controls(self) -> None:
        controls, stream = self.controls, self.stream
        stream.sampling = replace(stream.sampling, temperature=controls.temperature, top_p=controls.top_p)
        stream.set_chord_bias(controls.adherence if self._has_chart else 0.0)

    def _limit(self, turn: Turn, time: float) -> None:
        limits: tuple[Limit, ...] = limits_of(
            self.controls, self.player.velocity(time), self.pace.fewest_ticks
        )
        if not turn.has_note:
            limits += (StartBy(Part.PARTNER, tick_of(turn.start - self.began + FIRST_NOTE_WITHIN)),)
        self.stream.set_limits(limits)

    def _plan_next(self, turn: Turn, time: float, horizon: float) -> None:
        """The next event, decided and handed to the scheduler."""
        before = self.stream.mark()
        event = self._draw(turn, time, horizon)
        if self.stream.seconds > turn.end - self.began:
            self.stream.rewind(before)
            turn.complete = True
        elif event is not None:
            self._plan(turn, event, before)

    def _draw(self, turn: Turn, time: float, horizon: float) -> Event | None:
        turn.soonest = time + PLAN_MARGIN + self._early
        soonest = max(turn.start - self.began, turn.soonest - self.began, self._floor)
        loudest = loudest_heard(self.controls.mixing, self.controls.mix, self.player.velocity(time))
        return self.stream.generate(not_before=soonest, until=horizon, loudest=loudest)

    def _plan_best(self, turn: Turn, time: float, horizon: float, forks: int) -> None:
        """Several continuations of one segment; the best by `score` is planned."""
        stream = self.stream
        start = stream.mark()
        until = min(horizon, stream.seconds + SEGMENT)
        background = self._background(start)
        best: tuple[float, list[_Piece]] | None = None
        for _ in range(forks):
            pieces: list[_Piece] = []
            while stream.seconds <= until:
                if self._world.interrupted():
                    stream.rewind(start)
                    return
                before = stream.mark()
                event = self._draw(turn, time, until)
                if stream.seconds > turn.end - self.began:
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

    def _background(self, start: Mark) -> Background:
        recent = [event for event in self._recent if isinstance(event, NoteOn) and event.part is Part.PARTNER]
        return Background(
            chord=self.stream.chord,
            player_holds=self.stream.player_holds,
            recent=tuple(event.pitch for event in recent[-16:]),
        )

    def _plan(self, turn: Turn, event: Event, before: Mark) -> None:
        """Hand `event` (stream seconds) to the scheduler, unless the mixing keeps it out of the stream."""
        controls, stream = self.controls, self.stream
        event = replace(event, time=event.time + self.began)
        events: tuple[Event, ...] = (self._shaped(event),)
        if isinstance(event, NoteOn):
            admission = admit(event, controls.mixing, controls.mix, stream.player_holds, self._debt)
            self._debt = admission.debt
            if not admission.admitted:
                random = stream.random
                stream.rewind(before)
                stream.random = random
                self._floor = event.time - self.began + 0.01
                off = NoteOff(event.time + self._usual_length(), event.pitch, Part.PARTNER)
                events = () if controls.mix_sounds else (events[0], off)
            turn.has_note |= bool(events)
        if not events:
            return
        first, *rest = (self._placed(turn, each) for each in events)
        due = max(first.time, turn.latest_due)
        turn.latest_due = due
        sounding = (replace(first, time=due), *rest)
        turn.plan.append(_Planned(due, stream.mark(), sounding))
        early = [replace(each, time=each.time - self._early) for each in sounding]
        if not self._scheduler.schedule(self._generation, early):
            turn.refused = True  # the port is lost, or was
        if self._replanning is not None:
            self._measurements.replans.append(self._world.now() - self._replanning)
            self._replanning = None

    def _shaped(self, event: Event) -> Event:
        """As loud as the controls say."""
        if not isinstance(event, NoteOn):
            return event
        velocity = event.velocity * self.controls.dynamics
        if self.controls.mix_sounds:
            loudest = loudest_heard(self.controls.mixing, self.controls.mix, self.player.velocity(event.time))
            velocity = min(velocity, loudest or 127)
        return replace(event, velocity=max(1, min(127, round(velocity))))

    def _placed(self, turn: Turn, event: Event) -> Event:
        """Pulled to the grid: an onset by as much as the controls say, its end along with it."""
        match event:
            case NoteOn():
                earliest = max(turn.latest_due, turn.soonest)
                time = self._around.pulled(event.time, self.controls.grid, earliest)
                turn.shift[event.pitch] = time - event.time
            case NoteOff():
                time = event.time + turn.shift.pop(event.pitch, 0.0)
            case Pedal():
                time = event.time
        return replace(event, time=time)

    def _usual_length(self) -> float:
        """Seconds that the partner's notes have lasted lately."""
        begun: dict[int, float] = {}
        lengths: list[float] = []
        for event in self._recent:
            if event.part is not Part.PARTNER:
                continue
            if isinstance(event, NoteOn):
                begun[event.pitch] = event.time
            elif isinstance(event, NoteOff) and event.pitch in begun:
                lengths.append(event.time - begun.pop(event.pitch))
        lengths = sorted(lengths[-32:])
        return min(max(lengths[len(lengths) // 2], 0.05), _LONGEST_ORPHAN) if lengths else 0.3

    # styles, and what is measured

    def _move(self, replay: Replay) -> None:
        """Between two phrases: go on with the engine that has caught up."""
        if self.stream.move(replay):
            self.counts.style_changes += 1
        elif not self.switch.pending and self.switch.ready is None:
            # what it caught up with was taken back since
            self.ask_style(StyleRequest(replay.engine.style))

    def ask_style(self, request: StyleRequest) -> None:
        """Bring an engine of another style to where the stream stands, in a thread of its own."""
        self.switch.ask(request, self.stream.engine, self.history)

    def style_arrived(self, caught: CaughtUp) -> None:
        """That thread is done."""
        self.switch.arrived(caught, self.stream.engine, self.history)

    def history(self) -> History:
        """Where the stream stands, for an engine of another style."""
        self.flush()
        return self.stream.history()

    def _await(self, due: float, asked: float | None) -> None:
        """Measure the reaction: until the first event due at `due` or later leaves, from `asked` or, where
        that is None, from when the event was due."""
        self.asked = asked
        self.awaited = due - self._early

    def _in_stream(self, event: Event) -> Event:
        return replace(event, time=max(event.time - self.began, 0.0))
