"""A daemon for a long time, with and without its page open: memory, handles, and reaction.

    python benchmarks/soak_daemon.py --minutes 30 [--json]

Needs jackd, and chromium with chromium-driver for the page. A player of its own process plays phrases
without end. Half of the time the page is open in a browser, in turns of `--turn` minutes, so that
both halves meet the same machine. Judged:

- memory (the daemon and its port keeper) grows less than 2 % after the first five minutes (or the first sixth
  of a shorter run);
- reaction, from a key of the player's to the partner's letting go as a synthesizer hears it, has the same p99
  with the page open: the difference is below 2 ms, or no larger than chance makes it (its bootstrapped 95 %
  interval holds zero); with fewer than 100 reactions in either half it is not shown, and fails;
- no note hangs, and no handle leaks.

Exit status 1 when one fails.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from fakes.ending import unwind_when_told_to_end
from fakes.jack import start_jack, stop_jack

from plugin_bridge.daemon.client import Client
from plugin_bridge.daemon.figures import memory_bytes
from plugin_bridge.daemon.folders import HOME_VARIABLE, user_folders
from plugin_bridge.ports.held import Held

SAMPLE_SECONDS = 5.0
MOST_GROWTH_PERCENT = 2.0
SAME_MS = 2.0
FEWEST_REACTIONS = 100
"""In each half: the 99th percentile of fewer is their slowest one, and says nothing."""


PHRASES = ((60, 62, 64, 67, 64), (57, 60, 64, 62, 60), (53, 57, 60, 65, 64), (55, 59, 62, 67, 65, 62))
NOTE = 0.25
"""Seconds from note to note of a phrase."""
LISTENS, PATIENCE = 0.7, 4.0
"""Seconds of the answer that the player listens to before coming back, and of waiting for one."""


class Player:
    """Plays phrases, comes back into each answer, and measures how soon the partner lets go of its notes
    then. One thread."""

    def __init__(self) -> None:
        import rtmidi

        self._keys: Any = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="Soak Keys")
        self._keys.open_virtual_port("Soak Keys")
        self._synth: Any = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name="Soak Synth", queue_size_limit=65536)
        self._synth.open_virtual_port("Soak Synth")
        self.held, self.notes = Held(), 0
        self.reactions: list[tuple[float, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def close(self) -> None:
        """Stop, and let what sounds end."""
        self._done.set()
        self._thread.join()
        time.sleep(1.0)
        self._hear()
        for port in (self._keys, self._synth):
            port.close_port()
            time.sleep(0.05)
            port.delete()

    def _play(self) -> None:
        for phrase in itertools.cycle(PHRASES):
            for pitch in phrase:
                sounds = len(self.held) > 0
                self._keys.send_message([0x90, pitch, 80])
                if sounds:
                    self._await_release(time.perf_counter())
                self._listen(0.9 * NOTE)
                self._keys.send_message([0x80, pitch, 0])
                self._listen(0.1 * NOTE)
            waited = time.perf_counter()
            while not self.held and time.perf_counter() < waited + PATIENCE and not self._done.is_set():
                self._listen(0.01)
            self._listen(LISTENS)
            if self._done.is_set():
                return

    def _listen(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while (wait := until - time.perf_counter()) > 0 and not self._done.is_set():
            self._hear()
            time.sleep(min(wait, 0.001))

    def _await_release(self, struck: float) -> None:
        while time.perf_counter() < struck + 0.25:
            if self._hear() and not self.held:
                self.reactions.append((struck, time.perf_counter() - struck))
                return
            time.sleep(0.0002)

    def _hear(self) -> bool:
        heard = False
        while (got := self._synth.get_message()) is not None:
            message = bytes(got[0])
            self.held.follow(message)
            self.notes += message[0] & 0xF0 == 0x90 and message[2] > 0
            heard = True
        return heard


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A chromium without a screen."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1180,1000"):
        options.add_argument(word)
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def main() -> int:
    options = _arguments()
    unwind_when_told_to_end()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        name = f"pbsoakd{os.getpid()}"
        os.environ.update({"JACK_DEFAULT_SERVER": name, "JACK_NO_START_SERVER": "1", HOME_VARIABLE: folder})
        (home / "config.toml").write_text("[api]\nport = 0\n")
        (home / "connections.toml").write_text('listen = ["Soak Keys"]\nplay = ["Soak Synth"]\n')
        server = start_jack(name, home / "jackd.log")
        try:
            report = soak(options.minutes * 60, options.turn * 60)
        finally:
            stop_jack(server)
    print(json.dumps(report) if options.json else "\n".join(f"{key}: {report[key]}" for key in report))
    return 0 if all(report["judged"].values()) else 1


def soak(seconds: float, turn: float) -> dict[str, Any]:
    """All of it."""
    samples: list[tuple[float, int, int]] = []
    open_times: list[tuple[float, float]] = []
    with contextlib.ExitStack() as stack:
        player = Player()
        stack.callback(player.close)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "plugin_bridge.cli", "daemon"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(daemon.kill)
        assert daemon.stdout is not None
        daemon.stdout.readline()
        client = Client(user_folders())
        began = time.perf_counter()
        driver = stack.enter_context(browser())
        is_open = False
        while (passed := time.perf_counter() - began) < seconds:
            wanted = int(passed / turn) % 2 == 1
            if wanted != is_open:
                driver.get(client.page() if wanted else "about:blank")
                if wanted:
                    open_times.append((time.perf_counter() + 2.0, float("inf")))
                else:
                    open_times[-1] = (open_times[-1][0], time.perf_counter() - 2.0)
                is_open = wanted
            time.sleep(SAMPLE_SECONDS)
            samples.append((passed, *occupied(daemon.pid)))
        figures = client.get("/api/metrics")["report"]
        daemon.terminate()  # ends what it plays; a note that still sounds after that hangs
        daemon.wait(20)
    settled = min(300.0, seconds / 6)
    late = [(memory, handles) for passed, memory, handles in samples if passed >= settled]
    share = max(len(late) // 6, 1)
    first, last = (np.median(part, axis=0) for part in (late[:share], late[-share:]))
    growth = 100 * (last[0] / first[0] - 1)
    with_page = [took for at, took in player.reactions if any(a <= at <= b for a, b in open_times)]
    without = [took for at, took in player.reactions if not any(a - 4 <= at <= b + 4 for a, b in open_times)]
    difference, low, high = compare_p99(with_page, without)
    judged = {
        "memory_flat": bool(growth < MOST_GROWTH_PERCENT),
        "p99_unchanged_by_the_page": min(len(with_page), len(without)) >= FEWEST_REACTIONS
        and bool(difference < SAME_MS or low <= 0.0 <= high),
        "no_hung_notes": len(player.held) == 0,
        "no_leaked_handles": bool(last[1] <= first[1] + 2),  # a request may be open just then
    }
    return {
        "judged": judged, "minutes": round(seconds / 60, 1), "partner_notes": player.notes,
        "hung_notes": len(player.held), "memory_after_minutes": round(settled / 60, 2),
        "memory_mb": [round(float(each[0]) / 1e6, 1) for each in (first, last)],
        "growth_percent": round(float(growth), 2), "handles": [int(first[1]), int(last[1])],
        "release_ms_without_page": _spread(without), "release_ms_with_page": _spread(with_page),
        "p99_difference_ms": {"found": difference, "interval": [low, high]},
        "reaction_ms": figures["reaction_ms"], "lateness_ms": figures["lateness_ms"],
    }  # fmt: skip


def occupied(daemon: int) -> tuple[int, int]:
    """Memory in bytes and open handles of the daemon and its keeper together."""
    processes = [daemon]
    for path in Path(f"/proc/{daemon}/task").glob("*/children"):
        processes += [int(each) for each in path.read_text().split()]
    memory = handles = 0
    for each in processes:
        with contextlib.suppress(OSError):  # a child that has just ended
            memory += memory_bytes(each) or 0
            handles += sum(1 for _ in Path(f"/proc/{each}/fd").iterdir())
    return memory, handles


def compare_p99(with_page: list[float], without: list[float]) -> tuple[float, float, float]:
    """By how many milliseconds the first one's p99 is the larger, and the bootstrapped 95 % interval."""
    random = np.random.default_rng(6)

    def p99s(seconds: list[float]) -> tuple[float, np.ndarray]:
        found = np.array(seconds or [0.0]) * 1e3
        draws = random.choice(found, (1000, len(found)))
        return float(np.percentile(found, 99)), np.percentile(draws, 99, axis=1)

    (found, draws), (other, others) = p99s(with_page), p99s(without)
    low, high = np.percentile(draws - others, (2.5, 97.5))
    return round(found - other, 2), round(float(low), 2), round(float(high), 2)


def _spread(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"n": 0}
    p50, p99 = (round(float(each) * 1e3, 1) for each in np.percentile(seconds, (50, 99)))
    return {"p50": p50, "p99": p99, "n": len(seconds)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="run the daemon for long, with and without its page")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--turn", type=float, default=1.0, help="minutes between opening and closing the page"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
