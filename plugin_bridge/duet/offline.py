"""A duet without threads: in simulated time, or played again from a tape.

The same partner, conductor and scheduler as live, with time that moves only when they have nothing to do at
the present one. What is sent is sent exactly when it is due.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from plugin_bridge.duet.assembly import assemble, new_stream
from plugin_bridge.duet.conductor import Conductor, Host, Item, Message, Setting
from plugin_bridge.duet.controls import control
from plugin_bridge.duet.echo import EchoFilter
from plugin_bridge.duet.journal import (
    TICKS,
    Input,
    Live,
    Replayed,
    Source,
    Tape,
    TapeEnd,
    World,
    next_tick,
)
from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.partner import Partner
from plugin_bridge.duet.recording import Recording
from plugin_bridge.duet.report import Measurements
from plugin_bridge.duet.scheduler import Scheduler, Sent
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.duet.style_switch import CaughtUp, StyleRequest
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.host_clock import timeline_from_bytes

START = 1000.0
"""Where the clock of a simulated duet starts, seconds."""
DECISION = 0.0012
"""Seconds of simulated time that pass with each look at the clock: a step of the model or so."""


class VirtualTime:
    """A clock that is moved, and a scheduler that plays along with it."""

    def __init__(self, start: float) -> None:
        self.time = start
        self.scheduler: Scheduler | None = None

    def now(self) -> float:
        return self.time

    def move_to(self, time: float) -> None:
        """Let the time up to `time` pass; everything due leaves when it is due."""
        scheduler = self.scheduler
        while scheduler is not None:
            due = scheduler.turn()
            if due is None or due > time:
                break
            self.time = max(due, self.time)
        self.time = max(time, self.time)
        if scheduler is not None:
            scheduler.turn()


@dataclass(slots=True)
class Offline:
    """A duet whose time is ours to move."""

    partner: Partner
    conductor: Conductor
    scheduler: Scheduler
    recording: Recording
    measurements: Measurements
    tape: Tape
    posted: deque[Item] = field(default_factory=deque)
    time: VirtualTime = field(default_factory=lambda: VirtualTime(0.0))

    def sleep(self, seconds: float) -> None:
        """Let time pass in which nothing runs, the scheduler included, as when a machine sleeps."""
        self.time.time += seconds


def _build(
    engine: Engine, settings: SessionSettings, time: VirtualTime, world: World, tape: Tape,
    send: Callable[[bytes], None] = lambda message: None, scheduler_type: type[Scheduler] = Scheduler,
) -> Offline:  # fmt: skip
    around = Surroundings(settings.chart, settings.metre_at, settings.hears_chords, settings.tempo)
    around.began = time.time
    stream = new_stream(engine, settings, around)
    posted: deque[Item] = deque()
    echo, recording, measurements = EchoFilter(), Recording(settings.kept), Measurements()

    def on_sent(each: Sent) -> None:
        recording.sent(each)
        echo.sent(each.event, each.due)

    scheduler = scheduler_type(send, clock=time.now, on_sent=on_sent, threaded=False)
    time.scheduler = scheduler
    partner, conductor = assemble(
        stream, scheduler, world, around, settings, measurements, recording, tape, echo, posted.append,
        in_background=False,
    )  # fmt: skip
    return Offline(partner, conductor, scheduler, recording, measurements, tape, posted, time)


def simulate(
    engine: Engine,
    settings: SessionSettings,
    items: Iterable[tuple[float, Item]],
    seconds: float,
    *,
    decision: float = DECISION,
    send: Callable[[bytes], None] = lambda message: None,
    progress: Callable[[Offline, float], None] = lambda duet, seconds: None,
) -> Offline:
    """Play a duet of `seconds` in simulated time, as fast as it computes. `items` come in at the times
    given, seconds from the start, in order; the clock starts at START and moves on by `decision` seconds with
    each look at it. `send` gets the messages that leave, `progress` the duet and the seconds so far, now and
    then."""
    start = START
    time = VirtualTime(start)
    coming = ((start + at, item) for at, item in items)
    first = next(coming, None)
    waiting = deque([] if first is None else [first])  # the next one only: an hour's are many
    tape = Tape()
    tape.read(start)

    def clock() -> float:
        time.move_to(next_tick(time.time + decision) / TICKS)
        return time.time

    def has_come() -> bool:
        return bool(waiting) and waiting[0][0] <= time.time

    world = Live(clock, has_come, lambda: duet.scheduler.dropped, tape)
    duet = _build(engine, settings, time, world, tape, send)
    end = start + seconds
    while time.time < end:
        progress(duet, time.time - start)
        while has_come() or duet.posted:
            if duet.posted:
                duet.conductor.deliver(duet.posted.popleft())
                continue
            duet.conductor.deliver(waiting.popleft()[1])
            waiting.extend(itertools.islice(coming, 1))
        duet.conductor.flush()
        wait = duet.conductor.play()
        if not duet.posted:
            time.move_to(min(time.time + wait, waiting[0][0] if waiting else end, end))
    duet.scheduler.close()
    return duet


def replay(
    engine: Engine, settings: SessionSettings, tape: Tape, scheduler_type: type[Scheduler] = Scheduler
) -> Offline:
    """Play a session again from its tape: every decision falls as it fell. BridgeError for a tape that is
    damaged or not whole, or that some other session wrote. A `scheduler_type` of one's own sees all that is
    planned."""
    if not tape.whole:
        raise BridgeError("cannot be played again: its session was too long, or something failed in it")
    if not tape.readings:
        raise BridgeError("is empty")
    inputs = deque(tape.each_input())
    time = VirtualTime(-math.inf)
    world = Replayed(tape, time.move_to)
    world.now()
    duet = _build(engine, settings, time, world, Tape(), scheduler_type=scheduler_type)
    try:
        while True:
            while inputs and inputs[0].position == world.position:
                duet.conductor.deliver(_item(inputs.popleft(), duet, settings))
            duet.conductor.flush()
            before = world.position
            duet.conductor.play()
            if world.position == before or (inputs and inputs[0].position < world.position):
                raise BridgeError("the tape and the program do not fit: another version made it")
    except TapeEnd:
        pass
    duet.scheduler.close()
    return duet


def _item(each: Input, duet: Offline, settings: SessionSettings) -> Item:
    match each.source:
        case Source.MESSAGE:
            return Message(each.data, each.time)
        case Source.CONTROL:
            name, _, value = each.data.decode().partition("=")
            return Setting(name, control(name).check(float(value)))
        case Source.STYLE:
            wanted = each.data.decode()
            for style in settings.styles:
                if style.name == wanted:
                    return StyleRequest(style)
            raise BridgeError(f"it changes to the style {wanted!r}, which is not given")
        case Source.HOST:
            return Host(timeline_from_bytes(each.data), each.time)
        case Source.CAUGHT_UP:
            found = next((item for item in duet.posted if isinstance(item, CaughtUp)), None)
            if found is None:
                raise BridgeError("the tape is damaged: a style arrived that nobody asked for")
            duet.posted.remove(found)
            return found
