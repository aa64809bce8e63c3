"""A whole session over a loopback: it listens, answers, yields, and never leaves a note hanging."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from fakes.loopback_host import QUICK, Host

from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.phrases import Mode, PhraseRules
from plugin_bridge.duet.roles import Policies
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.events import Event, Part, Pedal
from plugin_bridge.ports.loopback import loopback_pair


@pytest.fixture
def duet(style: Style) -> Iterator[tuple[DuetSession, Host]]:
    ours, theirs = loopback_pair()
    with ours, theirs:
        session = DuetSession(Engine(style), ours, QUICK)
        host = Host(theirs)
        session.start()
        try:
            yield session, host
        finally:
            session.stop()


def test_the_partner_answers_a_phrase_and_stops(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    host.play([60, 62, 64, 65])
    assert not host.notes_on(), "the partner must listen while the player plays"
    host.wait_for_notes(1)
    time.sleep(2.0)
    session.stop()
    assert host.hanging() == set()
    report = session.report()
    assert (report.answers, report.player_notes) == (1, 4)
    assert report.partner_notes == len(host.notes_on())
    assert report.hung_notes == 0


def test_the_partner_yields_when_the_player_comes_back(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    host.play([60, 62, 64, 65])
    host.wait_for_notes(2)
    host.end.send(bytes((0x90, 72, 90)))
    time.sleep(0.5)
    after = time.monotonic()
    assert host.hanging() == set(), "everything of the partner's is released"
    count = len(host.notes_on())
    time.sleep(0.5)
    assert len(host.notes_on()) == count, f"it plays on {after}"
    host.end.send(bytes((0x80, 72, 0)))
    session.stop()
    assert session.report().yields == 1


def test_two_notes_are_no_phrase(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    host.play([60, 62])
    time.sleep(1.0)
    session.stop()
    assert host.notes_on() == []
    assert session.report().answers == 0


def test_what_is_no_note_changes_nothing(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    for message in (b"\xf8", b"\xfe", b"\xf0\x7d\x01\xf7", b"\xb0\x07\x64", b"\xe0\x00\x40", b"\xc0\x05"):
        host.end.send(message)
    host.play([60, 62, 64])
    host.wait_for_notes(1)
    session.stop()
    assert session.report().player_notes == 3


def test_random_play_for_a_while_hangs_nothing(style: Style) -> None:
    dice = random.Random(3)
    ours, theirs = loopback_pair()
    with ours, theirs:
        host = Host(theirs)
        with DuetSession(Engine(style), ours, QUICK) as session:
            end = time.monotonic() + 8.0
            while time.monotonic() < end:
                pitch = dice.randint(40, 90)
                theirs.send(bytes((dice.choice((0x90, 0x90, 0x80)), pitch, dice.randint(0, 127))))
                if dice.random() < 0.2:
                    theirs.send(bytes((0xB0, 64, dice.choice((0, 127)))))
                if dice.random() < 0.05:
                    theirs.send(bytes((0xB0, 123, 0)))
                time.sleep(dice.choice((0.001, 0.02, 0.05, 0.4)))
        assert host.hanging() == set()
        assert session.report().hung_notes == 0
        assert session.failure is None


def test_a_flood_is_heard_and_survived(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    for index in range(1500):
        host.end.send(bytes((0x90, 40 + index % 40, 70)))
        host.end.send(bytes((0x80, 40 + index % 40, 0)))
    time.sleep(3.0)
    session.stop()
    assert session.report().player_notes == 1500
    assert host.hanging() == set()


def test_a_failure_of_the_model_ends_with_everything_off(style: Style) -> None:
    ours, theirs = loopback_pair()
    with ours, theirs:
        engine = Engine(style)
        host = Host(theirs)
        session = DuetSession(engine, ours, QUICK)
        session.start()
        host.play([60, 62, 64, 65])
        host.wait_for_notes(1)

        def broken(*_: object) -> None:
            raise RuntimeError("the model broke")

        engine.extend = broken
        with pytest.raises(RuntimeError, match="the model broke"):
            session.wait(10.0)
        session.stop()
        assert host.hanging() == set()


def test_the_clip_holds_both_parts(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    host.play([60, 62, 64, 65])
    host.wait_for_notes(3)
    session.stop()
    clip = session.clip()
    report = session.report()
    assert sum(note.part == 0 for note in clip.notes) == report.player_notes
    assert sum(note.part == 1 for note in clip.notes) == report.partner_notes


def test_every_event_of_the_player_enters_the_stream_once(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    heard: list[Event] = []
    hear = session.partner.stream.hear

    def watched(events: Sequence[Event]) -> None:
        heard.extend(event for event in events if event.part is Part.PLAYER)
        hear(events)

    session.partner.stream.hear = watched
    host.play([60, 62, 64])
    host.end.send(bytes((0xB0, 64, 127)))
    host.wait_for_notes(1)
    for value in (127, 90, 0, 0, 127, 10):  # a pedal that moves while the partner plays
        host.end.send(bytes((0xB0, 64, value)))
        time.sleep(0.05)
    time.sleep(0.3)
    host.play([70])
    time.sleep(0.3)
    session.stop()
    notes = [type(event).__name__ for event in heard if not isinstance(event, Pedal)]
    assert notes == ["NoteOn", "NoteOff"] * 4
    assert [event.down for event in heard if isinstance(event, Pedal)] == [True, False, True, False]


def test_an_output_that_fails_ends_the_session_with_a_message(style: Style) -> None:
    ours, theirs = loopback_pair()
    with ours, theirs:
        host = Host(theirs)
        session = DuetSession(Engine(style), ours, QUICK)
        session.start()
        try:
            send = ours.send

            def unplugged(message: bytes) -> None:
                raise OSError("the synth was unplugged")

            session._scheduler.reconnect(unplugged)
            host.play([60, 62, 64])
            with pytest.raises(BridgeError, match="unplugged"):
                session.wait(20.0)
            session._scheduler.reconnect(send)
        finally:
            session.stop()


def test_stray_notes_long_ago_belong_to_no_phrase(style: Style) -> None:
    ours, theirs = loopback_pair()
    rules = PhraseRules(shortest_pause=0.1, longest_pause=0.1, longest_held=0.2)
    with ours, theirs, DuetSession(Engine(style), ours, SessionSettings(policies=Policies(rules))) as session:
        host = Host(theirs)
        host.play([60, 62])
        time.sleep(0.8)
        host.play([64])
        time.sleep(0.8)
        assert session.report().answers == 0
        assert not host.notes_on()


def test_simultaneous_events_keep_their_order_in_the_clip(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    for _ in range(20):
        host.end.send(bytes((0x90, 50, 80)))
        host.end.send(bytes((0x80, 50, 0)))
    time.sleep(0.3)
    session.stop()
    assert all(note.end - note.start < 0.2 for note in session.clip().notes if note.part is Part.PLAYER)


def test_what_comes_back_from_the_output_is_not_answered(style: Style) -> None:
    ours, theirs = loopback_pair()
    settings = replace(QUICK, controls=Controls(mode=Mode.CONTINUOUS))
    with ours, theirs, DuetSession(Engine(style), ours, settings) as session:
        received: list[bytes] = []

        def back(message: bytes, when: float) -> None:
            received.append(bytes(message))
            theirs.send(bytes(message))  # the DAW's "thru": everything comes in again

        theirs.listen(back)
        for pitch in (60, 62, 64, 65, 67, 69):
            theirs.send(bytes((0x90, pitch, 81)))
            time.sleep(0.1)
            theirs.send(bytes((0x80, pitch, 0)))
        end = time.monotonic() + 20
        while sum(m[0] == 0x90 for m in received) < 4:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(5.0)  # left alone it ends: an echo would keep it going for ever
        count = len(received)
        time.sleep(1.0)
        assert len(received) == count
        session.stop()
    report = session.report()
    assert report.player_notes == 6
    assert report.echoes >= report.partner_notes > 0
    assert report.hung_notes == 0


def test_notes_on_all_channels_are_one_player(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    for channel in range(16):
        host.end.send(bytes((0x90 | channel, 60, 80)))
    for channel in range(16):
        host.end.send(bytes((0x80 | channel, 60, 0)))
    for channel in range(16):
        host.end.send(bytes((0x90 | channel, 50 + channel, 80)))
        host.end.send(bytes((0x80 | channel, 50 + channel, 0)))
        time.sleep(0.03)
    host.wait_for_notes(1)
    session.stop()
    assert session.report().player_notes == 32
    assert host.hanging() == set()


def test_controllers_set_controls_and_unknown_ones_do_nothing(duet: tuple[DuetSession, Host]) -> None:
    session, host = duet
    before = session.controls
    for number in (0, 1, 7, 10, 11, 65, 71, 90, 119):
        host.end.send(bytes((0xB0, number, 100)))
    host.end.send(bytes((0xB3, 20, 127)))
    host.end.send(bytes((0xB0, 27, 127)))
    end = time.monotonic() + 5
    while session.controls.mode is not Mode.SOLO:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert session.controls == replace(before, temperature=2.0, mode=Mode.SOLO)


def test_mute_lets_go_and_stays_silent_and_panic_ends_everything(style: Style) -> None:
    ours, theirs = loopback_pair()
    settings = replace(QUICK, controls=Controls(mode=Mode.CONTINUOUS))
    with ours, theirs, DuetSession(Engine(style), ours, settings) as session:
        host = Host(theirs)
        for control, off in ((105, 0), (106, None)):
            count = len(host.notes_on())
            for index in range(8):
                host.play([60 + index], gap=0.08)
            host.wait_for_notes(count + 1)
            theirs.send(bytes((0xB0, control, 127)))
            time.sleep(0.3)
            assert host.hanging() == set()
            if off is not None:
                count = len(host.notes_on())
                for index in range(6):
                    host.play([60 + index], gap=0.08)
                assert len(host.notes_on()) == count
                theirs.send(bytes((0xB0, control, off)))
        session.stop()
