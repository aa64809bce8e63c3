"""Which clients JACK has forgotten: judged by how often each had its turn."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from plugin_bridge.ports.turns import Turns, own_threads, turns_of

FORTY = 40  # turns in 0.4 s, as with periods of 480 frames


def judged(*rates: dict[str, int], start: float = 100.0) -> list[set[str]]:
    """What is judged forgotten at each look, 0.4 s apart; `rates`: the turns that each client had since the
    look before."""
    turns, counts, found = Turns[str](), dict.fromkeys(rates[0], 1000), []
    turns.forgotten(counts, start)
    for look, rate in enumerate(rates, 1):
        counts = {each: counts.get(each, 0) + had for each, had in rate.items()}
        found.append(set(turns.forgotten(counts, start + 0.4 * look)))
    return found


def test_clients_that_have_their_turns_are_left_alone() -> None:
    assert judged(*[{"keys": FORTY, "synth": FORTY - 7}] * 5) == [set()] * 5


def test_a_client_without_turns_is_forgotten_at_the_second_look() -> None:
    assert judged(*[{"keys": 0, "synth": FORTY}] * 2) == [set(), {"keys"}]


def test_what_a_change_of_the_graph_wakes_is_no_turn() -> None:
    assert judged(*[{"keys": 3, "synth": FORTY}] * 2)[-1] == {"keys"}


def test_one_late_look_is_forgiven() -> None:
    late, well = {"keys": 0, "synth": FORTY}, {"keys": FORTY, "synth": FORTY}
    assert judged(late, well, late, well) == [set()] * 4


def test_who_has_just_come_is_judged_from_the_next_look_on() -> None:
    old, both = {"synth": FORTY}, {"synth": FORTY, "keys": 0}
    assert judged(old, both, both, both) == [set(), set(), set(), {"keys"}]


def test_with_long_periods_more_looks_are_taken_together() -> None:
    slow = {"keys": 0, "synth": 4}  # 4096 frames
    assert judged(*[slow] * 6) == [set()] * 5 + [{"keys"}]


def test_when_nobody_has_a_turn_all_are_forgotten_once_in_a_while() -> None:
    still = {"keys": 0, "synth": 0}
    found = judged(*[still] * 40)
    times = [look for look, each in enumerate(found, 1) if each]
    assert all(found[look - 1] == {"keys", "synth"} for look in times)
    assert times == [8, 23]  # after 3 s, and after 6 s more


def test_no_clients_none_forgotten() -> None:
    assert judged({}, {}, {"keys": 0}) == [set()] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts how often a thread has slept")
def test_a_thread_that_is_woken_again_and_again_is_seen_and_one_that_waits_is_not() -> None:
    before, ending = own_threads(), threading.Event()

    def called() -> None:
        while not ending.is_set():
            time.sleep(0.001)

    waiting, woken = threading.Thread(target=ending.wait), threading.Thread(target=called)
    try:
        waiting.start()
        still = own_threads() - before
        woken.start()
        called_threads = own_threads() - before - still
        first = turns_of(called_threads), turns_of(still)
        while turns_of(called_threads) < first[0] + 20:
            time.sleep(0.001)
        assert turns_of(still) - first[1] <= 1
    finally:
        ending.set()
        waiting.join()
        woken.join()
    assert turns_of(called_threads) == 0  # it has ended
