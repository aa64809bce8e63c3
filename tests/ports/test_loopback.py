"""The wire inside one process behaves as real ports do, and the same each time."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.loopback import loopback_pair

ON, OFF = b"\x90\x3c\x40", b"\x80\x3c\x40"


def test_what_one_end_sends_the_other_gets_in_order_with_the_clock_s_time() -> None:
    ticks = count(10)
    near, far = loopback_pair(clock=lambda: float(next(ticks)))
    got: list[tuple[bytes, float]] = []
    far.listen(lambda message, time: got.append((message, time)))
    near.send(ON)
    near.send(OFF)
    assert got == [(ON, 10.0), (OFF, 11.0)]
    assert near.stats().sent == far.stats().received == 2


def test_an_echo_returns_before_send_does() -> None:
    near, far = loopback_pair()
    got: list[bytes] = []
    near.listen(lambda message, _: got.append(message))
    far.listen(lambda message, _: far.send(message))
    near.send(ON)
    assert got == [ON]


def test_nothing_is_delivered_before_listen_nor_after_close() -> None:
    near, far = loopback_pair()
    got: list[bytes] = []
    near.send(ON)
    far.listen(lambda message, _: got.append(message))
    near.send(OFF)
    far.close()
    far.close()
    near.send(ON)
    assert got == [OFF]
    with pytest.raises(BridgeError, match="closed"):
        far.send(ON)


def test_a_callback_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    near, far = loopback_pair()
    got: list[bytes] = []

    def picky(message: bytes, _: float) -> None:
        if message == ON:
            raise LookupError("not this one")
        got.append(message)

    far.listen(picky)
    near.send(ON)
    near.send(OFF)
    assert got == [OFF]
    assert (far.stats().received, far.stats().failed_callbacks) == (2, 1)
    assert "not this one" in caplog.text


def test_a_broken_message_is_refused_at_the_sender() -> None:
    near, _ = loopback_pair()
    with pytest.raises(ValueError, match="3 bytes"):
        near.send(b"\x90\x3c")


def test_two_threads_sending_towards_each_other_both_finish() -> None:
    near, far = loopback_pair()
    hops: list[bytes] = []

    def bounce_once(end: object) -> None:
        end.listen(lambda message, _: (hops.append(message), message == ON and end.send(OFF)))

    bounce_once(near)
    bounce_once(far)
    threads = [
        threading.Thread(target=lambda end=end: [end.send(ON) for _ in range(500)], daemon=True)
        for end in (near, far)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert (hops.count(ON), hops.count(OFF)) == (1000, 1000)
