"""Which clients JACK has forgotten: judged by how often each had its turn."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from plugin_bridge.ports import turns as turns_module
from plugin_bridge.ports.turns import ClientThreads, Turns, own_threads, sleeps

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


def test_where_opening_it_again_does_not_help_it_is_left_alone_for_longer_each_time() -> None:
    """It waits for a client of another program's, which comes before it in JACK's order."""
    turns, found, opened = Turns[tuple[str, int]](same=lambda client: client[0]), [], 0
    for look in range(60):
        counts = {("keys", opened): 0, ("synth", 0): look * OFTEN}
        forgotten = turns.forgotten(counts, 100.0 + 0.4 * look)
        assert forgotten <= {("keys", opened)}
        if forgotten:
            found.append(look)
            opened += 1
    pauses = [after - before for before, after in pairwise(found)]
    assert len(pauses) >= 3
    assert all(after > before for before, after in pairwise(pauses))


def test_who_had_a_turn_meanwhile_is_opened_again_as_soon_as_the_first_time() -> None:
    late, well = {"keys": 0, "synth": OFTEN}, {"keys": OFTEN, "synth": OFTEN}
    assert judged(late, late, well, late, late) == [set(), {"keys"}, set(), set(), {"keys"}]


@pytest.fixture
def client() -> Iterator[tuple[ClientThreads, dict[str, threading.Event], Callable[[], int]]]:
    """A client as libjack has it: a thread that sleeps in a futex from turn to turn, here a millisecond, and
    one that reads news; besides one of somebody else's. The events end the first, and all of them. Last: how
    often the one that reads was woken."""
    before = own_threads()
    ends = {"turns": threading.Event(), "all": threading.Event()}
    reading, writing = os.pipe()
    libc, word, pause = ctypes.CDLL(None), ctypes.c_int(0), (ctypes.c_long * 2)(0, 1_000_000)
    news: list[int] = []

    def called() -> None:
        while not ends["turns"].is_set():
            libc.syscall(int(turns_module._FUTEX), ctypes.byref(word), 0, 0, pause, None, 0)

    def told() -> None:
        news.append(threading.get_native_id())
        while os.read(reading, 1) != b"e":
            pass

    def count() -> int:
        os.write(writing, b"n")
        return sleeps(turns_module._TASKS / str(news[0])) or 0

    threads = [threading.Thread(target=each) for each in (told, ends["all"].wait, called)]
    for each in threads:
        each.start()
    while not news:
        time.sleep(0.001)
    yield ClientThreads(own_threads() - before), ends, count
    for event in ends.values():
        event.set()
    os.write(writing, b"e")
    for each in threads:
        each.join()
    os.close(reading)
    os.close(writing)


def known_turns(client: ClientThreads) -> int:
    while (count := client.turns()) is None:
        time.sleep(0.001)
    return count


needs_linux = pytest.mark.skipif(
    sys.platform != "linux" or not turns_module._FUTEX, reason="known of Linux on two processors"
)


@needs_linux
def test_news_are_no_turns_however_many_there_are(
    client: tuple[ClientThreads, dict[str, threading.Event], Callable[[], int]],
) -> None:
    threads, ends, news = client
    while news() < 100:
        time.sleep(0.001)
    first = known_turns(threads)
    while known_turns(threads) < first + 30:
        time.sleep(0.001)
    assert not threads.shut_out()
    ends["turns"].set()
    while threads.turns() is not None:  # it has ended: JACK calls it no more
        time.sleep(0.001)
    assert threads.shut_out()


GONE = [FileNotFoundError(), ProcessLookupError(), b""]
HIDDEN = [PermissionError(), OSError(errno.EIO, "no"), b"running\n"]


@pytest.mark.parametrize("answer", GONE + HIDDEN, ids=repr)
@pytest.mark.parametrize("known", [True, False])
def test_only_a_thread_that_has_gone_has_ended_and_not_one_that_the_system_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: OSError | bytes, known: bool
) -> None:
    task = tmp_path / "7"
    task.mkdir()
    monkeypatch.setattr(turns_module, "_FUTEX", "202")
    (task / "syscall").write_text("202 0x0 0x0\n")
    (task / "status").write_text("Name:\tjack\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t1\n")
    client = ClientThreads([7], tmp_path)
    if known:
        assert client.turns() == 6

    def read(_: Path) -> bytes:
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.setattr(Path, "read_text", lambda path: read(path).decode())
    if isinstance(answer, FileNotFoundError):
        shutil.rmtree(task)
    assert client.turns() is None
    assert client.shut_out() == (answer in GONE)


@needs_linux
def test_threads_that_are_not_known_to_be_jacks_say_nothing() -> None:
    before, ending = own_threads(), threading.Event()
    thread = threading.Thread(target=ending.wait)
    thread.start()
    threads = ClientThreads(own_threads() - before)
    assert threads.turns() is None
    assert not threads.shut_out()
    ending.set()
    thread.join()
    while not threads.shut_out():  # Python's thread ends a moment before the system's
        time.sleep(0.001)
