"""The partner's own notes that come back are told from the player's."""

from __future__ import annotations

import random

from plugin_bridge.duet.echo import EchoFilter
from plugin_bridge.music.events import NoteOff, NoteOn, Part, Pedal


def sent(echo: EchoFilter, time: float, pitch: int, velocity: int) -> None:
    echo.sent(NoteOn(time, pitch, velocity, Part.PARTNER), time)


def test_a_note_that_comes_back_is_an_echo_and_its_release_too() -> None:
    echo = EchoFilter()
    sent(echo, 1.0, 60, 77)
    assert echo.is_echo(NoteOn(1.01, 60, 77), 1.01)
    assert echo.is_echo(NoteOff(1.3, 60), 1.3)
    assert not echo.is_echo(NoteOff(1.4, 60), 1.4)
    assert echo.heard == 2


def test_the_player_is_heard() -> None:
    echo = EchoFilter()
    sent(echo, 1.0, 60, 77)
    assert not echo.is_echo(NoteOn(1.01, 62, 77), 1.01)  # another key
    assert not echo.is_echo(NoteOn(1.02, 60, 90), 1.02)  # the same key by another hand
    assert not echo.is_echo(NoteOn(2.0, 60, 77), 2.0)  # long after
    assert not echo.is_echo(Pedal(1.0, True), 1.0)


def test_each_stroke_comes_back_once() -> None:
    echo = EchoFilter()
    sent(echo, 1.0, 60, 77)
    assert echo.is_echo(NoteOn(1.01, 60, 77), 1.01)
    assert not echo.is_echo(NoteOn(1.02, 60, 77), 1.02)


def test_a_loop_that_changes_velocities_is_found_out() -> None:
    echo = EchoFilter()
    chance = random.Random(1)
    kept = 0
    for index in range(40):
        time = 0.2 * index
        pitch = 60 + index % 12
        sent(echo, time, pitch, 80)
        kept += not echo.is_echo(NoteOn(time + 0.02, pitch, chance.randrange(20, 70)), time + 0.02)
    assert kept <= 8, "as many as it takes to be certain"
    assert echo.looped


def test_in_a_loop_the_pedal_is_an_echo_too() -> None:
    echo = EchoFilter()
    for index in range(20):
        sent(echo, 0.2 * index, 60 + index, 80)
        assert echo.is_echo(NoteOn(0, 60 + index, 80), 0.2 * index + 0.01)
    echo.sent(Pedal(5.0, True, Part.PARTNER), 5.0)
    assert echo.is_echo(Pedal(5.01, True), 5.01)
    assert not echo.is_echo(Pedal(6.0, True), 6.0)


def test_a_player_who_doubles_the_partner_is_no_loop() -> None:
    echo = EchoFilter()
    chance = random.Random(2)
    heard = 0
    for index in range(60):
        time = 0.3 * index
        sent(echo, time, 60, 80)
        later = time + chance.uniform(0.02, 0.2)
        heard += not echo.is_echo(NoteOn(later, 60, chance.randrange(50, 110)), later)
    assert heard >= 54
    assert not echo.looped
