"""Which of our clients JACK has forgotten, or shut out.

On a busy machine a server that runs well loses a client from its order now and then: the client's ports stand
in every list, connected, but its turn never comes again, and no note passes. Or it closes the client's line,
after which libjack is of no use in the whole process: it frees clients that are still held. RtMidi is told
neither. But each client of libjack's has two threads: one sleeps from turn to turn, until the server wakes
it; the other reads what the server has to tell. Linux shows which is which, by what each waits for, and how
often it has slept. (The second must not be taken for the first: who opens ports wakes it dozens of times.)

Threads: `own_threads` from any; all else belongs to one.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Generic, TypeVar

ENOUGH = 100
"""How many turns the client that had the most needs, for the others to be judged by it."""
SHARE = 0.01
"""Who had a smaller share of that has had none. On a busy machine a client whose notes all pass may sleep
twelve times where another does five hundred times: its next turn is there before it could sleep."""
MISSING_SECONDS, LONGEST_MISSING = 0.75, 60.0
"""How long that must be so: under load jackd changes its order, and calls who is new, up to 0.5 s late.
Doubled each time that opening the client again did not help: then it waits for a client of somebody else's,
which comes before it in JACK's order and stands still itself."""
STILL = 2.0
"""Turns a second: with fewer JACK stands still. Its longest usual periods make 5.4."""
STILL_SECONDS, LONGEST_STILL = 3.0, 60.0
"""How long it may: doubled each time, until somebody has turns."""
ENDED = -1
"""Instead of how often a thread has slept."""

_TASKS = Path("/proc/self/task")
_SLEEPS = b"\nvoluntary_ctxt_switches:"
_FUTEX, _READ = {"x86_64": ("202", "0"), "aarch64": ("98", "63")}.get(platform.machine(), ("", ""))
"""The numbers of two of Linux' system calls: futex(2) and read(2)."""
_OPERATION, _WAIT = 0x7F | 0x80, 0
"""Of futex: what it does, with the bit that it is private to a process; and to wait for another process."""
_Client = TypeVar("_Client", bound=Hashable)


def own_threads() -> frozenset[int]:
    """The threads of this process, libjack's included; empty where the system does not show them."""
    try:
        return frozenset(int(each.name) for each in _TASKS.iterdir())
    except OSError:
        return frozenset()


class _Waits(Enum):
    """What a thread waits for."""

    TURN = auto()
    NEWS = auto()
    ELSE = auto()
    ENDED = auto()


class ClientThreads:
    """The threads that a client of JACK's began, among them perhaps some that it did not."""

    def __init__(self, threads: Iterable[int], tasks: Path = _TASKS) -> None:
        self._unknown = {tasks / str(thread) for thread in threads}
        self._called: Path | None = None
        self._told: Path | None = None

    def turns(self) -> int | None:
        """How often the client has had its turn so far, roughly; None where that is not known, or not yet."""
        self._tell_apart()
        count = None if self._called is None else sleeps(self._called)
        return None if count == ENDED else count

    def shut_out(self) -> bool:
        """Whether JACK wants nothing more of the client: a thread of its own has ended."""
        self._tell_apart()
        known = [each for each in (self._called, self._told) if each is not None]
        if known:
            return any(sleeps(each) == ENDED for each in known)
        return not self._unknown

    def _tell_apart(self) -> None:
        if self._called is not None and self._told is not None:
            return
        for each in sorted(self._unknown):
            waits = _waits_for(each)
            if waits is _Waits.TURN:
                self._called = each
            elif waits is _Waits.NEWS:
                self._told = each
            if waits is not _Waits.ELSE:
                self._unknown.discard(each)


def sleeps(task: Path) -> int | None:
    """How often a thread has slept, or was made to, so far; ENDED when it has ended, None where the system
    does not show it. `task` is its folder."""
    try:
        status = (task / "status").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ENDED
    except OSError:
        return None
    slept = status.partition(_SLEEPS)[2].split()
    if slept:
        return int(slept[0]) + int(slept[2])
    return None if status else ENDED


def _waits_for(task: Path) -> _Waits:
    try:
        told = (task / "syscall").read_text().split()
    except FileNotFoundError:
        return _Waits.ELSE if task.is_dir() else _Waits.ENDED
    except ProcessLookupError:
        return _Waits.ENDED
    except OSError:
        return _Waits.ELSE
    if not told:
        return _Waits.ENDED
    call, *words = told
    if call == _FUTEX and int(words[1], 16) & _OPERATION == _WAIT:
        return _Waits.TURN
    return _Waits.NEWS if call == _READ else _Waits.ELSE


class Turns(Generic[_Client]):
    """Judges clients by how many turns each has had, asked again and again. `same` is equal for a client and
    for the one that was opened in its place."""

    def __init__(self, same: Callable[[_Client], Hashable] = lambda client: client) -> None:
        self._same = same
        self._before: dict[_Client, int] = {}
        self._missing: dict[_Client, float] = {}  # since when
        self._since: float | None = None
        self._bears: dict[Hashable, float] = {}  # how long it may be missing, where that is longer
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
        for each in had.keys() - self._missing.keys():
            self._bears.pop(self._same(each), None)
        self._begin(counts, time)
        return frozenset(each for each in self._missing if self._is_over(each, time))

    def _is_over(self, client: _Client, time: float) -> bool:
        """Whether it was missing for too long. Then it bears that for longer the next time."""
        same = self._same(client)
        bears = self._bears.get(same, MISSING_SECONDS)
        if time - self._missing[client] < bears:
            return False
        self._bears[same] = min(2 * bears, LONGEST_MISSING)
        return True

    def _begin(self, counts: Mapping[_Client, int], time: float) -> None:
        self._before, self._since = dict(counts), time
