"""A thousand faults: after each, what sounded is off within 100 ms, and the duet goes on. The recorded output
is the judge."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from fakes.loopback_host import QUICK

from plugin_bridge.duet.conductor import Item, Message
from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.offline import START, Offline, simulate
from plugin_bridge.duet.phrases import Mode
from plugin_bridge.engine.engine import Engine
from plugin_bridge.music.events import NoteOff, NoteOn, Part

RUNS, FAULTS = 20, 50
WITHIN = 0.1
STALE = 127  # a key that nobody plays
GAP = 3.0  # seconds from fault to fault: the model may not break thrice in ten


class Judge:
    """Records what leaves, on the simulated clock, and breaks things."""

    def __init__(self, kinds: list[str], seed: int) -> None:
        self.chance = random.Random(seed)
        self.kinds = kinds
        self.rows: list[tuple[float, bytes]] = []
        self.faults: list[tuple[float, str, frozenset[int]]] = []
        self.broken_send = False
        self.duet: Offline | None = None
        self.next = GAP
        self.mend: float | None = None

    def send(self, message: bytes) -> None:
        assert self.duet is not None
        if self.broken_send:
            self.broken_send = False
            raise OSError("the port is gone")
        self.rows.append((self.duet.time.now(), message))

    def held(self) -> frozenset[int]:
        held: set[int] = set()
        for _, message in self.rows:
            if message[0] == 0x90:
                assert message[1] not in held, "struck twice"
                held.add(message[1])
            elif message[0] == 0x80:
                held.discard(message[1])
        return frozenset(held)

    def progress(self, duet: Offline, seconds: float) -> None:
        self.duet = duet
        if self.mend is not None and seconds >= self.mend:
            self.mend = None
            duet.scheduler.reconnect(self.send)
        if seconds < self.next or not self.kinds:
            return
        held = self.held()
        if not held and seconds < self.next + 4.0:
            return  # wait until something sounds
        kind = self.kinds.pop()
        self.next = seconds + GAP
        time = duet.time.now()
        getattr(self, kind)(duet, seconds)
        if kind != "model_breaks":  # that happens when the model is asked again
            self.faults.append((duet.time.now() if kind == "machine_sleeps" else time, kind, held))

    def model_breaks(self, duet: Offline, seconds: float) -> None:
        engine = duet.partner.stream.engine
        works = engine.extend

        def broken(*_: object):
            engine.extend = works
            self.faults.append((duet.time.now(), "model_breaks", self.held()))
            raise RuntimeError("the model broke")

        engine.extend = broken

    def port_closes(self, duet: Offline, seconds: float) -> None:
        self.broken_send = True
        duet.scheduler.release()  # it is in the middle of sending that the port goes
        self.mend = seconds + 1.0

    def stale_plan(self, duet: Offline, seconds: float) -> None:
        time = duet.time.now()
        old = duet.scheduler.snapshot().generation - 1
        plan = [NoteOn(time + 0.01, STALE, 90, Part.PARTNER), NoteOff(time + 5, STALE, Part.PARTNER)]
        assert not duet.scheduler.schedule(old, plan)

    def machine_sleeps(self, duet: Offline, seconds: float) -> None:
        pause = self.chance.choice((1.5, 3.0, 8.0))
        duet.sleep(pause)
        self.next += pause

    def panic(self, duet: Offline, seconds: float) -> None:
        duet.conductor.deliver(Message(bytes((0xB0, 106, 127)), duet.time.now()))


def played(kinds: list[str], seed: int) -> tuple[list[tuple[float, Item]], float]:
    """The player goes on for as long as the faults take, playing and resting."""
    chance = random.Random(seed)
    items: list[tuple[float, Item]] = []
    at, length = 0.5, (GAP + 6.0) * (len(kinds) + 1)
    while at < length:
        pitch = chance.randrange(48, 80)
        items.append((at, Message(bytes((0x90, pitch, 80)), START + at)))
        items.append((at + 0.15, Message(bytes((0x80, pitch, 0)), START + at + 0.15)))
        at += chance.choice((0.2, 0.2, 0.3, 1.5))
    return items, length


KINDS = ("model_breaks", "port_closes", "stale_plan", "machine_sleeps", "panic")


@pytest.mark.parametrize("run", range(RUNS))
def test_after_any_fault_nothing_hangs_and_the_duet_goes_on(style, run: int) -> None:
    kinds = [KINDS[(run + index) % len(KINDS)] for index in range(FAULTS)]
    judge = Judge(kinds, run)
    items, length = played(kinds, run)
    mode = list(Mode)[run % len(Mode)]
    start = replace(QUICK, seed=run, controls=Controls(mode=mode), kept=1e9)
    duet = simulate(Engine(style), start, items, length, send=judge.send, progress=judge.progress)
    assert len(judge.faults) == FAULTS
    assert sum(bool(held) for _, _, held in judge.faults) > FAULTS / 2, "most of them while something sounds"
    broken = 0
    for time, kind, held in judge.faults:
        if kind == "stale_plan":
            continue
        broken += kind == "model_breaks"
        offs = {m[1] for when, m in judge.rows if time - 1e-9 <= when <= time + WITHIN and m[0] == 0x80}
        assert held <= offs, f"{kind} at {time}: {held - offs} hang"
    assert judge.held() == set()
    assert STALE not in {message[1] for _, message in judge.rows if message[0] == 0x90}
    assert duet.partner.counts.faults == broken
    after = judge.faults[-1][0]
    assert any(when > after and message[0] == 0x90 for when, message in judge.rows), "it plays on"
