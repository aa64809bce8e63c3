"""Real virtual ports of a real MIDI system, seen and played by another client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import pytest
from fakes.waiting import wait_for

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.midi_ports import (
    Existing,
    MidiPorts,
    Probes,
    Virtual,
    list_ports,
    open_named,
    open_ports,
    open_virtual,
)
from plugin_bridge.ports.transport import jack_problem

pytestmark = pytest.mark.live

ON, OFF = b"\x90\x3c\x40", b"\x80\x3c\x40"
HOST = Path(__file__).parent.parent / "fakes" / "midi_host.py"


@pytest.fixture
def partner(jack_server: object) -> Iterator[MidiPorts]:
    with open_virtual(backend="jack") as ports:
        yield ports


@pytest.fixture
def host(partner: MidiPorts) -> Iterator[MidiPorts]:
    """Another client, connected to both of the partner's ports."""
    with open_named("Plugin Bridge Out", "Plugin Bridge In", backend="jack") as ports:
        yield ports


def test_the_ports_bear_the_names_that_users_are_told(partner: MidiPorts) -> None:
    there = list_ports("jack")
    assert there.transport == partner.transport == "jack"
    assert [name for name in there.outputs if "Plugin Bridge" in name] == [
        "Plugin Bridge In:Plugin Bridge In"
    ]
    assert [name for name in there.inputs if "Plugin Bridge" in name] == [
        "Plugin Bridge Out:Plugin Bridge Out"
    ]


def test_ports_vanish_when_closed(jack_server: object) -> None:
    with open_virtual("Short In", "Short Out", backend="jack"):
        assert any("Short In" in name for name in list_ports("jack").outputs)
    there = list_ports("jack")
    assert not [name for name in there.inputs + there.outputs if "Short" in name]


def test_a_server_that_answers_is_found(jack_server: object) -> None:
    assert jack_problem() is None
    assert list_ports(probes=Probes("linux", lambda: None, lambda: "no")).transport == "jack"


def test_messages_pass_both_ways_in_order_and_are_stamped_on_arrival(
    partner: MidiPorts, host: MidiPorts
) -> None:
    heard: list[tuple[bytes, float]] = []
    echoed: list[tuple[bytes, float]] = []

    def echo(message: bytes, arrived: float) -> None:
        heard.append((message, arrived))
        partner.send(message)

    partner.listen(echo)
    host.listen(lambda message, arrived: echoed.append((message, arrived)))
    sent: list[tuple[bytes, float]] = []
    for pitch in range(40, 80):
        sent.append((bytes((0x90, pitch, 64)), now()))
        host.send(sent[-1][0])
        time.sleep(0.005)
    assert wait_for(lambda: len(echoed) >= 38)
    time.sleep(0.1)
    # At an overrun of the machine JACK may lose a message; it invents and swaps none.
    assert len(echoed) >= 38
    assert [m for m, _ in heard] == [m for m, _ in sent if m in dict(heard)]
    assert [m for m, _ in echoed] == [m for m, _ in heard if m in dict(echoed)]
    left, came, back = dict(sent), dict(heard), dict(echoed)
    assert all(left[message] < came[message] < back[message] <= now() for message in back)


@pytest.mark.parametrize("size", [1000, 8000])
def test_a_long_sysex_arrives_whole(partner: MidiPorts, host: MidiPorts, size: int) -> None:
    message = bytes((0xF0, 0x7D, *(k % 128 for k in range(size - 3)), 0xF7))
    got: list[bytes] = []
    partner.listen(lambda data, _: got.append(data))
    for _ in range(3):  # an overrun may take one
        host.send(message)
        if wait_for(lambda: got, 2.0):
            break
    assert got[0] == message


def test_clock_and_transport_messages_arrive_and_active_sensing_does_not(
    partner: MidiPorts, host: MidiPorts
) -> None:
    got: list[bytes] = []
    partner.listen(lambda data, _: got.append(data))
    for status in (0xFE, 0xFA, 0xF8, 0xFE, 0xFC):
        host.send(bytes((status,)))
        time.sleep(0.02)
    assert wait_for(lambda: b"\xfc" in got)
    assert [m for m in got if m != b"\xfe"] == got
    assert set(got) <= {b"\xfa", b"\xf8", b"\xfc"}


def test_after_close_nothing_is_delivered_though_messages_keep_coming(jack_server: object) -> None:
    with open_virtual("Storm Source In", "Storm Source Out", backend="jack") as source:
        stop = threading.Event()

        def storm() -> None:
            while not stop.is_set():
                source.send(ON)
                time.sleep(0.002)

        thread = threading.Thread(target=storm)
        thread.start()
        try:
            for _ in range(5):
                got: list[bytes] = []
                ports = open_ports(Existing("Storm Source Out"), Virtual("Storm Out"), backend="jack")
                ports.listen(lambda message, _: got.append(message))  # noqa: B023
                assert wait_for(lambda: len(got) > 5)  # noqa: B023
                ports.close()
                count = len(got)
                time.sleep(0.05)
                assert len(got) == count
                ports.close()
                with pytest.raises(BridgeError, match="closed"):
                    ports.send(ON)
        finally:
            stop.set()
            thread.join()


def test_close_from_the_callback_is_refused_and_a_failing_callback_survived(
    partner: MidiPorts, host: MidiPorts
) -> None:
    kinds: list[type[BaseException]] = []

    def closing(_message: bytes, _arrived: float) -> None:
        try:
            partner.close()
        except RuntimeError as error:
            kinds.append(type(error))
            raise

    partner.listen(closing)
    assert wait_for(lambda: (host.send(ON), time.sleep(0.02), len(kinds) >= 2)[-1])
    assert partner.stats().failed_callbacks >= 2


def test_a_port_that_is_not_there_is_named_with_those_that_are(partner: MidiPorts) -> None:
    with pytest.raises(BridgeError, match=r"no MIDI input named 'Grand Piano'.*Plugin Bridge Out"):
        open_named("Grand Piano", "Plugin Bridge In", backend="jack")
    with pytest.raises(BridgeError, match=r"no MIDI output named 'Grand Piano'.*Plugin Bridge In"):
        open_named("Plugin Bridge Out", "Grand Piano", backend="jack")
    there = list_ports("jack")  # and the half that could be opened is closed again
    assert len([name for name in there.inputs + there.outputs if "Plugin Bridge" in name]) == 2


def test_a_second_instance_is_told_of_the_first_and_may_take_another_name(partner: MidiPorts) -> None:
    with pytest.raises(BridgeError, match=r"'Plugin Bridge In' is there already.*another port name"):
        open_virtual(backend="jack")
    with open_virtual("Second In", "Second Out", backend="jack") as second:
        assert second.input_name == "Second In"


def test_nothing_is_connected_by_itself(partner: MidiPorts) -> None:
    got: list[bytes] = []
    with open_virtual("Stranger In", "Stranger Out", backend="jack") as stranger:
        stranger.listen(lambda message, _: got.append(message))
        partner.listen(lambda message, _: got.append(message))
        for _ in range(20):
            stranger.send(ON)
            partner.send(ON)
            time.sleep(0.005)
        time.sleep(0.1)
        assert got == []


def test_a_server_that_dies_is_an_error_and_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fakes.jack import no_live_ports, start_jack, stop_jack

    try:
        server = start_jack(f"pbdying{os.getpid()}", tmp_path / "jackd.log")
    except RuntimeError as error:
        no_live_ports(str(error))
    try:
        monkeypatch.setenv("JACK_DEFAULT_SERVER", server.name)
        with open_virtual("Dying In", "Dying Out", backend="jack") as ports:
            ports.send(ON)
            os.killpg(server.process.pid, signal.SIGTERM)
            assert wait_for(lambda: ports.stats().lost is not None)
            for _ in range(5000):  # RtMidi alone would hang once its buffer is full
                with pytest.raises(BridgeError, match="JACK server has stopped"):
                    ports.send(OFF)
    finally:
        stop_jack(server)


def test_the_host_of_the_acceptance_tests_plays_a_file_and_records_the_answer(
    partner: MidiPorts, jack_server: Any, tmp_path: Path
) -> None:
    song, record = tmp_path / "song.mid", tmp_path / "record.json"
    track = mido.MidiTrack()
    for pitch in (60, 64, 67, 72):
        track.append(mido.Message("note_on", note=pitch, velocity=80, time=0))
        track.append(mido.Message("note_off", note=pitch, velocity=0, time=96))
    track.append(mido.Message("note_on", note=50, velocity=80, time=0))  # never released in the file
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(song)
    partner.listen(lambda message, _: partner.send(message))
    command = [sys.executable, str(HOST), str(song), str(record), "--api", "jack", "--tail", "0.5"]
    command += ["--out-port", "Plugin Bridge In", "--in-port", "Plugin Bridge Out"]
    done = subprocess.run(command, env=jack_server.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    content = json.loads(record.read_text())
    played = [tuple(message) for _, message in content["played"]]
    recorded = [tuple(message) for _, message in content["recorded"]]
    assert len(played) == 10
    assert played[-1] == (0x80, 50, 64)
    assert len(recorded) >= 9
    assert recorded == [message for message in played if message in set(recorded)]
    starts = [time for time, message in content["played"] if message[0] == 0x90]
    due = [content["started"] + 0.1 * k for k in range(5)]  # 96 of 480 ticks at 120 beats a minute
    assert len(starts) == len(due)
    assert all(start > at - 0.002 for start, at in zip(starts, due, strict=True))


def test_the_host_says_which_port_it_misses(jack_server: Any, tmp_path: Path) -> None:
    song = tmp_path / "song.mid"
    mido.MidiFile(tracks=[mido.MidiTrack()]).save(song)
    command = [
        sys.executable,
        str(HOST),
        str(song),
        str(tmp_path / "r.json"),
        "--api",
        "jack",
        "--wait",
        "0.1",
    ]
    command += ["--out-port", "Nowhere In", "--in-port", "Nowhere Out"]
    done = subprocess.run(command, env=jack_server.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "'Nowhere In'" in done.stderr
    assert not (tmp_path / "r.json").exists()
