"""A session's ports in a process of their own; with a JACK server: tests/duet/test_live_duet.py."""

from __future__ import annotations

import pytest

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.kept_ports import PortNews, kept_ports
from plugin_bridge.ports.midi_ports import Existing, Virtual
from plugin_bridge.ports.patch_view import PatchView, PortView
from plugin_bridge.ports.transport import TransportReport


def view(keys: bool, synth: bool) -> PatchView:
    ports = PortView("Keys", "input", keys), PortView("Synth", "output", synth)
    return PatchView("jack", ports, (), (), 0)


def test_what_goes_and_comes_back_is_told_once() -> None:
    told: list[str] = []
    news = PortNews(told.append)
    for keys, synth in ((True, True), (True, True), (True, False), (True, False), (False, True)):
        news.look(view(keys, synth))
    assert [line.partition(";")[0] for line in told] == [
        "MIDI output 'Synth' has gone",
        "MIDI input 'Keys' has gone",
        "MIDI output 'Synth' is there again",
    ]


def test_nobody_can_play_where_there_is_no_midi_system() -> None:
    report = TransportReport("loopback", ("alsa: no such file",))
    with (
        kept_ports(report, Virtual("In"), Virtual("Out"), PortNews(print)) as there,
        pytest.raises(BridgeError) as refused,
    ):
        there()
    assert "alsa: no such file" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_system_without_virtual_ports_says_what_to_install() -> None:
    ports = kept_ports(TransportReport("winmm"), Existing("Keys"), Virtual("Out"), PortNews(print))
    with pytest.raises(BridgeError, match="loopMIDI"), ports:
        pass
