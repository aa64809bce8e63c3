"""`jam`: a session in the foreground, over the ports the user named or over virtual ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from plugin_bridge.duet.calibration import Calibrations, LoopDelay, measure_loop
from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.knobs import Knob, Knobs
from plugin_bridge.duet.pace import PaceStep
from plugin_bridge.duet.report import Report
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.duet.stopping import stopped_by_signals
from plugin_bridge.duet.takes import LATEST, name_of
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import parse_progression
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.harmony import even_chart
from plugin_bridge.ports.midi_ports import MidiPorts, endpoint, open_ports

CHART_SECONDS = 12 * 3600.0
"""How long a typed chart goes round."""
CONNECT_SECONDS = 60.0
"""How long virtual ports wait to be connected, to be calibrated."""


@dataclass(frozen=True, slots=True)
class JamRequest:
    """A chart a chord a bar, how long to play, the folder that takes go to, whether FL Studio is linked, the
    knobs that were learned and the controls to learn one for, in order."""

    chords: str | None
    tempo: float
    seconds: float | None
    seed: int
    controls: Controls
    takes: Path
    calibrations: Calibrations
    fl: bool
    knobs: Knobs
    learn: tuple[str, ...] = ()
    styles: tuple[Style, ...] = ()


@dataclass(frozen=True, slots=True)
class JamResult:
    """What was played. `problem` is what ended the session before its time, if something did."""

    clip: Clip
    report: Report
    problem: BridgeError | None = None


def jam_live(engine: Engine, ports: MidiPorts, request: JamRequest, tell: Callable[[str], None]) -> JamResult:
    """Play until the time is up or the program is told to stop; `tell` gets a line at the start, and whenever
    something changes that the player should know. Everything is off when this returns or raises."""
    settings = _settings(request)

    def pace(step: PaceStep) -> None:
        tell(f"the machine is slow (load {step.load:.2f}): {step.rung.said}")

    def take() -> None:
        threading.Thread(target=save, args=(name_of(datetime.now()),), name="take").start()

    def save(name: str) -> None:
        try:
            tell(f"saved {session.save_take(request.takes, name)}")
        except (BridgeError, OSError) as error:
            tell(f"the take was not saved: {error}")

    def learn_next(name: str, knob: Knob) -> None:
        tell(f"{name}: {knob}")
        ask()

    def ask() -> None:
        name = next(to_learn, None)
        if name is not None:
            request.knobs.learn(name)
            tell(f"move the knob, or press the button, for {name}")

    to_learn = iter(request.learn)
    request.knobs.on_learned = learn_next
    if (
        not request.fl
        and (loop := request.calibrations.find(ports.input_name, ports.output_name)) is not None
    ):
        settings = replace(settings, delays=loop.delays)
        tell(f"making up for {loop.p50:.1f} ms from output to input, as calibrated")
    transport = ports.transport  # a JACK server may end before the session does
    session = DuetSession(
        engine, ports, settings, fl=request.fl, knobs=request.knobs, on_take=take, on_pace=pace
    )
    with stopped_by_signals(session.end), session:
        tell(
            f"listening on {ports.input_name!r}, playing to {ports.output_name!r} ({transport}); Ctrl-C ends"
        )
        ask()
        problem = None
        try:
            session.wait(request.seconds)
        except BridgeError as error:
            problem = error  # what was played so far is not lost with the ports
    result = JamResult(session.clip(), replace(session.report(), transport=transport), problem)
    save(LATEST)
    return result


def calibrate(
    source: str | None,
    target: str | None,
    names: tuple[str, str],
    calibrations: Calibrations,
    tell: Callable[[str], None],
) -> tuple[str, str, LoopDelay]:
    """Measure the loop from an output to an input (None: virtual ports of these `names`, input first) and
    remember it; the names of input and output, and what was measured."""
    with open_ports(endpoint(source, names[0]), endpoint(target, names[1])) as ports:
        wait = 0.0
        if source is None or target is None:
            wait = CONNECT_SECONDS
            tell(f"connect {ports.output_name!r} to {ports.input_name!r} now")
        delay = measure_loop(ports, threading.Event().wait, wait=wait)
        calibrations.keep(ports.input_name, ports.output_name, delay)
        return ports.input_name, ports.output_name, delay


def _settings(request: JamRequest) -> SessionSettings:
    settings = SessionSettings(request.seed, request.controls, styles=request.styles)
    if not request.chords:
        return settings
    chart = even_chart(parse_progression(request.chords), 4 * 60.0 / request.tempo, end=CHART_SECONDS)
    return replace(settings, chart=chart, tempo=request.tempo)
