"""A live duet: the player's events go into the stream as they come, the partner answers and yields.

Threads: the ports' callback stamps a message and puts it in a queue, nothing more. One worker thread owns
the stream and everything the partner decides. The scheduler's thread sends at the due time. `start`,
`stop` and `report` are called from outside.

Time: all clocks are `plugin_bridge.ports.clock`; the stream's seconds count from `start`.
"""

from __future__ import annotations

import gc
import logging
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from plugin_bridge.duet.companion import CompanionRules, accompany
from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.phrases import Decision, Mode, Move, PhraseRules, Snapshot, decide
from plugin_bridge.duet.report import Measurements, Report, spread
from plugin_bridge.duet.scheduler import Scheduler, Sent
from plugin_bridge.duet.style_switch import CaughtUp, StyleRequest, StyleSwitch
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.generation import DEFAULT_ADHERENCE, DEFAULT_LIMITS
from plugin_bridge.engine.replay import History, Replay
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.engine.stream import Mark, MetreAt, Stream, rewind_reach, unknown_metre
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip, clip_from_events
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal, close_all
from plugin_bridge.music.grammar import StartBy
from plugin_bridge.music.harmony import Chart
from plugin_bridge.music.tokens import tick_of
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.messages import AllNotesOff, ProgramChange, event_from_message
from plugin_bridge.ports.wire import MidiPorts

logger = logging.getLogger(__name__)

LOOKAHEAD = {Mode.ANSWER: 1.2, Mode.CONTINUOUS: 0.6}
"""Seconds that the plan reaches beyond now: what a rewind may have to take back. Playing along, each event of
the player's takes it back, so it is short."""
COMMIT = 0.06
"""Seconds ahead of now that the plan is final, when the player does something and the partner plays on."""
FIRST_NOTE_WITHIN = 0.3
"""Seconds from the start of an answer to its first note at most."""
PLAN_MARGIN = 0.02
"""Seconds ahead of now that nothing new is planned in, so that it can be decided before it is due."""
_SWITCH_INTERVAL = 0.0005
_IDLE = 1.0
_ONSETS = 64  # as far back as a phrase is looked at


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How the partner plays: its `mode` to begin with, and what it follows.

    `chart` and `metre_at` are in seconds from the start of the session; `chord_bias` goes with a chart.
    Without one the partner listens for the player's chords, and knows them without being held to them
    (`hears_chords`). A program change from the player chooses among `styles`, by its number.
    """

    seed: int = 0
    sampling: SamplingParameters | None = None
    rules: PhraseRules = field(default_factory=PhraseRules)
    chart: Chart | None = None
    metre_at: MetreAt = unknown_metre
    chord_bias: float = DEFAULT_ADHERENCE
    hears_chords: bool = True
    styles: tuple[Style, ...] = ()
    mode: Mode = Mode.ANSWER
    companion: CompanionRules = field(default_factory=CompanionRules)


@dataclass(frozen=True, slots=True)
class _Planned:
    """An event of the plan, due at `due` (clock seconds), and the place in the stream after it."""

    due: float
    after: Mark
    is_note: bool


@dataclass(slots=True)
class _Answer:
    """The answer being prepared or played, clock seconds. `base` is the stream before any of `plan`."""

    start: float
    end: float
    base: Mark
    plan: deque[_Planned] = field(default_factory=deque)
    begun: bool = False
    has_note: bool = False
    committed_note: bool = False
    complete: bool = False

    def committed(self, time: float) -> Mark:
        """The place after all that was due before `time`: as far as the plan can be taken back."""
        while self.plan and self.plan[0].due < time:
            planned = self.plan.popleft()
            self.base = planned.after
            self.committed_note |= planned.is_note
        return self.base


class DuetSession:
    """One duet over one pair of ports. Use as a context manager, or `start` and `stop`."""

    def __init__(
        self, engine: Engine, ports: MidiPorts, settings: SessionSettings = SessionSettings()
    ) -> None:
        self.engine, self.ports, self.settings = engine, ports, settings
        self.measurements = Measurements()
        self.failure: BaseException | None = None
        self.answers = self.yields = 0
        self.style_changes = 0
        self._inbox: queue.SimpleQueue[tuple[bytes, float] | StyleRequest | CaughtUp | Mode | None]
        self._inbox = queue.SimpleQueue()
        self._switch = StyleSwitch(self._inbox.put)
        self._mode = settings.mode
        self._replanning: float | None = None
        self._around = Surroundings(settings.chart, settings.metre_at, settings.hears_chords)
        self._sent: list[Sent] = []
        self._heard: list[Event] = []
        self._worker: threading.Thread | None = None
        self._asked: float | None = None
        self._generation = 0
        self._answer: _Answer | None = None
        self._held: set[int] = set()
        self._pedal = False
        self._onsets: list[float] = []
        self._last_release: float | None = None
        self._pending: list[Event] = []
        self._awaited: float | None = None
        self._began = self._ended = 0.0
        self._old_switch = sys.getswitchinterval()

    def __enter__(self) -> DuetSession:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin: from now on the player is heard."""
        settings = self.settings
        self._stream = Stream(
            self.engine, sampling=settings.sampling, seed=settings.seed, limits=DEFAULT_LIMITS,
            chart=settings.chart, metre_at=self._around.metre_at,
            chord_bias=settings.chord_bias if settings.chart else 0.0,
        )  # fmt: skip
        self._warm_up()
        sys.setswitchinterval(_SWITCH_INTERVAL)
        gc.collect()
        gc.freeze()  # what lives until the end need not be looked at while music plays
        self._scheduler = Scheduler(self.ports.send, on_sent=self._on_sent)
        self._began = self._around.began = now()
        self._worker = threading.Thread(target=self._run, name="duet", daemon=True)
        self._worker.start()
        self.ports.listen(self._on_message)

    def stop(self) -> None:
        """End: nothing of the partner's sounds any more when this returns. May be repeated."""
        if self._worker is None:
            return
        self.ports.listen(None)
        self._inbox.put(None)
        self._worker.join()
        self._worker = None
        self._scheduler.close()
        self._ended = now()
        self.measurements.steps = list(self._stream.step_seconds)
        sys.setswitchinterval(self._old_switch)
        gc.unfreeze()

    def change_style(self, style: Style) -> None:
        """Play in another style from the next phrase on. From any thread; returns at once, the latest call
        counts. A style that cannot be loaded changes nothing but the log."""
        self._inbox.put(StyleRequest(style))

    def change_mode(self, mode: Mode) -> None:
        """Play in another mode; what is being played ends first. From any thread, returns at once."""
        self._inbox.put(mode)

    @property
    def mode(self) -> Mode:
        """How the partner plays now."""
        return self._mode

    @property
    def began(self) -> float:
        """The clock when the session started."""
        return self._began

    def wait(self, seconds: float | None, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Let the duet go on for `seconds` (None: for ever), until it fails or `interrupted` says so.
        Raises what made it fail."""
        end = None if seconds is None else now() + seconds
        while self._worker is not None and self._worker.is_alive() and not interrupted():
            lost = self.ports.stats().lost or self._scheduler.failure
            if lost is not None:
                raise BridgeError(f"the MIDI ports were lost: {lost}")
            left = 0.2 if end is None else min(end - now(), 0.2)
            if left <= 0:
                break
            self._worker.join(left)
        if self.failure is not None:
            raise self.failure

    def clip(self) -> Clip:
        """What both played, from the start of the session, with the chart's chords."""
        events = [replace(event, time=event.time - self._began) for event in self._heard]
        events += [replace(sent.event, time=sent.sent - self._began) for sent in self._sent]
        events.sort(key=lambda event: event.time)  # both lists are in order: what is simultaneous stays so
        end = (self._ended or now()) - self._began
        clip = clip_from_events(close_all(events, end), end=end)
        return replace(clip, chords=tuple(span for span in self._around.spans if span.start < end))

    def report(self) -> Report:
        """The measurements so far; final after `stop`."""
        sent = [each.event for each in self._sent]
        return Report(
            seconds=round((self._ended or now()) - self._began, 3),
            player_notes=sum(isinstance(event, NoteOn) for event in self._heard),
            partner_notes=sum(isinstance(event, NoteOn) for event in sent),
            hung_notes=hung_notes(sent),
            reaction_ms=spread(self.measurements.reaction),
            lateness_ms=spread(self.measurements.lateness),
            tokens=self._stream.tokens_generated + self._stream.tokens_heard,
            step_ms=spread(self.measurements.steps or list(self._stream.step_seconds)),
            transport=self.ports.transport,
            style=self.engine.style.name,
            style_changes=self.style_changes,
            seed=self.settings.seed,
            answers=self.answers,
            yields=self.yields,
            mode=self._mode.value,
            host_tempo=self._around.host_tempo,
            replan_ms=spread(self.measurements.replans),
            dropped_late=self._scheduler.snapshot().dropped,
            lost=self.ports.stats().lost,
        )

    # the ports' thread

    def _on_message(self, message: bytes, time: float) -> None:
        self._inbox.put((bytes(message), time))

    # the scheduler's thread

    def _on_sent(self, sent: Sent) -> None:
        self._sent.append(sent)
        self.measurements.lateness.append(sent.lateness)
        awaited = self._awaited
        if awaited is not None and sent.sent >= awaited and sent.due >= awaited:
            self._awaited = None
            self.measurements.reaction.append(sent.sent - (self._asked or sent.due))

    # the worker

    def _run(self) -> None:
        try:
            timeout: float | None = None
            while self._take(timeout):
                timeout = self._play()
        except BaseException as error:
            logger.exception("the duet failed")
            self.failure = error
        finally:
            self._scheduler.panic()

    def _take(self, timeout: float | None) -> bool:
        """Hear everything that has come in, waiting up to `timeout` for the first. False: stop."""
        try:
            item = (
                self._inbox.get(timeout=timeout)
                if timeout is None or timeout > 0
                else self._inbox.get_nowait()
            )
            while item is not None:
                if isinstance(item, StyleRequest):
                    self._switch.ask(item, self.engine, self._history)
                elif isinstance(item, CaughtUp):
                    self._switch.arrived(item, self.engine, self._history)
                elif isinstance(item, Mode):
                    self._change_mode(item)
                else:
                    self._hear_message(*item)
                item = self._inbox.get_nowait()
            return False
        except queue.Empty:
            return True
        finally:
            self._flush()

    def _history(self) -> History:
        self._flush()
        return self._stream.history()

    def _flush(self) -> None:
        """Put what was heard into the stream, in one pass."""
        if self._pending:
            self._stream.hear([self._in_stream(event) for event in self._pending])
            self._pending.clear()

    def _hear_message(self, message: bytes, time: float) -> None:
        if self._around.hear_message(message, time):
            return
        event = event_from_message(message, time)
        if isinstance(event, ProgramChange):
            if event.program < len(self.settings.styles):
                self.change_style(self.settings.styles[event.program])
        elif isinstance(event, AllNotesOff):
            for pitch in sorted(self._held):
                self._hear(NoteOff(time, pitch))
            self._hear(Pedal(time, False))
        elif event is not None:
            self._hear(event)

    def _change_mode(self, mode: Mode) -> None:
        """What is being played ends, and the other policy decides from here on."""
        self._flush()
        if mode is not self._mode and self._answer is not None:
            self._finish_answer(self._answer)
        self._mode = mode

    def _decide(self, struck: bool = False) -> Decision:
        snapshot = self._snapshot(struck)
        if self._mode is Mode.CONTINUOUS:
            return accompany(snapshot, self.settings.companion)
        return decide(snapshot, self.settings.rules)

    def _change_style(self, replay: Replay) -> None:
        """Between two phrases: go on with the engine that has caught up."""
        self._flush()
        if self._stream.move(replay):
            self.engine = replay.engine
            self.style_changes += 1
        elif not self._switch.pending and self._switch.ready is None:
            # what it caught up with was taken back since
            self._switch.ask(StyleRequest(replay.engine.style), self.engine, self._history)

    def _hear(self, event: Event) -> None:
        """The player did something: it enters the stream before anything else is decided."""
        answer = self._answer
        struck = isinstance(event, NoteOn)
        match event:
            case NoteOn():
                if event.pitch in self._held:  # struck again without a release: one key, one note
                    self._hear(NoteOff(event.time, event.pitch))
                    answer = self._answer
                if self._is_new_phrase(event.time, answer):
                    self._onsets.clear()
                self._held.add(event.pitch)
                self._onsets.append(event.time)
                del self._onsets[:-_ONSETS]
            case NoteOff():
                if event.pitch not in self._held:
                    return
                self._held.discard(event.pitch)
                self._last_release = event.time
            case Pedal():
                if event.down == self._pedal:
                    return  # a half pedal sends many values; only up and down are told
                self._pedal = event.down
        self._heard.append(event)
        self._pending.append(event)
        self._around.hear(self._in_stream(event))
        if answer is not None:
            yielding = self._decide(struck).move is Move.YIELD
            self._take_back(answer, event, yielding)

    def _is_new_phrase(self, time: float, answer: _Answer | None) -> bool:
        """Whether a note at `time` begins a phrase: the partner plays, or the last one was too long ago."""
        if self._mode is Mode.CONTINUOUS:
            return False
        if answer is not None and self._is_playing(answer):
            return True
        rules = self.settings.rules
        quiet_since = max(self._onsets[-1] if self._onsets else 0.0, self._last_release or 0.0)
        return not self._held and time - quiet_since > rules.longest_pause + rules.longest_held

    def _take_back(self, answer: _Answer, event: Event, yielding: bool) -> None:
        """The plan is overtaken by `event`: forget what was not sent. Yielding, let go of what sounds and
        listen; otherwise an answer that has begun is planned anew, one only prepared is dropped."""
        playing = self._is_playing(answer)
        if yielding and self._scheduler.snapshot().held:
            self._await(now(), asked=event.time)
        if yielding or not playing:
            self._generation += 1
            self._scheduler.begin(self._generation, release=yielding)
            time = now()
        else:
            time = now() + COMMIT
            self._scheduler.cancel_after(time)
            self._replanning = event.time
        place = answer.committed(time)
        if self._stream.can_rewind(place):
            self._stream.rewind(place)
        answer.plan.clear()
        answer.complete, answer.has_note = False, answer.committed_note
        if yielding:
            self.yields += playing
            self._let_go(time)
        self._flush()
        if (replay := self._switch.take()) is not None and not answer.plan:
            self._change_style(replay)
        self._stream.reseed()
        answer.base = self._stream.mark()
        if yielding or not playing:
            self._answer = None

    def _play(self) -> float | None:
        """Decide and plan; how long to wait before looking again (None: until something comes in)."""
        time = now()
        if (chart := self._around.chart_at(time - self._began)) is not None:
            self._stream.set_chart(chart)
        if self._answer is None:
            if (replay := self._switch.take()) is not None:
                self._change_style(replay)
            decision = self._decide()
            if decision.move is not Move.ANSWER:
                self._stream.advance(time - self._began)  # so that no long silence is left to catch up on
                look = decision.look_again
                return _IDLE if look is None else min(max(look - time, 0.0), _IDLE)
            self._begin_answer(decision)
        answer = self._answer
        assert answer is not None
        if not answer.begun and time >= answer.start:
            answer.begun = True
            self.answers += 1
        if answer.begun and (time >= answer.end or self._decide().move is Move.YIELD):
            self._finish_answer(answer)
            return 0.0
        self._plan_ahead(answer)
        if not answer.begun:
            return max(answer.start - now(), 0.0)
        if answer.complete:
            return max(answer.end - now(), 0.0)
        ahead = self._began + self._stream.seconds - now()
        return min(max(ahead - 0.8 * LOOKAHEAD[self._mode], 0.01), 0.25)

    def _begin_answer(self, decision: Decision) -> None:
        self._generation += 1
        self._scheduler.begin(self._generation)
        self._answer = _Answer(decision.start, decision.end, self._stream.mark())
        self._await(decision.start, asked=None)

    def _plan_ahead(self, answer: _Answer) -> None:
        """Generate until the plan reaches the lookahead, the answer ends, or the player does something."""
        stream = self._stream
        start, end = answer.start - self._began, answer.end - self._began
        stream.advance(start)
        usual = stream.limits
        opening = StartBy(Part.PARTNER, tick_of(start + FIRST_NOTE_WITHIN))
        try:
            while self._inbox.empty() and not answer.complete:
                time = now()
                horizon = min(time - self._began + LOOKAHEAD[self._mode], end)
                too_long = self.engine.length - answer.committed(time).length > rewind_reach()
                if stream.seconds > horizon or (too_long and stream.seconds > time - self._began):
                    break
                stream.limits = usual if answer.has_note else (*usual, opening)
                before = stream.mark()
                soonest = max(start, time - self._began + PLAN_MARGIN)
                event = stream.generate(not_before=soonest, until=horizon)
                if stream.seconds > end:
                    stream.rewind(before)
                    answer.complete = True
                elif event is not None:
                    answer.has_note |= isinstance(event, NoteOn)
                    due = event.time + self._began
                    answer.plan.append(_Planned(due, stream.mark(), isinstance(event, NoteOn)))
                    self._scheduler.schedule(self._generation, [replace(event, time=due)])
                    if self._replanning is not None:
                        self.measurements.replans.append(now() - self._replanning)
                        self._replanning = None
        finally:
            stream.limits = usual

    def _finish_answer(self, answer: _Answer) -> None:
        """The answer has said what it had to: let go of what it holds, and listen."""
        self._generation += 1
        self._scheduler.begin(self._generation, release=True)
        self._let_go(now())
        self._answer = None
        self._awaited = None
        self._onsets.clear()

    def _let_go(self, time: float) -> None:
        """Write into the stream what the scheduler's release does: the partner's keys and pedal come up."""
        offs: list[Event] = [
            NoteOff(time, pitch, Part.PARTNER) for pitch in sorted(self._stream.partner_holds)
        ]
        if self._stream.partner_pedal:
            offs.insert(0, Pedal(time, False, Part.PARTNER))
        self._stream.hear([self._in_stream(event) for event in offs])

    def _await(self, due: float, asked: float | None) -> None:
        """Measure the reaction: until the first event due at `due` or later leaves, from `asked` or, where
        that is None, from when the event was due."""
        self._asked = asked
        self._awaited = due

    def _is_playing(self, answer: _Answer) -> bool:
        return answer.begun or now() >= answer.start

    def _snapshot(self, struck: bool = False) -> Snapshot:
        answering = self._answer is not None and self._is_playing(self._answer)
        return Snapshot(now(), tuple(self._onsets), self._last_release, len(self._held), answering, struck)

    def _in_stream(self, event: Event) -> Event:
        return replace(event, time=max(event.time - self._began, 0.0))

    def _warm_up(self) -> None:
        """Run every shape the session will need once, so that the first note costs what the others do."""
        mark = self._stream.mark()
        for count in range(1, 9):
            self.engine.extend([0] * count, [0] * count)
        self._stream.rewind(mark)
        for _ in range(8):
            self._stream.generate(not_before=0.0, until=1.0)
        self._stream.rewind(mark)
        self._stream.tokens_generated = 0
        self._stream.step_seconds.clear()


def hung_notes(events: list[Event]) -> int:
    """How many note-ons of a recorded output never got their off."""
    held: set[int] = set()
    for event in events:
        match event:
            case NoteOn():
                held.add(event.pitch)
            case NoteOff():
                held.discard(event.pitch)
    return len(held)
