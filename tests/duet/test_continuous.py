"""Playing along: the partner plays while the player does, plans anew, and ends when the player is away."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from fakes.loopback_host import QUICK, Host

from plugin_bridge.duet.companion import CompanionRules
from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.phrases import Mode
from plugin_bridge.duet.roles import Policies
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.engine.engine import Engine
from plugin_bridge.ports.loopback import loopback_pair

ALONG = replace(
    QUICK,
    controls=Controls(mode=Mode.CONTINUOUS),
    policies=Policies(QUICK.policies.phrases, CompanionRules(patience=0.8)),
)


@pytest.fixture
def duet(style):
    ours, theirs = loopback_pair()
    with ours, theirs:
        session = DuetSession(Engine(style), ours, ALONG)
        with session:
            yield session, Host(theirs)


def stopped(session, host):
    session.stop()
    assert host.hanging() == set()
    report = session.report()
    assert report.hung_notes == 0
    return report


def scale(host, seconds, gap=0.1):
    end = time.monotonic() + seconds
    pitch = 60
    while time.monotonic() < end:
        host.play([pitch], gap)
        pitch = 60 + (pitch - 59) % 12


def test_the_partner_plays_while_the_player_does(duet):
    session, host = duet
    scale(host, 3.0)
    during = len(host.notes_on())
    report = stopped(session, host)
    assert during >= 2
    assert report.mode == "continuous"
    assert report.yields == 0
    assert report.replan_ms.n > 5


def test_it_ends_when_the_player_is_away(duet):
    session, host = duet
    scale(host, 1.5)
    host.wait_for_notes(1)
    time.sleep(2.5)  # patience, and what was planned
    assert host.hanging() == set()
    count = len(host.notes_on())
    time.sleep(0.5)
    assert len(host.notes_on()) == count
    scale(host, 1.0)
    host.wait_for_notes(count + 1)
    stopped(session, host)


def test_modes_change_while_it_plays(duet):
    session, host = duet
    scale(host, 1.0)
    session.change_mode(Mode.ANSWER)
    host.play([60, 64, 67])
    host.wait_for_notes(len(host.notes_on()) + 1)
    assert session.controls.mode is Mode.ANSWER
    session.change_mode(Mode.CONTINUOUS)
    scale(host, 1.0)
    report = stopped(session, host)
    assert report.mode == "continuous"


def test_whatever_the_player_does_nothing_hangs_and_every_stroke_has_its_release(duet):
    session, host = duet
    chance = random.Random(4)
    for _ in range(150):
        pitch = chance.randrange(40, 90)
        kind = chance.choice([0x90, 0x90, 0x80, 0xB0])
        data = (64, chance.choice([0, 127])) if kind == 0xB0 else (pitch, chance.randrange(1, 127))
        host.end.send(bytes((kind, *data)))
        time.sleep(chance.choice([0.0, 0.005, 0.03]))
    stopped(session, host)
