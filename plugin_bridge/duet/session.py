"""A live duet: threads, ports and clocks around the partner.

Threads: the ports' callback stamps a message and puts it in a queue, nothing more. One worker thread owns
the stream and everything the partner decides. The scheduler's thread sends at the due time. All public
methods are called from outside, from any thread.

Time: all clocks are `plugin_bridge.ports.clock`; the stream's seconds count from `start`.
"""

from __future__ import annotations

import logging
import math
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from plugin_bridge import memory
from plugin_bridge.duet.assembly import assemble, new_stream
from plugin_bridge.duet.conductor import Item, Message, Setting
from plugin_bridge.duet.controls import Controls, control
from plugin_bridge.duet.echo import EchoFilter
from plugin_bridge.duet.host_link import HostLink
from plugin_bridge.duet.journal import Live, Tape
from plugin_bridge.duet.knobs import Knobs
from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.pace import PaceStep
from plugin_bridge.duet.partner import Partner
from plugin_bridge.duet.phrases import Mode
from plugin_bridge.duet.recording import Recording
from plugin_bridge.duet.report import Measurements, Report, spread
from plugin_bridge.duet.scheduler import Scheduler, Sent
from plugin_bridge.duet.settings import PLAIN, SessionSettings
from plugin_bridge.duet.style_switch import StyleRequest
from plugin_bridge.duet.takes import save_take
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.fl_link import PERIOD
from plugin_bridge.ports.priority import ask_for_favour
from plugin_bridge.ports.wire import MidiPorts

logger = logging.getLogger(__name__)

_SWITCH_INTERVAL = 0.0005
SILENT_END = 10.0
"""Seconds of silence that a take ends with at most: what was played is kept however long it is ago."""
LOOK_SECONDS = 0.5
"""How often who waits for the session's end asks whether its ports are lost."""
SWEEP_SECONDS = 60.0
"""How often unused memory is given back."""


class DuetSession:
    """One duet over one pair of ports. Use as a context manager, or `start` and `stop`.

    With `fl` the link to FL Studio is kept, on the same ports. `knobs` are what was learned, and learn.
    `on_take` is called, in the worker's thread, when the player asks for a take to be saved; `on_pace` when a
    measure against a slow machine is taken or taken back.
    """

    def __init__(
        self, engine: Engine, ports: MidiPorts, settings: SessionSettings = PLAIN, *,
        fl: bool = False, knobs: Knobs | None = None, on_take: Callable[[], None] = lambda: None,
        on_pace: Callable[[PaceStep], None] = lambda step: None,
    ) -> None:  # fmt: skip
        self.ports, self.settings = ports, settings
        self.measurements = Measurements()
        self.recording = Recording(settings.kept)
        self.tape = Tape()
        self.failure: BaseException | None = None
        self._engine, self.first_style = engine, engine.style
        self._on_take, self._on_pace = on_take, on_pace
        self._inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._echo = EchoFilter()
        self._link = HostLink() if fl else None
        self._knobs = knobs or Knobs()
        self._around = Surroundings(settings.chart, settings.metre_at, settings.hears_chords, settings.tempo)
        self._worker: threading.Thread | None = None
        self._told = 0
        self._began = self._ended = 0.0
        self._over = threading.Event()
        self._sweep_at = now() + SWEEP_SECONDS
        self._old_switch = sys.getswitchinterval()

    def __enter__(self) -> DuetSession:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin: from now on the player is heard."""
        stream = new_stream(self._engine, self.settings, self._around)
        sys.setswitchinterval(_SWITCH_INTERVAL)
        memory.settle()
        self._scheduler = Scheduler(self.ports.send, on_sent=self._on_sent, on_failure=self._on_failure)
        world = Live(now, lambda: not self._inbox.empty(), lambda: self._scheduler.dropped, self.tape)
        self._began = self._around.began = world.now()
        self._partner, self._conductor = assemble(
            stream, self._scheduler, world, self._around, self.settings, self.measurements, self.recording,
            self.tape, self._echo, self._inbox.put, on_take=self._on_take,
        )  # fmt: skip
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
        sys.setswitchinterval(self._old_switch)
        memory.unsettle()

    def change_style(self, style: Style) -> None:
        """Play in another style from the next phrase on. Returns at once, the latest call counts. A style
        that cannot be loaded changes nothing but the log."""
        self._inbox.put(StyleRequest(style))

    def set_control(self, name: str, value: float) -> None:
        """Set a control of the table. Returns at once; BridgeError for a value that it cannot take."""
        row = control(name)
        self._inbox.put(Setting(row.name, row.check(value)))

    def change_mode(self, mode: Mode) -> None:
        """Play in another mode; what is being played ends first."""
        self.set_control("mode", float(list(Mode).index(mode)))

    @property
    def over(self) -> bool:
        """Whether it has failed, or `end` was called."""
        return self._over.is_set()

    def end(self) -> None:
        """Make `wait` return; to be called from a signal handler too."""
        self._over.set()

    @property
    def controls(self) -> Controls:
        """How the partner plays now."""
        return self._partner.controls

    @property
    def partner(self) -> Partner:
        """The partner, which belongs to the worker while the session runs."""
        return self._partner

    @property
    def link(self) -> HostLink | None:
        """The link to FL Studio, where there is one."""
        return self._link

    @property
    def began(self) -> float:
        """The clock when the session started."""
        return self._began

    @property
    def around(self) -> Surroundings:
        """Chords and beat, which belong to the worker while the session runs; others may look."""
        return self._around

    def wait(self, seconds: float | None = None) -> None:
        """Let the duet go on for `seconds` (None: for ever), until it fails or `end` is called. Raises what
        made it fail."""
        end = None if seconds is None else now() + seconds
        while not self._over.wait(LOOK_SECONDS if end is None else min(max(end - now(), 0.0), LOOK_SECONDS)):
            if self.ports.stats().lost is not None or (end is not None and now() >= end):
                break
            self._sweep()
        lost = self.ports.stats().lost or self._scheduler.failure
        if lost is not None:
            raise BridgeError(f"the MIDI ports were lost: {lost}")
        if self.failure is not None:
            raise self.failure

    def _sweep(self) -> None:
        """Give unused memory back now and then, when nobody waits for a note."""
        if now() >= self._sweep_at and not self._partner.planned():
            self._sweep_at = now() + SWEEP_SECONDS
            memory.sweep()

    def clip(self) -> Clip:
        """What both played, as far back as it is kept, with the chords."""
        latest = self.recording.latest or self._began
        end = min(self._ended or now(), latest + SILENT_END)
        return self.recording.clip(self._began, end, self._around.spans)

    def played_out(self, seconds: float) -> bool:
        """Whether there has been music, or half a tape of other things, and then nothing for `seconds`."""
        quiet = now() - (self.recording.latest or self._began) > seconds
        much = self.recording.latest is not None or self.tape.size > self.tape.limit // 2
        return quiet and much and self._around.playing_transport is None

    def save_take(self, folder: Path, name: str) -> Path:
        """Save what is kept as a take; the path of its MIDI file. While the session runs the tape ends
        where it stands."""
        tape = self.tape.copy()
        style = self.first_style
        return save_take(folder, name, self.clip(), self.settings, tape, style, self.recording.left())

    def report(self) -> Report:
        """The measurements so far; final after `stop`."""
        partner = self._partner
        return Report(
            seconds=round((self._ended or now()) - self._began, 3),
            player_notes=self.recording.player_notes,
            partner_notes=self.recording.partner_notes,
            hung_notes=self.recording.hung_notes,
            reaction_ms=spread(self.measurements.reaction),
            lateness_ms=spread(self.measurements.lateness),
            tokens=partner.stream.tokens_generated + partner.stream.tokens_heard,
            step_ms=spread(partner.stream.step_seconds),
            transport=self.ports.transport,
            style=partner.stream.engine.style.name,
            style_changes=partner.counts.style_changes,
            seed=self.settings.seed,
            answers=partner.counts.answers,
            yields=partner.counts.yields,
            faults=partner.counts.faults,
            mode=partner.controls.mode.value,
            host_tempo=self._around.host_tempo,
            round_trip_ms=self._link.round_trip_ms if self._link else None,
            replan_ms=spread(self.measurements.replans),
            dropped_late=self._scheduler.dropped,
            echoes=self._echo.heard,
            slowest_rung=partner.pace.highest.name.lower(),
            lost=self.ports.stats().lost,
        )

    # the ports' thread

    def _on_message(self, message: bytes, time: float) -> None:
        self._inbox.put(Message(bytes(message), time))

    # the scheduler's thread

    def _on_sent(self, sent: Sent) -> None:
        self.recording.sent(sent)
        self._echo.sent(sent.event, sent.due)
        self.measurements.lateness.append(sent.lateness)
        partner = self._partner
        awaited = partner.awaited
        if awaited is not None and sent.sent >= awaited and sent.due >= awaited:
            partner.awaited = None
            self.measurements.reaction.append(sent.sent - (partner.asked or sent.due))

    def _on_failure(self, error: Exception) -> None:
        self._over.set()

    # the worker

    def _run(self) -> None:
        ask_for_favour()
        try:
            timeout: float | None = None
            while self._take(timeout):
                timeout = self._play()
        except BaseException as error:
            logger.exception("the duet failed")
            self.failure = error
        finally:
            self._scheduler.panic()
            if self._link is not None:
                self._send_frames(self._link.link.close())
            self._over.set()

    def _take(self, timeout: float | None) -> bool:
        """Hear everything that has come in, waiting up to `timeout` for the first. False: stop."""
        try:
            item = self._next(timeout)
            while item is not None:
                linked = self._link.hear(item) if self._link and isinstance(item, Message) else None
                for each in map(self._knobs.hear, [item] if linked is None else linked):
                    if each is not None:
                        self._conductor.deliver(each)
                item = self._inbox.get_nowait()
            return False
        except queue.Empty:
            return True
        finally:
            self._conductor.flush()

    def _next(self, timeout: float | None) -> Item | None:
        """The next thing that comes in, within `timeout`; queue.Empty without one. The link is kept going
        meanwhile."""
        if self._link is None:
            return self._inbox.get(timeout=timeout) if timeout != 0 else self._inbox.get_nowait()
        end = math.inf if timeout is None else now() + timeout
        while True:
            time = now()
            self._send_frames(self._link.link.frames_due(time))
            for item in self._link.look(time):
                self._inbox.put(item)
            left = min(end - time, PERIOD)
            try:
                return self._inbox.get(timeout=left) if left > 0 else self._inbox.get_nowait()
            except queue.Empty:
                if left < PERIOD:
                    raise

    def _send_frames(self, frames: list[bytes]) -> None:
        with suppress(BridgeError):  # that the port is lost is said elsewhere
            for frame in frames:
                self.ports.send(frame)

    def _play(self) -> float:
        wait = self._conductor.play()
        for step in self._partner.pace.since(self._told):
            self._on_pace(step)
        self._told = self._partner.pace.count
        if self._link is not None:
            self._link.show(self._knobs.said or self._partner.said)
        return wait
