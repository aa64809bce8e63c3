"""Which clients JACK has forgotten: judged by how often each had its turn."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from plugin_bridge.ports.turns import ClientThreads, Turns, own_threads

OFTEN = 300  # turns in 0.4 s, as with periods of 64 frames


def judged(*rates: dict[str, int], start: float = 100.0) -> list[set[str]]:
    """What is judged forgotten at each look, 0.4 s apart; `rates`: the turns that each client had since the
    look before."""
    turns, counts, found = Turns[str](), dict.fromkeys(rates[0], 1000), []
    turns.forgotten(counts, start)
    for look, rate in enumerate(rates, 1):
        counts = {each: counts.get(each, 0) + had for each, had in rate.items()}
        found.append(set(turns.forgotten(counts, start + 0.4 * look)))
    return found


def test_clients_that_have_their_turns_are_left_alone_however_seldom_they_sleep() -> None:
    assert judged(*[{"keys": OFTEN, "synth": 12}] * 5) == [set()] * 5


def test_a_client_without_turns_is_forgotten_at_the_second_look() -> None:
    assert judged(*[{"keys": 0, "synth": OFTEN}] * 2) == [set(), {"keys"}]


def test_what_a_change_of_the_graph_wakes_is_no_turn() -> None:
    assert judged(*[{"keys": 2, "synth": OFTEN}] * 2)[-1] == {"keys"}


def test_one_late_look_is_forgiven() -> None:
    late, well = {"keys": 0, "synth": OFTEN}, {"keys": OFTEN, "synth": OFTEN}
    assert judged(late, well, late, well) == [set()] * 4


def test_who_has_just_come_is_judged_from_the_next_look_on() -> None:
    old, both = {"synth": OFTEN}, {"synth": OFTEN, "keys": 0}
    assert judged(old, both, both, both) == [set(), set(), set(), {"keys"}]


def test_with_long_periods_more_looks_are_taken_together() -> None:
    slow = {"keys": 0, "synth": 25}  # 768 frames
    assert judged(*[slow] * 4) == [set()] * 3 + [{"keys"}]


def test_the_longest_periods_are_not_taken_for_standing_still() -> None:
    assert judged(*[{"keys": 2, "synth": 2}] * 100) == [set()] * 100


def test_when_nobody_has_a_turn_all_are_forgotten_once_in_a_while() -> None:
    still = {"keys": 0, "synth": 0}
    found = judged(*[still] * 40)
    times = [look for look, each in enumerate(found, 1) if each]
    assert all(found[look - 1] == {"keys", "synth"} for look in times)
    assert times == [8, 23]  # after 3 s, and after 6 s more


def test_no_clients_none_forgotten() -> None:
    assert judged({}, {}, {"keys": 0}) == [set()] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts how often a thread has slept")
def test_a_client_is_seen_to_be_called_to_wait_and_to_be_shut_out() -> None:
    before, playing, ending = own_threads(), threading.Event(), threading.Event()

    def called() -> None:
        while playing.is_set():
            time.sleep(0.001)
        ending.wait()

    playing.set()
    threads = [threading.Thread(target=ending.wait), threading.Thread(target=called)]
    for each in threads:
        each.start()
    client = ClientThreads(own_threads() - before)

    def turns() -> int:
        count = client.turns()
        assert count is not None
        return count

    try:
        while turns() < 60:
            time.sleep(0.001)
        playing.clear()
        threads[1].join(0.1)
        waiting = turns()
        assert turns() == waiting
    finally:
        playing.clear()
        ending.set()
        for each in threads:
            each.join()
    while client.turns() is not None:  # Python's thread ends a moment before the system's
        time.sleep(0.001)
