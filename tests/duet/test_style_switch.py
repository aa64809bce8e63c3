"""Another style for a running duet: from the next phrase on, with nothing cut, lost or left hanging."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from fakes.bundles import make_style_bundle
from fakes.loopback_host import QUICK, Host
from fakes.waiting import wait_for

from plugin_bridge.duet.session import DuetSession
from plugin_bridge.engine.adapters import blend
from plugin_bridge.engine.engine import Engine
from plugin_bridge.ports.loopback import loopback_pair


@pytest.fixture(scope="module")
def styles(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("styles")
    (folder / "base").symlink_to(base.style.folder)
    return tuple(
        make_style_bundle(base, folder / name, seed, name) for seed, name in enumerate(("one", "two"))
    )


@pytest.fixture
def duet(base, styles):
    ours, theirs = loopback_pair()
    with ours, theirs:
        session = DuetSession(Engine(base.style), ours, replace(QUICK, styles=styles))
        with session:
            yield session, Host(theirs)


def finish(session, host):
    session.stop()
    assert host.hanging() == set()
    report = session.report()
    assert report.hung_notes == 0
    return report


def test_a_change_while_the_partner_plays_waits_for_the_next_phrase(duet, styles):
    session, host = duet
    host.play([60, 64, 67])
    host.wait_for_notes(2)
    session.change_style(styles[1])
    assert wait_for(
        lambda: session.partner.switch.ready is not None or session.partner.counts.style_changes == 1
    )
    if session.partner._turn is not None:
        assert session.partner.stream.engine.style.name != "two"  # the answer that plays keeps its style
    count = len(host.notes_on())
    host.play([60, 62, 65])  # the player comes back: the answer ends
    assert wait_for(lambda: session.partner.counts.style_changes == 1)
    host.wait_for_notes(count + 1)
    report = finish(session, host)
    assert (report.style, report.style_changes) == ("two", 1)


def test_a_program_change_chooses_a_style(duet):
    session, host = duet
    for program, name in ((1, "two"), (0, "one")):
        host.end.send(bytes((0xC0, program)))
        assert wait_for(lambda wanted=name: session.partner.stream.engine.style.name == wanted)
        host.play([60, 64, 67])
        host.wait_for_notes(len(host.notes_on()) + 1)
    host.end.send(bytes((0xC3, 99)))  # no such style: nothing happens
    assert finish(session, host).style_changes == 2


def test_of_many_changes_the_latest_counts(duet, styles):
    session, host = duet
    for index in range(20):
        session.change_style(styles[index % 2])
    assert wait_for(
        lambda: session.partner.stream.engine.style.name == "two" and session.partner.switch.ready is None
    )
    host.play([60, 64, 67])
    host.wait_for_notes(2)
    report = finish(session, host)
    assert report.style == "two"


def test_a_blend_can_be_changed_to(duet, styles):
    session, host = duet
    session.change_style(blend([(styles[0], 0.7), (styles[1], 0.3)], name="one=0.7,two=0.3"))
    assert wait_for(lambda: session.partner.counts.style_changes == 1)
    assert session.partner.stream.engine.style.name == "one=0.7,two=0.3"
    host.play([60, 64, 67])
    host.wait_for_notes(2)
    finish(session, host)


def test_a_style_that_cannot_be_loaded_changes_nothing(duet, styles, tmp_path, caplog):
    session, host = duet
    session.change_style(replace(styles[1], folder=tmp_path / "gone", name="gone"))
    assert wait_for(lambda: "stays as it is" in caplog.text)
    host.play([60, 64, 67])
    host.wait_for_notes(2)
    report = finish(session, host)
    assert (report.style, report.style_changes) == ("untrained", 0)


def test_a_wheel_of_program_changes_starts_one_engine_at_a_time(duet):
    session, host = duet
    at_once: list[int] = []
    for _ in range(60):
        for program in (0, 1):
            host.end.send(bytes((0xC0, program)))
        at_once.append(sum(thread.name == "style" for thread in threading.enumerate()))
    assert max(at_once) <= 1
    assert wait_for(
        lambda: session.partner.stream.engine.style.name == "two" and not session.partner.switch.pending
    )
    finish(session, host)


def test_the_style_that_plays_is_no_change(duet, base):
    session, host = duet
    session.change_style(base.style)
    host.play([60, 64, 67])
    host.wait_for_notes(1)
    assert finish(session, host).style_changes == 0


def test_changes_in_a_storm_of_notes_leave_nothing_hanging(duet, styles):
    session, host = duet
    for index in range(12):
        session.change_style(styles[index % 2])
        host.play([60 + index, 64, 67], gap=0.02)
        time.sleep(0.15)
    report = finish(session, host)
    assert report.player_notes == 36
