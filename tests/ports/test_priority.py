"""Threads that play run before others, and nothing that they start does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from plugin_bridge.ports.priority import ask_for_favour, ask_for_realtime, hurried

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has these policies")


def policy() -> int:
    """Of the calling thread."""
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


@pytest.mark.parametrize("ask", [ask_for_realtime, ask_for_favour])
def test_a_thread_and_a_program_that_one_starts_are_ordinary_ones(ask: Callable[[], None]) -> None:
    policies: list[int] = []

    def play() -> None:
        ask()
        starts = threading.Thread(target=lambda: policies.append(os.sched_getscheduler(0)))
        starts.start()
        starts.join()
        told = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"],
            capture_output=True,
            check=True,
        )
        policies.append(int(told.stdout))

    plays = threading.Thread(target=play)
    plays.start()
    plays.join()
    assert policies == [os.SCHED_OTHER, os.SCHED_OTHER]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # nor is the thread that started it


def test_who_is_in_a_hurry_is_an_ordinary_thread_again_afterwards_and_starts_ordinary_ones() -> None:
    policies: list[int] = []
    before = policy()
    with hurried():
        starts = threading.Thread(target=lambda: policies.append(os.sched_getscheduler(0)))
        starts.start()
        starts.join()
    assert policies == [os.SCHED_OTHER]
    assert policy() == before


LEAVES_WITHOUT_PRIVILEGES = """
import os
from plugin_bridge.ports.priority import hurried
with hurried():
    os.setuid(65534)
    print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK)
print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK)
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root has privileges to drop")
def test_who_is_not_privileged_is_an_ordinary_thread_again_after_a_hurry_too() -> None:
    told = subprocess.run([sys.executable, "-c", LEAVES_WITHOUT_PRIVILEGES], capture_output=True, check=True)
    inside, after = map(int, told.stdout.split())
    if inside != os.SCHED_RR:
        pytest.skip("no thread may be real-time here")
    assert after == os.SCHED_OTHER
