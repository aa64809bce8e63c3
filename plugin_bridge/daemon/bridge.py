"""The running duet as the daemon keeps it: started, started again when it fails, and told what to do.

Threads: the keeper waits for the session to fail and starts another one, later each time. All public methods
may be called from any thread; `start`, `stop` and what loads a style or writes a file take their time, the
rest returns at once. A session's `on_take` starts a thread that writes the take and ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from plugin_bridge.daemon.config import Config, changes
from plugin_bridge.daemon.feed import Feed
from plugin_bridge.daemon.logs import set_level
from plugin_bridge.daemon.refusals import NotNowError
from plugin_bridge.daemon.take_shelf import TakeShelf
from plugin_bridge.duet.controls import TABLE, Kind
from plugin_bridge.duet.knobs import Knobs
from plugin_bridge.duet.live import CHART_SECONDS
from plugin_bridge.duet.pace import PaceStep
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.duet.takes import LATEST, name_of
from plugin_bridge.engine.adapters import choose_style
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import parse_progression
from plugin_bridge.music.harmony import even_chart
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.messages import all_off
from plugin_bridge.ports.wire import MidiPorts

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds until a duet that failed is started again: doubled each time it fails soon."""
TAPE_BYTES = 8 * 2**20
"""Three hours of busy playing at a stretch can be played again exactly; of a longer one the latest minutes
are saved as MIDI. When nobody has played for as long as takes reach back, the duet is begun anew."""
LOOK_SECONDS = 60.0
"""How often the duet is asked whether it is played out."""
HANGING = 15.0
"""Seconds after which a thread that has not looked around when it meant to is taken to hang."""
SOUND_SECONDS = 60.0
"""A duet that lived as long as this is well: the pause begins anew."""


@dataclass(frozen=True, slots=True)
class DuetState:
    """`what` is "playing", "starting" or "failed"; `problem` is what made the last one fail."""

    what: str
    problem: str | None
    style: str
    restarts: int


class Bridge:
    """One duet over `ports`, which outlive it."""

    def __init__(
        self, config: Config, ports: MidiPorts, takes: Path, *, knobs: Knobs | None = None,
        clock: Clock = now, make_session: Callable[..., DuetSession] = DuetSession,
    ) -> None:  # fmt: skip
        self.feed = Feed()
        self.knobs = knobs or Knobs()
        self.config = config
        self.restart_needed: tuple[str, ...] = ()
        self._running_with = config
        self._ports, self._clock, self._make_session = ports, clock, make_session
        self.takes = TakeShelf(takes, ports.send, clock=clock)
        self._session: DuetSession | None = None
        self._style_text = str(config.get("", "style"))
        self._style: Style | None = None
        self._controls = config.start_controls()
        self._problem: str | None = None
        self._restarts = 0
        self._stopping, self._again = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Load the style and begin to play; where that fails it is tried again, and the state says why."""
        try:
            self._begin()
        except (BridgeError, OSError) as error:
            self._problem = str(error)
            logger.error("the duet cannot be started: %s", error)
        self._keeper = threading.Thread(target=self._keep, name="duet-keeper", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """End the duet: nothing sounds any more when this returns. What was played is left as the latest
        take. May be repeated."""
        self._stopping.set()
        self._again.set()
        self.takes.stop()
        session = self._session
        if session is not None:
            session.end()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            self._finish(session)

    @property
    def session(self) -> DuetSession | None:
        """The duet that is played, if one is."""
        return self._session

    def playing(self) -> DuetSession:
        """The duet that is played; NotNowError while there is none."""
        session = self._session
        if session is None:
            raise NotNowError(f"the duet is being started again ({self._problem}); try again in a moment")
        return session

    def state(self) -> DuetState:
        """Where the duet stands."""
        session = self._session
        if session is None:
            return DuetState(
                "failed" if self._problem else "starting", self._problem, self._style_text, self._restarts
            )
        style = session.partner.stream.engine.style.name
        return DuetState("playing", self._problem, style, self._restarts)

    def control_values(self) -> dict[str, float]:
        """The value of each control that has one."""
        session = self._session
        controls = self._controls if session is None else session.controls
        return {row.name: controls.value(row.name) for row in TABLE if row.kind is not Kind.TRIGGER}

    def set_control(self, name: str, value: float) -> None:
        """Set a control of the table, or touch a trigger. BridgeError for a value that it cannot take."""
        if name == "panic" and value:
            self.panic()
            return
        self.playing().set_control(name, value)

    def change_style(self, text: str) -> str:
        """Play in another style, or blend, from the next phrase on; its name. BridgeError when there is no
        such style or it cannot be loaded: then nothing changes."""
        style = choose_style(text)
        self._style_text, self._style = text, style
        session = self._session
        if session is None:
            self._again.set()
        else:
            session.change_style(style)
        return style.name

    def panic(self) -> None:
        """Everything off, now, whatever state the duet is in; a take that is played ends."""
        session = self._session
        if session is not None:
            session.set_control("panic", 1.0)
        self.takes.stop()
        for message in all_off(0, range(128)):
            self._ports.send(message)

    def save_take(self) -> Path:
        """Save the latest minutes as a take; the path of its MIDI file."""
        path = self.playing().save_take(self.takes.folder, name_of(datetime.now()))
        logger.info("saved %s", path, extra={"take": str(path)})
        return path

    def hangs(self) -> bool:
        """Whether the duet's thread has not looked around for as long as no work takes."""
        session = self._session
        return session is not None and self._clock() > session.partner.looks_again + HANGING

    def report(self) -> dict[str, Any]:
        """The measurements of the present duet."""
        return self.playing().report().to_json()

    def apply(self, config: Config) -> None:
        """Take over a changed configuration, as far as that is possible while playing; `restart_needed`
        names the rest."""
        change = changes(self.config, config)
        before, self.config = self.config, config
        self.restart_needed = changes(self._running_with, config).at_restart
        if change.live or change.at_restart:
            logger.info("the configuration has changed: %s", ", ".join((*change.live, *change.at_restart)))
        set_level(config.get("log", "level"))
        try:
            if before.get("", "style") != config.get("", "style"):
                self.change_style(config.get("", "style"))
            for row in TABLE:
                if before.controls.get(row.name) != config.controls.get(row.name):
                    self.set_control(row.name, config.controls.get(row.name, row.default))
        except BridgeError as error:
            logger.warning("the configuration: %s", error)

    # starting, and starting again

    def _begin(self) -> None:
        config = self._running_with
        style = self._style or choose_style(self._style_text)
        others = tuple(choose_style(each) for each in config.get("", "styles")) or (style,)
        settings = SessionSettings(
            config.get("", "seed"), self._controls, styles=others, kept=60 * config.get("takes", "minutes")
        )
        if config.get("", "chords"):
            tempo = config.get("", "tempo")
            chords = parse_progression(config.get("", "chords"))
            chart = even_chart(chords, 4 * 60.0 / tempo, end=CHART_SECONDS)
            settings = replace(settings, chart=chart, tempo=tempo)
        session = self._make_session(
            Engine(style),
            self._ports,
            settings,
            knobs=self.knobs,
            on_take=self._take_asked,
            on_pace=self._pace_changed,
        )
        session.recording.on_event = self.feed.add
        session.tape.limit = TAPE_BYTES
        session.start()
        with self._lock:
            self._session = session
        logger.info("the duet begins, in style %r", style.name, extra={"style": style.name})

    def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            if self._session is not None:
                began = self._clock()
                problem = self._outcome(self._session)
                if self._stopping.is_set():
                    return
                if problem is None:
                    self._put_away(self._session)
                    self._try_to_begin()
                    continue
                self._problem = problem
                self._put_away(self._session)
                if self._clock() - began > SOUND_SECONDS:
                    pause = FIRST_PAUSE
                logger.error("the duet failed (%s); it is started again in %.2f s", problem, pause)
            self._again.wait(pause)
            self._again.clear()
            if self._stopping.is_set():
                return
            pause = min(2 * pause, LONGEST_PAUSE)
            self._restarts += self._try_to_begin()

    def _try_to_begin(self) -> bool:
        try:
            self._begin()
        except Exception as error:  # whatever it is, the next try may go well
            if str(error) != self._problem:
                logger.exception("the duet cannot be started: %s; it is tried again", error)
            self._problem = str(error)
            return False
        return True

    def _outcome(self, session: DuetSession) -> str | None:
        """Wait until the duet fails, is to stop, or is played out; why it failed, None where it did not."""
        kept = session.settings.kept
        try:
            while True:
                session.wait(LOOK_SECONDS)
                if session.over:
                    return "it ended"
                if session.played_out(kept):
                    return None
        except BridgeError as error:
            return str(error)
        except BaseException as error:  # whatever ended it, another one begins
            return f"{type(error).__name__}: {error}"

    def _put_away(self, session: DuetSession) -> None:
        """The next one goes on as this one was left: its controls, and its style where that was changed."""
        with self._lock:
            self._session = None
        self._controls = session.controls
        style = session.partner.stream.engine.style
        if style.name != session.first_style.name and not session.partner.switch.pending:
            self._style = style
        self._finish(session)

    def _finish(self, session: DuetSession) -> None:
        try:
            session.stop()
        except Exception:
            logger.exception("the duet did not end in order")
        if session.recording.player_notes + session.recording.partner_notes == 0:
            return
        try:
            session.save_take(self.takes.folder, LATEST)
        except (BridgeError, OSError) as error:
            logger.error("the latest take was not saved: %s", error)

    def _take_asked(self) -> None:
        threading.Thread(target=self._save_in_background, name="take", daemon=True).start()

    def _save_in_background(self) -> None:
        try:
            self.save_take()
        except (BridgeError, OSError) as error:
            logger.error("the take was not saved: %s", error)

    def _pace_changed(self, step: PaceStep) -> None:
        logger.warning("the machine is slow (load %.2f): %s", step.load, step.rung.said)
