"""Ports that are lost and come back, in random order: a keyboard, a synthesizer, and the JACK server itself.

    python benchmarks/port_rounds.py --rounds 200 [--json] [--waits] [--busy N]

Starts a JACK server of its own without hardware (jackd must be installed). The daemon's ports, in a keeper's
process as the daemon has them, play all the while. The keyboard and the synthesizer are clients in processes
of their own, which end in the middle of notes, and are back after 0.05 to 1 s. A round is over when all is
said to be connected and a note has passed end to end: from the keyboard to the partner, who answers it, and
on to the synthesizer. Judged is what the synthesizer got and what the partner heard: a note left sounding is
a hung note. Leaks are counted in this process, and in each keeper from its first round to its last.

Judged are our ports, and not jackd or the devices: what of those stands still when no note passes is begun
anew (see `jack_stage`), the clock with it; how often and why is told. A call of libjack's returns when jackd
has answered it, which takes seconds on a machine with more to do than it can. So a round is told apart in
`jack_stalled`, with how long it took and how much of that our ports spent in such calls, when it was later
than 2 s and would not have been without them; `devices_began_s` says what the same calls cost the devices,
which are plain clients of RtMidi's in processes of their own. Exit status 1 when anything else failed.

`--waits`: a server that waits for its clients in each cycle (`jackd -S`). `--busy`: so many processes that
want a core each, all the while.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.busy import busy
from fakes.ending import unwind_when_told_to_end
from fakes.waiting import wait_for
from jack_stage import ECHOES, Stage, handles_of, threads_of

from plugin_bridge.ports.connections import Connections
from plugin_bridge.ports.held import Held
from plugin_bridge.ports.kept_patchbay import KeptPatchbay

SOON = 2.0
"""How long a return may take."""
SUSPECT_SECONDS = 3.0
"""After so long without a note it is looked at who stands still."""
PATIENCE = 20.0
SETTLE_SECONDS = 0.1


class Partner:
    """Ports as the daemon has them, and who plays there: notes of its own, and an answer to each it hears."""

    def __init__(self) -> None:
        self.heard = Held()
        self.ports = KeptPatchbay(
            "Rounds In", "Rounds Out", Connections(("Rounds Keys",), ("Rounds Synth",)), "jack"
        )
        self.ports.listen(self._answer)
        self._done = threading.Event()
        self._player = threading.Thread(target=self._play, daemon=True)

    def whole(self) -> bool:
        """Whether all four are said to be connected."""
        return sum(port.connected for port in self.ports.view().ports) == 4

    def start(self) -> None:
        """Begin to play."""
        self._player.start()

    def finish(self) -> None:
        """Play nothing more."""
        self._done.set()
        self._player.join()

    def _answer(self, message: bytes, _: float) -> None:
        self.heard.follow(message)
        if message[0] in (0x80, 0x90):
            self.ports.send(bytes((message[0], message[1] + ECHOES, 64)))

    def _play(self) -> None:
        pitch = 0
        while not self._done.is_set():
            pitch = (pitch + 1) % ECHOES
            self.ports.send(bytes((0x90, pitch, 64)))
            self._done.wait(0.02)
            self.ports.send(bytes((0x80, pitch, 64)))


class InJack(logging.Handler):
    """How long our ports have spent in calls of libjack's that took long, as their log says."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[float, float]] = []  # when, and how long
        logging.getLogger("plugin_bridge.ports").setLevel(logging.INFO)
        logging.getLogger("plugin_bridge.ports.rtmidi_system").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the log."""
        took = re.match(r"the MIDI system took ([0-9.]+) s", record.getMessage())
        if took is not None:
            self.rows.append((time.monotonic(), float(took[1])))

    def since(self, began: float) -> float:
        """Seconds in such calls since then."""
        return sum(min(seconds, when - began) for when, seconds in self.rows if when > began)


class Leaks:
    """How many threads and handles each process had when it was first looked at, and the last time."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[int, int]] = {}
        self._last: dict[int, tuple[int, int]] = {}

    def look(self, *processes: int | None) -> None:
        """Count now."""
        for each in processes:
            if each is not None:
                self._last[each] = len(threads_of(each)), handles_of(each)
                self._first.setdefault(each, self._last[each])

    def more(self, which: int) -> int:
        """How many there are more, of threads (0) or handles (1)."""
        return sum(max(self._last[each][which] - self._first[each][which], 0) for each in self._first)


def main() -> int:
    options = _arguments()
    unwind_when_told_to_end()
    with tempfile.TemporaryDirectory() as folder, busy(options.busy):
        name = f"pbrounds{os.getpid()}"
        os.environ.update(JACK_DEFAULT_SERVER=name, JACK_NO_START_SERVER="1")
        stage = Stage(name, Path(folder) / "jackd.log", waits=options.waits)
        stage.start_server()
        try:
            report = play(options.rounds, random.Random(options.seed), stage)  # noqa: S311
        finally:
            stage.close()
    failures = judge(report)
    report["judgement"] = "; ".join(failures) or "good"
    print(json.dumps(report) if options.json else "\n".join(f"{key}: {report[key]}" for key in report))
    return 1 if failures else 0


def judge(report: dict[str, Any]) -> list[str]:
    """What was not as it must be, in words."""
    must = {
        f"{report['rounds'] - report['reconnected']} rounds without a return": (
            report["rounds"] == report["reconnected"]
        ),
        f"{report['later_than_2_s']} returns took longer than {SOON:.0f} s": not report["later_than_2_s"],
        f"{report['hung_notes']} hung notes": not report["hung_notes"],
        f"{report['leaked_threads']} threads leaked": not report["leaked_threads"],
        f"{report['leaked_handles']} handles leaked": not report["leaked_handles"],
    }
    return [what for what, good in must.items() if not good]


def play(rounds: int, chance: random.Random, stage: Stage) -> dict[str, Any]:
    """All the rounds."""
    for each in ("keys", "synth"):
        stage.add(each)
    partner, leaks, in_jack = Partner(), Leaks(), InJack()
    times: list[float] = []
    stalled: list[dict[str, float | str]] = []
    counts: Counter[str] = Counter()
    keepers = set()
    with partner.ports:
        partner.start()
        assert _return(partner, stage) is not None, partner.ports.view()
        for number in range(rounds):
            time.sleep(SETTLE_SECONDS)
            leaks.look(os.getpid(), partner.ports.process)
            what = chance.choice(("keys", "synth", "both", "server"))
            counts[what] += 1
            _lose(what, chance, stage)
            took = _return(partner, stage)
            if took is None:
                print(f"round {number} ({what}): {partner.ports.view()}", file=sys.stderr)
                break
            if took > SOON:
                jacks = in_jack.since(time.monotonic() - took)
                print(f"round {number} ({what}): {took:.2f} s, {jacks:.2f} in libjack", file=sys.stderr)
                if took - jacks <= SOON:
                    stalled.append({"what": what, "took": round(took, 2), "in_jack": round(jacks, 2)})
            times.append(took)
            keepers.add(partner.ports.process)
        time.sleep(SETTLE_SECONDS)
        leaks.look(os.getpid(), partner.ports.process)
        partner.finish()
        stage.remove("keys")
        wait_for(lambda: not partner.heard and not stage.synth_held, SUSPECT_SECONDS)
        hung = {"partner": len(partner.heard), "synth": len(stage.synth_held)}
    ordered = sorted(times)
    return {
        "rounds": rounds, "reconnected": len(times), "of_each": dict(counts),
        "median_s": round(ordered[len(ordered) // 2], 3) if times else None,
        "slowest_s": round(ordered[-1], 3) if times else None,
        "later_than_2_s": sum(took > SOON for took in times) - len(stalled), "jack_stalled": stalled,
        "devices_began_s": {
            "median": round(sorted(stage.began)[len(stage.began) // 2], 2), "slowest": max(stage.began),
        },
        "hung_notes": sum(hung.values()), "hung_at": hung,
        "leaked_threads": leaks.more(0), "leaked_handles": leaks.more(1),
        "keepers": len(keepers), "begun_anew": dict(stage.begun_anew), "load": os.getloadavg()[0],
    }  # fmt: skip


def _lose(what: str, chance: random.Random, stage: Stage) -> None:
    """Lose something in the middle of notes, and have it back after a while."""
    lost = ("keys", "synth") if what in ("both", "server") else (what,)
    if what == "server":
        stage.stop_server()
    for each in lost:
        stage.remove(each)
    time.sleep(chance.uniform(0.05, 1.0))
    if what == "server":
        stage.start_server()
    for each in chance.sample(lost, len(lost)):
        stage.add(each)


def _return(partner: Partner, stage: Stage) -> float | None:
    """Seconds until a note passed end to end again, from when the last that was lost, or stood still, was
    back; None when it never did."""
    began = back = time.monotonic()

    def plays() -> bool:
        return partner.whole() and stage.devices["synth"].echoed_at > back

    while not wait_for(plays, SUSPECT_SECONDS):
        if time.monotonic() - began > PATIENCE:
            return None
        if stage.mend() is not None:
            began = back = time.monotonic()
    return stage.devices["synth"].echoed_at - began


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="lose ports and get them back, many times")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--waits", action="store_true", help="a server that waits for its clients (jackd -S)")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="processes that want a core each")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
