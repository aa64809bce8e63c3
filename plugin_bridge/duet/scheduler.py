"""Plays plans: sends each event at its time, and never leaves a note hanging.

Threads: one thread of its own does all the sending and calls `on_sent` and `on_failure`, without holding
the lock; it waits on one condition and never polls. All public methods may be called from any thread, the
callbacks included, take microseconds, and send nothing themselves, but for `close`, which waits for the
sending thread (not when that thread calls it). What one thread calls is done in that order; anything that
silences overtakes what is planned. A `send` that never returns blocks the sending only.
With `threaded=False` there is no thread, and the caller's `turn` does the sending.

A *generation* is one line of planning. `begin` makes a newer one and thereby discards what older ones have
planned; what an old one still sends in is refused. After `panic` and after the loss of the port the
present generation is over too.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias, TypeVar

from plugin_bridge.duet.plan_queue import PlanQueue
from plugin_bridge.duet.sounding import Sounding
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.messages import (
    ALL_NOTES_OFF,
    ALL_SOUND_OFF,
    CONTROL_CHANGE,
    message_from_event,
)
from plugin_bridge.ports.priority import ask_for_realtime

logger = logging.getLogger(__name__)

LATEST_SECONDS = 0.08
JOIN_SECONDS = 2.0
_LONGEST_WAIT = 3600.0  # seconds; below the limit of every platform

Send: TypeAlias = Callable[[bytes], None]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that left. `due` and `sent` in seconds of the scheduler's clock; `sent` after the send."""

    event: Event
    due: float
    sent: float

    @property
    def lateness(self) -> float:
        """Seconds; never negative."""
        return self.sent - self.due


@dataclass(frozen=True, slots=True)
class SchedulerSnapshot:
    """Where a scheduler stands, for reports and the monitor page."""

    generation: int
    pending: int  # begins and ends of notes and pedal movements to come
    held: frozenset[int]
    pedal_down: bool
    sent: int  # events so far
    dropped: int  # note-ons that were too late, so far
    failure: Exception | None


@dataclass(frozen=True, slots=True)
class _Out:
    """One message on its way, to the port that it was made for. `event` is None for channel modes."""

    message: bytes
    event: Event | None
    port: _Port


@dataclass(frozen=True, slots=True, eq=False)
class _Port:
    send: Send


class Scheduler:
    """Sends planned events when they are due, from one thread; see the module for the threads.

    `send` takes one MIDI message and may raise: then what is planned is cleared, note-offs are tried once
    more for all that sounds, `failure` keeps the error and `on_failure` gets it, and nothing is sent or
    planned until `reconnect`. `channel` is 0..15. Note-ons more than `latest` seconds behind are dropped
    with their note-offs; note-offs and pedals are sent however late. `on_sent` gets every event that left.
    """

    def __init__(
        self,
        send: Send,
        clock: Clock = now,
        on_sent: Callable[[Sent], None] | None = None,
        channel: int = 0,
        latest: float = LATEST_SECONDS,
        *,
        on_failure: Callable[[Exception], None] | None = None,
        threaded: bool = True,
    ) -> None:
        if not 0 <= channel <= 15:
            raise ValueError(f"channel {channel} is not 0 to 15")
        self._port = _Port(send)
        self._clock = clock
        self._on_sent = on_sent
        self._on_failure = on_failure
        self._channel = channel
        self._changed = threading.Condition()
        self._queue = PlanQueue(latest)
        self._sounding = Sounding()
        self._urgent: deque[_Out] = deque()
        self._lost: set[int] = set()  # pitches whose note-offs a lost port may not have got
        self._failure: Exception | None = None
        self._closed = False
        self._sent = 0
        self._turning = False
        self._thread: threading.Thread | None = None
        if threaded:
            self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
            self._thread.start()
        atexit.register(self.close)

    @property
    def failure(self) -> Exception | None:
        """What `send` raised, until `reconnect`."""
        return self._failure

    def snapshot(self) -> SchedulerSnapshot:
        with self._changed:
            return SchedulerSnapshot(
                generation=self._queue.generation,
                pending=len(self._queue),
                held=self._sounding.held,
                pedal_down=self._sounding.pedal_down,
                sent=self._sent,
                dropped=self._queue.dropped,
                failure=self._failure,
            )

    @property
    def dropped(self) -> int:
        """Note-ons that were too late, so far."""
        return self._queue.dropped

    def begin(self, generation: int, release: bool = False, cut: float | None = None) -> bool:
        """Discard what older generations planned, with `cut` only what they planned for then or later; only
        `generation` may plan from now on.

        Notes that sound keep the ends planned for them until the new plan names others; a note without a
        planned end gets one a little later (ORPHAN_SECONDS). With `release` all of them end at `cut`, or
        now. False, and nothing changes, when `generation` is older than the present one, or over.
        """
        with self._changed:
            before = self._queue.generation
            present = self._clock()
            earliest = -math.inf if cut is None else cut
            accepted = not self._closed and self._queue.begin(generation, present, earliest)
            if accepted and release and generation > before:
                self._queue.release(present if cut is None else cut)
            self._changed.notify()
            return accepted

    def schedule(self, generation: int, events: Iterable[Event]) -> bool:
        """Plan `events`, in time order, at absolute clock seconds; False when `generation` is over.

        A note-off ends the newest note of its key and replaces an end that a cut left provisional. A
        generation may go on planning a piece at a time. ValueError for a generation that was not begun.
        """
        events = list(events)
        with self._changed:
            if self._closed or self._failure is not None:
                return False
            before = self._queue.next_due
            accepted = self._queue.plan(generation, events)
            if self._queue.next_due != before:
                self._changed.notify()
            return accepted

    def cancel_after(self, time: float, keep_offs: bool = True) -> None:
        """Rewind the plan to `time`: unsent note-ons and pedal-downs due then or later go, with their ends.

        Notes begun before keep their ends, which the caller's next plan may replace; one whose end is not
        planned yet stays down until it is. With `keep_offs=False` they end at `time`, the pedal too.
        """
        with self._changed:
            self._queue.cancel_after(time)
            if not keep_offs:
                self._queue.release(time)
            self._changed.notify()

    def retime(self, moved: Callable[[float], float]) -> None:
        """Everything planned is due at the time that `moved`, which never falls, makes of its own."""
        with self._changed:
            self._queue.retime(moved)
            self._changed.notify()

    def release(self, time: float | None = None) -> None:
        """End every note and pedal begun before `time` (now, without it) then, at the latest.

        What is planned to begin later stays planned.
        """
        with self._changed:
            self._queue.release(self._clock() if time is None else time)
            self._changed.notify()

    def panic(self) -> None:
        """Silence now: the plan is cleared, its generation over, everything off, all sound off."""
        with self._changed:
            if not self._closed:
                self._silence(hard=True)
                self._changed.notify()

    def reconnect(self, send: Send) -> bool:
        """Send to `send` from now on; False after `close`.

        The old port, unless it failed, and the new one are silenced, with a note-off for each note that
        the failure may have left down. A generation that was begun before is over.
        """
        with self._changed:
            if self._closed:
                return False
            if self._failure is None:
                self._silence()
            self._port, self._failure = _Port(send), None
            self._silence(also=self._lost)
            self._lost.clear()
            self._changed.notify()
            return True

    def close(self) -> None:
        """Everything off, the pedal too, and the thread ended. May be repeated; runs by itself at exit."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._silence()
                self._changed.notify()
        if self._thread is None:
            self.turn()
        elif self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)
            if self._thread.is_alive():
                logger.error("the MIDI output does not return: notes may hang on it")
        atexit.unregister(self.close)

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def turn(self) -> float | None:
        """Send all that is due and say when the next event is; for `threaded=False` only."""
        if self._turning:  # a callback called `close`: the turn that called it sends the rest
            return None
        self._turning = True
        try:
            while True:
                with self._changed:
                    batch = self._take(self._clock())
                    if not batch:
                        return self._queue.next_due
                self._emit(batch)
        finally:
            self._turning = False

    def _run(self) -> None:
        ask_for_realtime()
        with _fine_timer():
            while batch := self._wait():
                self._emit(batch)

    def _wait(self) -> list[_Out]:
        """What is to be sent, as soon as there is something; nothing when closed."""
        with self._changed:
            while True:
                present = self._clock()
                batch = self._take(present)
                if batch or self._closed:
                    return batch
                due = self._queue.next_due
                self._changed.wait(None if due is None else min(due - present, _LONGEST_WAIT))

    def _take(self, present: float) -> list[_Out]:
        """The messages of the next event that is due, or the next one of a silencing."""
        if self._urgent:
            return [self._urgent.popleft()]
        while (event := self._queue.pop(present)) is not None:
            if actual := self._sounding.filter(event):
                return [self._out(event) for event in actual]
        return []

    def _emit(self, batch: list[_Out]) -> None:
        for index, out in enumerate(batch):
            error = self._deliver(out)
            if error is not None:
                self._fail(error, batch[index:])
                return

    def _deliver(self, out: _Out) -> Exception | None:
        """Send and report; what `send` raised, if it did."""
        try:
            out.port.send(out.message)
        except Exception as error:
            return error
        if out.event is not None:
            self._sent += 1
            if self._on_sent is not None:
                sent = Sent(out.event, out.event.time, self._clock())
                _call(self._on_sent, sent)
        return None

    def _fail(self, error: Exception, unsent: list[_Out]) -> None:
        """The port of `unsent` is lost: drop all that was meant for it, but try its note-offs once more."""
        port = unsent[0].port
        with self._changed:
            unsent = unsent + [out for out in self._urgent if out.port is port]
            self._urgent = deque(out for out in self._urgent if out.port is not port)
            pitches = {out.event.pitch for out in unsent if isinstance(out.event, NoteOn | NoteOff)}
            current = port is self._port
            if current:
                self._failure = error
                pitches |= self._sounding.held
                self._lost |= pitches
                self._sounding.release(self._clock())
                self._queue.clear()
            outs = self._all_off(port, pitches)
        logger.warning("MIDI output failed: %s", error)
        for out in outs:
            self._deliver(out)
        if current and self._on_failure is not None:
            _call(self._on_failure, error)

    def _silence(self, hard: bool = False, also: Iterable[int] = ()) -> None:
        """Clear the plan and put everything off at the head of what is sent; `also`: more pitches."""
        pitches = {*self._sounding.held, *also}
        self._sounding.release(self._clock())
        self._queue.clear()
        if self._failure is None:
            self._urgent += self._all_off(self._port, pitches, hard)

    def _all_off(self, port: _Port, pitches: Iterable[int], hard: bool = False) -> list[_Out]:
        """Pedal up, a note-off for each of `pitches`, all notes off; with `hard` all sound off.

        Each gets its own note-off because many instruments ignore the channel modes.
        """
        present = self._clock()
        events: list[Event] = [Pedal(present, False, Part.PARTNER)]
        events += [NoteOff(present, pitch, Part.PARTNER) for pitch in sorted(pitches)]
        outs = [_Out(message_from_event(event, self._channel), event, port) for event in events]
        for mode in (ALL_NOTES_OFF, ALL_SOUND_OFF) if hard else (ALL_NOTES_OFF,):
            outs.append(_Out(bytes((CONTROL_CHANGE | self._channel, mode, 0)), None, port))
        return outs

    def _out(self, event: Event) -> _Out:
        return _Out(message_from_event(event, self._channel), event, self._port)


def _call(callback: Callable[[_Value], None], value: _Value) -> None:
    """A callback's own failure must not stop the music."""
    try:
        callback(value)
    except Exception:
        logger.exception("a callback of the scheduler failed on %s", value)


@contextlib.contextmanager
def _fine_timer() -> Iterator[None]:
    """Waits accurate to a millisecond on Windows, whose own step is 15.6 ms (timeBeginPeriod, winmm)."""
    if sys.platform != "win32":
        yield
        return
    import ctypes

    ctypes.windll.winmm.timeBeginPeriod(1)
    try:
        yield
    finally:
        ctypes.windll.winmm.timeEndPeriod(1)
