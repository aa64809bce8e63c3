"""What the partner does: when its turns begin and end, and taking back what is overtaken.

All of it runs in one thread, the session's worker, and depends on nothing but what it is told and on the
`World`: so a session can be played again from its tape, or run in simulated time.

Times are clock seconds, as the events' are; the stream counts from `began`. What lies less than `COMMIT`
ahead is final; the rest of the plan is provisional, and whatever the player does takes it back: the stream
is rewound to the last final event, the player's event goes in, and the plan is made anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.journal import World
from plugin_bridge.duet.listening import Change, Surroundings
from plugin_bridge.duet.pace import Pace
from plugin_bridge.duet.phrases import Decision, Mode, Move, Snapshot
from plugin_bridge.duet.planner import Planner, Turn
from plugin_bridge.duet.player import Player
from plugin_bridge.duet.report import Measurements
from plugin_bridge.duet.roles import Policies
from plugin_bridge.duet.scheduler import Scheduler
from plugin_bridge.duet.style_switch import CaughtUp, StyleRequest, StyleSwitch
from plugin_bridge.engine.replay import History, Replay
from plugin_bridge.engine.stream import Stream
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal, drop_strays

COMMIT = 0.06
"""Seconds ahead of now that the plan is final, when the player does something and the partner plays on."""
CHUNK_CONTEXT = 10.0
"""Seconds that the chunk mode hears, as a baseline."""
REFUSED_PAUSE = 0.25
"""Seconds until it tries again, where the scheduler takes no plan."""
ASLEEP = 1.0
"""Seconds later than it wanted to look again, after which the partner takes it that the machine slept."""

_IDLE = 1.0


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
        self._policies = policies
        self._planner = Planner(
            stream, scheduler, world, around, self.player, self.pace, measurements, has_chart=has_chart,
            early=early,
        )  # fmt: skip
        self._turn: Turn | None = None
        self._pending: list[Event] = []
        self._expected = math.inf
        self._silent_until = -math.inf

    # what it is told

    def hear(self, event: Event) -> list[Event]:
        """The player did something. It enters the stream before anything else is decided; what it amounted
        to is returned."""
        struck = isinstance(event, NoteOn)
        if struck and self._is_new_phrase(event.time):
            self.player.begin_phrase()
        events = self.player.take(event)
        for each in events:
            self._planner.recent.append(each)
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
        self.awaited = self._planner.replanning = None
        if self.controls.mode is not Mode.CHUNK:
            self.player.begin_phrase()

    def recover(self) -> None:
        """Begin anew after something broke: everything off, and the stream holds the latest seconds."""
        self._planner.generation += 1
        self._scheduler.panic()
        self._turn, self.awaited, self._planner.replanning = None, None, None
        self.counts.faults += 1
        self._pending.clear()
        self._restart(self._world.now())

    @property
    def said(self) -> str:
        """What it does, for a line on a screen."""
        doing = "silent" if self.controls.mute else "listening" if self._turn is None else "playing"
        style, mode = self.stream.engine.style.name, self.controls.mode.value
        return f"Plugin Bridge: {doing} - {mode}, {style}"

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
        change = self._around.change_at(time - self.began)
        moved = self._around.moved_since(time, self.controls.grid)
        if moved is not None and self._turn is not None:
            self._planner.retime(self._turn, moved)
        if change is not Change.NONE and self._turn is not None:
            self._follow(change, self._turn, time)
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
        self._planner.plan_ahead(turn, self.controls)
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
        return min(max(ahead - 0.8 * self._planner.lookahead(self.controls), 0.01), 0.25)

    def _decide(self, time: float, struck: bool = False) -> Decision:
        waits = time < self._silent_until or self._around.host_stands(time)
        if self.controls.mute or waits or self.pace.resting(time):
            return Decision(Move.LISTEN if self._turn is None else Move.YIELD, look_again=time + 0.25)
        return self._policies.decide(self.controls.mode, self._snapshot(time, struck))

    def _snapshot(self, time: float, struck: bool) -> Snapshot:
        player = self.player
        playing = self._turn is not None and self._is_playing(self._turn, time)
        return Snapshot(
            time, tuple(player.onsets), player.last_release, len(player.held), playing, struck, player.pedal,
            player.density(time), player.velocity(time), self._around.playing_transport,
            self._around.beat_line(time), tuple(player.rests),
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
        self._planner.generation += 1
        self._scheduler.begin(self._planner.generation, cut=time)
        self._turn = Turn(decision.start, decision.end, self.stream.mark())
        self._await(decision.start, asked=None)

    def _is_playing(self, turn: Turn, time: float) -> bool:
        return turn.begun or time >= turn.start

    def _follow(self, change: Change, turn: Turn, time: float) -> None:
        """The host did something: what was planned was for another time or place."""
        if change is Change.DRIFT:
            self._take_back(turn, None, time, yielding=False)
        elif self._around.playing_transport is None:
            self.end_turn()
        else:
            self._take_back(turn, None, time, yielding=False, commit=0.0)

    # taking back

    def _take_back(
        self, turn: Turn, asked: float | None, time: float, yielding: bool, commit: float = COMMIT
    ) -> None:
        """The plan is overtaken: forget what is not final. Yielding, let go of what sounds and listen;
        otherwise a turn that has begun is planned anew, one only prepared is dropped. What lies less than
        `commit` seconds ahead stays."""
        playing = self._is_playing(turn, time)
        if yielding and self.stream.partner_holds:
            self._await(time, asked=asked)
        if yielding or not playing:
            cut = time
            self._cut(turn, cut, release=yielding)
        else:
            cut = time + commit
            self._scheduler.cancel_after(cut - self._planner.early)
            self._planner.rewind(turn, cut)
            self._planner.replanning = asked
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
        self._planner.generation += 1
        self._scheduler.begin(self._planner.generation, cut=time - self._planner.early, release=release)
        self._planner.rewind(turn, time)

    def _let_go(self, time: float) -> None:
        """Write into the stream what the scheduler's release does: the partner's keys and pedal come up."""
        offs: list[Event] = [
            NoteOff(time, pitch, Part.PARTNER) for pitch in sorted(self.stream.partner_holds)
        ]
        if self.stream.partner_pedal:
            offs.insert(0, Pedal(time, False, Part.PARTNER))
        self._planner.recent.extend(offs)
        self.stream.hear([self._in_stream(event) for event in offs])

    def _restart(self, time: float, seconds: float = CHUNK_CONTEXT) -> None:
        """Let the stream hold the latest `seconds` only."""
        start = time - seconds
        latest = sorted(
            (event for event in self._planner.recent if start <= event.time <= time),
            key=lambda event: event.time,
        )
        self._pending.clear()
        self.stream.restart(
            max(start - self.began, 0.0), [self._in_stream(event) for event in drop_strays(latest)]
        )
        self._let_go(time)
        self.stream.advance(time - self.began)

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
        self.awaited = due - self._planner.early

    def _in_stream(self, event: Event) -> Event:
        return replace(event, time=max(event.time - self.began, 0.0))
