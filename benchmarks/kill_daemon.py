"""How soon the duet goes on after a kill -9 of the daemon in the middle of a note.

    python benchmarks/kill_daemon.py --times 10 [--json] [--busy N] [--realtime] [--synchronous]

Starts a JACK server of its own without hardware (jackd must be installed), a keyboard that plays without end,
a synthesizer, and the daemon under a supervisor that follows the systemd unit's rules. Told are seconds from
the kill, the median and the slowest of each:

- `silent`: nothing sounds any more at the synthesizer;
- `started`: the supervisor has started the daemon again;
- `ports`: the new daemon has ports, those of the old one's keeper or others; this and the next from its log;
- `duet`: its duet has begun: what follows is the partner's own pause, until a key is heard and answered;
- `note`: the partner's next note, at the synthesizer;
- `ready`: it says that it is ready, with its page.

JACK itself stands still on a machine with more to do than it can. So it is counted how often the keyboard and
the synthesizer, which are not the daemon's, were called: when one of them was not for longer than half a
second between the kill and the note, that kill is listed in `jack_stalled`, with how long, and the judgement
leaves it out. Exit status 1 when a note of the others comes later than 3 s, or one hangs.

`--busy`: so many processes that want a core each, all the while. `--realtime`: jackd and its clients are
real-time threads, as musicians have them; without that (where the system does not allow it) they are not.
`--synchronous`: jackd waits for its clients in each cycle.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.busy import busy
from fakes.ending import unwind_when_told_to_end
from fakes.jack import start_jack, stop_jack
from fakes.stage import Stage
from fakes.supervisor import FakeSupervisor

from plugin_bridge.daemon.folders import HOME_VARIABLE
from plugin_bridge.daemon.services.systemd import UserUnit

TARGET_SECONDS = 3.0
STALLED_SECONDS = 0.5
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Kill:
    """Seconds from a kill until each had come; `stalled`: for how long JACK did not call a client of the
    stage's."""

    silent: float
    started: float
    ports: float
    duet: float
    note: float
    ready: float
    stalled: float


def main() -> int:
    options = _arguments()
    unwind_when_told_to_end()
    with tempfile.TemporaryDirectory() as folder, busy(options.busy):
        name = f"pbkill{os.getpid()}"
        os.environ.update(JACK_DEFAULT_SERVER=name, JACK_NO_START_SERVER="1")
        log = Path(folder) / "jackd.log"
        server = start_jack(name, log, waits=options.synchronous, realtime=options.realtime)
        try:
            kills, hung = kill_often(options.times, Path(folder))
        finally:
            stop_jack(server)
    report = summary(kills, hung)
    print(json.dumps(report) if options.json else "\n".join(f"{key}: {report[key]}" for key in report))
    return 0 if report["later_than_3_s"] == report["hung_notes"] == 0 else 1


def summary(kills: list[Kill], hung: int) -> dict[str, Any]:
    """The report."""
    stalled = [each for each in kills if each.stalled > STALLED_SECONDS]
    judged = [each for each in kills if each not in stalled]
    columns = {key: sorted(asdict(each)[key] for each in kills) for key in asdict(kills[0])}
    return {
        "kills": len(kills),
        "median_s": {key: round(values[len(values) // 2], 2) for key, values in columns.items()},
        "slowest_s": {key: round(values[-1], 2) for key, values in columns.items()},
        "later_than_3_s": sum(each.note > TARGET_SECONDS for each in judged),
        "jack_stalled": [{key: _rounded(each)[key] for key in ("note", "stalled")} for each in stalled],
        "hung_notes": hung,
        "load": os.getloadavg()[0],
    }


def kill_often(times: int, folder: Path) -> tuple[list[Kill], int]:
    """All the kills, and how many notes hang at the end."""
    home = folder / "home"
    home.mkdir()
    (home / "config.toml").write_text('[api]\nport = 0\n[controls]\nmode = "continuous"\n')
    (home / "connections.toml").write_text('listen = ["Stage Keys"]\nplay = ["Stage Synth"]\n')
    kills: list[Kill] = []
    unit = UserUnit(folder=folder).definition()
    stage = Stage()
    try:
        with FakeSupervisor(unit, folder, {**os.environ, HOME_VARIABLE: str(home)}) as supervisor:
            while len(kills) < times:
                kills.append(_kill(len(kills) + 1, stage, supervisor, home / "state" / "daemon.log"))
                print(f"kill {len(kills)}: {_rounded(kills[-1])}", file=sys.stderr, flush=True)
        time.sleep(0.5)
        return kills, stage.sounding()
    finally:
        stage.close()


def _kill(number: int, stage: Stage, supervisor: FakeSupervisor, log: Path) -> Kill:
    """One kill, in the middle of a note."""
    before = time.monotonic()
    _wait(lambda: len(stage.notes_since(before)) >= 8)
    time.sleep(random.uniform(0.0, 1.0))  # noqa: S311
    _wait(lambda: stage.sounding() > 0)
    assert supervisor.process is not None
    since, on_the_wall = time.monotonic(), time.time()
    supervisor.process.send_signal(signal.SIGKILL)
    _wait(lambda: stage.silent_after(since) is not None)
    supervisor.wait_ready(number + 1)
    began = supervisor.started[number]
    _wait(lambda: stage.notes_since(began))
    note = stage.notes_since(began)[0]
    said = _log_since(log, on_the_wall)
    silent = stage.silent_after(since)
    assert silent is not None
    return Kill(
        silent=silent - since,
        started=began - since,
        note=note - since,
        ready=supervisor.ready[number] - since,
        stalled=stage.stood_still(since, note),
        ports=_first(said, ("are taken over", "is connected")),
        duet=_first(said, ("the duet begins",)),
    )


def _log_since(path: Path, since: float) -> list[tuple[float, str]]:
    """The lines of the daemon's log after a moment of the wall clock: seconds from then, and the message."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    times = [datetime.fromisoformat(row["time"]).timestamp() - since for row in rows]
    return [(when, row["message"]) for when, row in zip(times, rows, strict=True) if when > 0]


def _first(said: list[tuple[float, str]], texts: tuple[str, ...]) -> float:
    """When one of these was said first."""
    for when, message in said:
        if any(text in message for text in texts):
            return when
    raise LookupError(f"the daemon's log has none of {texts} after the kill")


def _rounded(kill: Kill) -> dict[str, float]:
    return {key: round(value, 2) for key, value in asdict(kill).items()}


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the partner does not play on")
        time.sleep(0.005)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="kill the daemon in the middle of notes")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="processes that want a core each")
    parser.add_argument("--realtime", action="store_true", help="jackd with real-time threads")
    parser.add_argument("--synchronous", action="store_true", help="jackd waits for its clients (-S)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
