"""How soon the duet goes on after a kill -9 of the daemon in the middle of a note.

    python benchmarks/kill_daemon.py --times 10 [--json]

Starts a JACK server of its own without hardware (jackd must be installed), a keyboard that plays without end,
a synthesizer, and the daemon under a supervisor that follows the systemd unit's rules. Told are seconds from
the kill: until nothing sounds any more, until the daemon is started again, until it says that it is ready,
and until the partner's next note. Exit status 1 when a note comes later than 3 s, or one hangs.
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.jack import start_jack, stop_jack
from fakes.stage import Stage
from fakes.supervisor import FakeSupervisor

from plugin_bridge.daemon.folders import HOME_VARIABLE
from plugin_bridge.daemon.services.systemd import UserUnit

TARGET_SECONDS = 3.0
PATIENCE = 30.0


def main() -> int:
    options = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        name = f"pbkill{os.getpid()}"
        os.environ.update(JACK_DEFAULT_SERVER=name, JACK_NO_START_SERVER="1")
        server = start_jack(name, Path(folder) / "jackd.log", waits=options.synchronous)
        try:
            report = kill_often(options.times, Path(folder))
        finally:
            stop_jack(server)
    print(json.dumps(report) if options.json else "\n".join(f"{key}: {report[key]}" for key in report))
    return 0 if report["slowest_s"] <= TARGET_SECONDS and report["hung_notes"] == 0 else 1


def kill_often(times: int, folder: Path) -> dict[str, Any]:
    """All the kills."""
    home = folder / "home"
    home.mkdir()
    (home / "config.toml").write_text('[api]\nport = 0\n[controls]\nmode = "continuous"\n')
    (home / "connections.toml").write_text('listen = ["Stage Keys"]\nplay = ["Stage Synth"]\n')
    stage = Stage()
    rows: list[dict[str, float]] = []
    unit = UserUnit(folder=folder).definition()
    with FakeSupervisor(unit, folder, {**os.environ, HOME_VARIABLE: str(home)}) as supervisor:
        since = 0.0
        for number in range(times):
            _wait(lambda since=since: len(stage.notes_since(since)) >= 8)
            time.sleep(random.uniform(0.0, 1.0))  # noqa: S311
            _wait(lambda: stage.sounding() > 0)
            assert supervisor.process is not None
            since = time.monotonic()
            supervisor.process.send_signal(signal.SIGKILL)
            row = {"silent": _wait(lambda: stage.sounding() == 0) - since}
            supervisor.wait_ready(number + 2)
            row["started"] = supervisor.started[number + 1] - since
            row["ready"] = supervisor.ready[number + 1] - since
            ready = supervisor.ready[number + 1]
            _wait(lambda ready=ready: stage.notes_since(ready))
            row["note"] = stage.notes_since(ready)[0] - since
            rows.append(row)
    time.sleep(0.5)
    hung = stage.sounding()
    stage.close()
    median = {key: round(sorted(row[key] for row in rows)[len(rows) // 2], 2) for key in rows[0]}
    slowest = round(max(row["note"] for row in rows), 2)
    return {"kills": len(rows), "median_s": median, "slowest_s": slowest, "hung_notes": hung}


def _wait(condition: Any) -> float:
    """The monotonic clock when `condition` held."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the partner does not play on")
        time.sleep(0.002)
    return time.monotonic()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="kill the daemon in the middle of notes")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--synchronous", action="store_true", help="jackd waits for its clients (-S)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
