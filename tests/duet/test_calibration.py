"""The loop from output to input is measured, kept, and made up for."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from plugin_bridge.duet.calibration import Calibrations, LoopDelay, measure_loop
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.loopback import loopback_pair


def cable(theirs, seconds: float, lose: int = 0) -> None:
    """What comes in at the far end goes back `seconds` later, but for every `lose`-th note."""
    count = 0

    def back(message: bytes, when: float) -> None:
        nonlocal count
        count += 1
        if lose and count % lose == 0:
            return
        threading.Timer(seconds, send, (bytes(message),)).start()

    def send(message: bytes) -> None:
        with suppress(BridgeError):  # the last ones may come when all is over
            theirs.send(message)

    theirs.listen(back)


def test_the_loop_is_measured() -> None:
    ours, theirs = loopback_pair()
    with ours, theirs:
        cable(theirs, 0.03)
        delay = measure_loop(ours, time.sleep, pulses=20)
        assert 30 <= delay.p50 < 60
        assert delay.p50 <= delay.p95
        assert delay.lost == 0
        assert delay.delays.into == delay.delays.out == pytest.approx(delay.p50 / 2000)


def test_what_is_lost_on_the_way_is_counted() -> None:
    ours, theirs = loopback_pair()
    with ours, theirs:
        cable(theirs, 0.0, lose=7)
        delay = measure_loop(ours, time.sleep, pulses=20)
        assert 0 < delay.lost < 8


def test_without_a_connection_it_says_what_to_do() -> None:
    ours, theirs = loopback_pair()
    with ours, theirs, pytest.raises(BridgeError, match="connect the two"):
        measure_loop(ours, time.sleep, pulses=12)


def test_a_bad_connection_is_no_measurement() -> None:
    ours, theirs = loopback_pair()
    with ours, theirs:
        theirs.listen(lambda message, when: theirs.send(bytes(message)) if message[1] % 4 == 0 else None)
        with pytest.raises(BridgeError, match=r"only \d+ of 20 notes came back"):
            measure_loop(ours, time.sleep, pulses=20)


def test_everything_is_off_afterwards() -> None:
    ours, theirs = loopback_pair()
    with ours, theirs:
        held: set[int] = set()

        def hear(message: bytes, when: float) -> None:
            if message[0] == 0x90:
                held.add(message[1])
                theirs.send(bytes(message))
            else:
                held.discard(message[1])

        theirs.listen(hear)
        measure_loop(ours, time.sleep, pulses=12)
        assert held == set()


def test_calibrations_are_kept_by_ports(tmp_path: Path) -> None:
    known = Calibrations(tmp_path / "sub" / "c.json")
    assert known.find("in", "out") is None
    known.keep("in", "out", LoopDelay(10.0, 12.0, 3.0, 60, 0))
    known.keep("in", "other", LoopDelay(20.0, 22.0, 3.0, 60, 1))
    again = Calibrations(tmp_path / "sub" / "c.json")
    assert again.find("in", "out") == LoopDelay(10.0, 12.0, 3.0, 60, 0)
    assert again.find("in", "other").p50 == 20.0
    assert again.find("out", "in") is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": {}}', '{"a": {"p50": 1e9, "p95": 1, "jitter": 1, "sent": 1, "lost": 0}}'],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(BridgeError, match=r"calibration\.json"):
        Calibrations(path).find("in", "out")
