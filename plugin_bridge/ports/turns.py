"""Which of our clients JACK has forgotten, or shut out.

On a busy machine a server that runs well loses a client from its order now and then: the client's ports stand
in every list, connected, but its turn never comes again, and no note passes. Or it closes the client's line,
after which libjack is of no use in the whole process: it frees clients that are still held. RtMidi is told
neither. But each client has a thread that sleeps from one turn to the next, and that ends when the client is
shut out; and Linux shows how often a thread has slept.

Threads: `own_threads` from any; all else belongs to one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

ENOUGH = 100
"""How many turns the client that had the most needs, for the others to be judged by it."""
SHARE = 0.01
"""Who had a smaller share of that has had none. On a busy machine a client whose notes all pass may sleep
twelve times where another does five hundred times: its next turn is there before it could sleep."""
SURE = 30
"""How often a thread has slept that is the one with the turns, and none of the others of a client."""
MISSING_SECONDS = 0.75
"""How long that must be so: under load jackd changes its order, and calls who is new, up to 0.5 s late."""
STILL = 2.0
"""Turns a second: with fewer JACK stands still. Its longest usual periods make 5.4."""
STILL_SECONDS, LONGEST_STILL = 3.0, 60.0
"""How long it may: doubled each time, until somebody has turns."""

_TASKS = Path("/proc/self/task")
_SLEEPS = b"\nvoluntary_ctxt_switches:"
_Client = TypeVar("_Client", bound=Hashable)


def own_threads() -> frozenset[int]:
    """The threads of this process, libjack's included; empty where the system does not show them."""
    try:
        return frozenset(int(each.name) for each in _TASKS.iterdir())
    except OSError:
        return frozenset()


class ClientThreads:
    """The threads that a client of JACK's began, among them perhaps some that it did not."""

    def __init__(self, threads: Iterable[int], tasks: Path = _TASKS) -> None:
        self._files = [tasks / str(thread) / "status" for thread in threads]

    def turns(self) -> int | None:
        """How often the client has had its turn so far, roughly; None when it has been shut out."""
        sleeps = {file: _sleeps(file) for file in self._files}
        called = max(sleeps, key=sleeps.__getitem__, default=None)
        if called is None or sleeps[called] < 0:
            return None
        if sleeps[called] >= SURE:
            self._files = [called]
        return sleeps[called]


def _sleeps(status: Path) -> int:
    """How often the thread has slept, or was made to, so far; -1 when it has ended."""
    try:
        slept = status.read_bytes().partition(_SLEEPS)[2].split()
        return int(slept[0]) + int(slept[2])
    except OSError:
        return -1


class Turns(Generic[_Client]):
    """Judges clients by how many turns each has had, asked again and again."""

    def __init__(self) -> None:
        self._before: dict[_Client, int] = {}
        self._missing: dict[_Client, float] = {}  # since when
        self._since: float | None = None
        self._patience = STILL_SECONDS

    @property
    def suspects(self) -> bool:
        """Whether a client had no turn when it was judged last."""
        return bool(self._missing)

    def forgotten(self, counts: Mapping[_Client, int], time: float) -> frozenset[_Client]:
        """The clients that get no turn although others do, or all of them when nobody had one for too long.
        `counts` are the turns so far of each client there is, at `time` in seconds. Who is new is judged from
        the next time on."""
        had = {each: counts[each] - self._before[each] for each in counts.keys() & self._before.keys()}
        if self._since is None or not had:
            self._begin(counts, time)
            return frozenset()
        most = max(had.values())
        if most < ENOUGH:
            if time - self._since < self._patience or most >= STILL * (time - self._since):
                return frozenset()
            self._patience = min(2 * self._patience, LONGEST_STILL)
            self._begin(counts, time)
            return frozenset(had)
        self._patience = STILL_SECONDS
        self._missing = {
            each: self._missing.get(each, self._since) for each in had if had[each] < SHARE * most
        }
        self._begin(counts, time)
        return frozenset(each for each, since in self._missing.items() if time - since >= MISSING_SECONDS)

    def _begin(self, counts: Mapping[_Client, int], time: float) -> None:
        self._before, self._since = dict(counts), time
