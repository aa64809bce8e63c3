"""FL Studio's script and the program's end of the link on real virtual ports, in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from fakes.fl_host import FlHost, LiveFl

from plugin_bridge.ports.clock import now
from plugin_bridge.ports.fl_link import PERIOD, FlLink, HostState
from plugin_bridge.ports.midi_ports import MidiPorts, open_named, open_virtual

RIGHT = 0.020  # seconds: FL's buffer of 12 ms, its idle loop, the way, and a busy machine


class Program:
    """The program's end on ports of its own: the MIDI thread hears, another one sends every 20 ms."""

    def __init__(self, ports: MidiPorts) -> None:
        self.ports, self.link = ports, FlLink()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        ports.listen(self._hear)
        self._thread.start()

    def at(self, moment: float) -> HostState:
        with self._lock:
            return self.link.at(moment)

    def die(self) -> None:
        """Fall silent, without a goodbye."""
        self._done.set()
        self._thread.join()
        self.ports.listen(None)

    def _hear(self, message: bytes, arrived: float) -> None:
        with self._lock:
            self.link.hear(message, arrived)

    def _run(self) -> None:
        while not self._done.wait(PERIOD / 2):
            with self._lock:
                due = self.link.frames_due(now())
            for message in due:
                self.ports.send(message)


@pytest.fixture
def program(jack_server: object) -> Iterator[Program]:
    with open_virtual(backend="jack") as ports:
        program = Program(ports)
        yield program
        program.die()


@pytest.fixture
def fl(program: Program) -> Iterator[LiveFl]:
    with open_named("Plugin Bridge Out", "Plugin Bridge In", backend="jack") as ports, LiveFl(ports) as fl:
        assert within(5.0, lambda: program.at(now()).channel_name == "Piano") is not None
        yield fl


def within(seconds: float, condition: Callable[[], bool]) -> float | None:
    """The seconds until `condition` held, None when it never did."""
    began = now()
    while now() - began < seconds:
        if condition():
            return now() - began
        time.sleep(0.002)
    return None


def error(program: Program, fl: LiveFl) -> float:
    """Seconds between where the program takes FL to be and where it is; infinite when it knows nothing."""
    seen: list[float] = []

    def look(host: FlHost) -> None:
        position = program.at(host.time).timeline.position(host.time)
        seen.append((position - host.position()) * 60 / host.tempo if position is not None else float("inf"))

    fl.now(look)
    return seen[0]


def test_tempo_loop_and_jump_are_known_at_the_program_right_after_each(program: Program, fl: LiveFl) -> None:
    def begin(host: FlHost) -> None:
        host.tempo, host.selection = 97.0, (0, 8 * 96)
        host.play()

    def changed(act: Callable[[FlHost], object], known: Callable[[HostState, int], bool]) -> None:
        generation = program.at(now()).timeline.generation
        fl.now(act)
        took = within(1.0, lambda: known(program.at(now()), generation) and abs(error(program, fl)) < RIGHT)
        assert took is not None
        assert took < 0.5  # 20 to 60 ms on an idle machine

    changed(begin, lambda state, before: state.timeline.playing and state.timeline.generation > before)
    time.sleep(1.0)
    changed(lambda host: setattr(host, "tempo", 140.0), lambda state, _: state.timeline.tempo == 140.0)
    changed(lambda host: host.jump(4.0), lambda state, before: state.timeline.generation == before + 1)
    assert program.at(now()).loop == (0.0, 8.0)
    changed(lambda host: host.jump(6.0), lambda state, before: state.timeline.generation == before + 1)
    generation = program.at(now()).timeline.generation
    assert within(3.0, lambda: program.at(now()).timeline.generation == generation + 1) is not None
    position = program.at(now()).timeline.position(now())
    assert position is not None
    assert position < 1.0  # it has wrapped
    errors = []
    for _ in range(100):
        errors.append(abs(error(program, fl)))
        time.sleep(0.01)
    assert sorted(errors)[80] < RIGHT
    changed(lambda host: host.stop(), lambda state, _: not state.timeline.playing)
    fl.host.finish()


def test_the_program_falls_silent_while_notes_sound_and_all_are_off(program: Program, fl: LiveFl) -> None:
    for pitch in (48, 55, 64):
        program.ports.send(bytes((0x90, pitch, 80)))
    assert within(5.0, lambda: len(fl.host.sounding()) >= 2) is not None  # an overrun may take one
    program.die()
    took = within(5.0, lambda: not fl.host.sounding())
    assert took is not None
    assert took < 1.0
    fl.host.finish()
