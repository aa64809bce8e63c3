"""A long duet with everything changing: an hour in simulated time, or minutes through real ports.

    python tools/soak_duet.py simulated PIECES --seconds 3600
    python tools/soak_duet.py live PIECES --seconds 600      # needs a MIDI system, such as jackd -d dummy

PIECES is a folder of MIDI files; they are played one after another as the player. Meanwhile modes,
controls and styles change, and a host's clock starts, stops, changes its tempo and jumps. The judge is the
recorded output: every note-on has its off, in order. Prints a JSON report.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from plugin_bridge import memory as memory_of_process
from plugin_bridge.duet.conductor import Item, Message
from plugin_bridge.duet.offline import START, Offline, simulate
from plugin_bridge.duet.session import SWEEP_SECONDS
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.engine.adapters import choose_style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.ports.messages import message_from_event
from plugin_bridge.ports.midi_ports import transport_report

HOST = Path(__file__).parents[1] / "tests" / "fakes" / "midi_host.py"
Row = tuple[float, bytes]
CONTROLS = (20, 21, 22, 23, 24, 25, 26, 29, 30, 31, 102, 103, 104)


def script(pieces: list[Path], seconds: float, seed: int, styles: int) -> list[Row]:
    """What comes in: music, a host's clock, and hands on every control."""
    chance = random.Random(seed)  # noqa: S311 - hands, not secrets
    rows = [*music(pieces, seconds, chance), *clock(seconds, chance)]
    at = 5.0
    while at < seconds:
        kind = chance.random()
        if kind < 0.25:
            rows.append((at, bytes((0xB0, 27, chance.randrange(128)))))  # the mode
        elif kind < 0.4 and styles > 1:
            rows.append((at, bytes((0xC0, chance.randrange(styles)))))
        elif kind < 0.45:
            rows.append((at, bytes((0xB0, 105, 127))))
            rows.append((at + 3.0, bytes((0xB0, 105, 0))))  # mute, and no longer
        elif kind < 0.48:
            rows.append((at, bytes((0xB0, 106, 127))))  # panic
        else:
            rows.append((at, bytes((0xB0, chance.choice(CONTROLS), chance.randrange(128)))))
        at += chance.expovariate(1 / 6)
    return sorted((row for row in rows if row[0] < seconds), key=lambda row: row[0])


def music(pieces: list[Path], seconds: float, chance: random.Random) -> list[Row]:
    """One piece after another, a rest between them."""
    rows: list[Row] = []
    start = 1.0
    while start < seconds:
        try:
            clip = read_midi(chance.choice(pieces)).clip()
        except BridgeError:
            continue
        events = clip.events()
        if not events:
            continue
        first = events[0].time
        length = min(clip.duration - first, 120.0)
        rows += [
            (start + event.time - first, message_from_event(event))
            for event in events
            if event.time - first < length
        ]
        rows.append((start + length, bytes((0xB0, 123, 0))))
        start += length + chance.choice((0.5, 3.0, 6.0))
    return rows


def clock(seconds: float, chance: random.Random) -> list[Row]:
    """A host that plays, stops, changes its tempo, loops and jumps, and is away for a while."""
    rows: list[Row] = []
    at, tempo, playing = 2.0, 100.0, False
    while at < seconds:
        what = chance.random()
        if not playing:
            rows.append((at, bytes((chance.choice((0xFA, 0xFB)),))))
            playing = True
        elif what < 0.3:
            tempo = chance.uniform(50, 190)
        elif what < 0.6:
            place = chance.randrange(0, 4000)
            rows.append((at, bytes((0xF2, place & 0x7F, place >> 7))))
        elif what < 0.8:
            rows.append((at, b"\xfc"))
            playing = False
        else:
            at += chance.uniform(1, 20)  # gone, without a word
        end = at + chance.uniform(5, 40)
        while at < end:
            rows.append((at, b"\xf8"))
            at += 60 / tempo / 24
    return rows


class Judge:
    """Follows what was sent: `notes` were struck, `hanging` keys are down. Stops at one struck twice."""

    def __init__(self) -> None:
        self.notes = 0
        self._held: set[int] = set()

    def __call__(self, message: bytes) -> None:
        kind = message[0] & 0xF0
        if kind == 0x90 and message[2]:
            if message[1] in self._held:
                raise SystemExit(f"key {message[1]} was struck twice")
            self._held.add(message[1])
            self.notes += 1
        elif kind in (0x80, 0x90):
            self._held.discard(message[1])

    @property
    def hanging(self) -> list[int]:
        return sorted(self._held)


def resident() -> float:
    """Megabytes of this process."""
    return resident_of("self")


def resident_of(process: int | str) -> float:
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("memory is read from /proc, which this system has not")


def simulated(options: argparse.Namespace, pieces: list[Path]) -> dict[str, object]:
    styles = tuple(choose_style(name) for name in options.style)
    rows = script(pieces, options.seconds, options.seed, len(styles))
    items: Iterator[tuple[float, Item]] = ((at, Message(data, START + at)) for at, data in rows)
    judge = Judge()
    memory: list[tuple[float, float]] = []
    steps: list[tuple[float, float]] = []

    sweep_at = SWEEP_SECONDS

    def progress(duet: Offline, seconds: float) -> None:
        nonlocal sweep_at
        if seconds >= sweep_at and not duet.partner.planned():
            sweep_at = seconds + SWEEP_SECONDS  # as a session does
            memory_of_process.sweep()
        if not memory or seconds - memory[-1][0] >= options.seconds / 12:
            memory.append((seconds, resident()))
            taken = list(duet.partner.stream.step_seconds)[-2000:]
            if taken:
                steps.append((seconds, median(taken) * 1e3))
            print(f"{seconds:.0f} s, {memory[-1][1]:.0f} MB", file=sys.stderr, flush=True)

    engine = Engine(styles[0])
    memory_of_process.settle()  # as a session does when it begins
    began = time.perf_counter()
    settings = SessionSettings(seed=options.seed, styles=styles, kept=600.0)
    duet = simulate(
        engine,
        settings,
        items,
        options.seconds,
        decision=options.decision,
        send=judge,
        progress=progress,
    )
    return {
        "seconds": options.seconds, "took": round(time.perf_counter() - began, 1), "messages_in": len(rows),
        "player_notes": duet.recording.player_notes, "partner_notes": judge.notes, "hanging": judge.hanging,
        "answers": duet.partner.counts.answers, "yields": duet.partner.counts.yields,
        "style_changes": duet.partner.counts.style_changes, "dropped_late": duet.scheduler.dropped,
        "tokens": duet.partner.stream.tokens_generated + duet.partner.stream.tokens_heard,
        "memory_mb": [(round(at), round(size, 1)) for at, size in memory],
        "step_ms": [(round(at), round(each, 3)) for at, each in steps],
        "tape_mb": round(duet.tape.occupied / 2**20, 2),
    }  # fmt: skip


def live(options: argparse.Namespace, pieces: list[Path]) -> dict[str, object]:
    rows = script(pieces, options.seconds, options.seed, len(options.style))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        played, recorded, report = folder / "play.json", folder / "record.json", folder / "report.json"
        played.write_text(json.dumps([(at, list(data)) for at, data in rows]))
        jam = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "plugin_bridge.cli", "jam", "--report", str(report), "--takes", name]
            + [part for each in options.style for part in ("--style", each)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert jam.stdout is not None
        jam.stdout.readline()
        host = subprocess.Popen([  # noqa: S603 - our own program
            sys.executable, str(HOST), str(played), str(recorded), "--out-port", "Plugin Bridge In",
            "--in-port", "Plugin Bridge Out", "--tail", "5", "--api", transport_report().transport,
        ])  # fmt: skip
        memory: list[tuple[float, float]] = []
        began = time.perf_counter()
        while host.poll() is None:
            memory.append((round(time.perf_counter() - began), round(resident_of(jam.pid), 1)))
            try:
                host.wait(options.seconds / 12)
            except subprocess.TimeoutExpired:
                continue
        jam.terminate()
        said, _ = jam.communicate(timeout=30)
        rows_out = json.loads(recorded.read_text())["recorded"]
        judge = Judge()
        for _, message in rows_out:
            judge(bytes(message))
        return {
            "host_exit": host.returncode, "jam_exit": jam.returncode, "recorded_notes": judge.notes,
            "hanging": judge.hanging, "memory_mb": memory, "said": said.splitlines(),
            "report": json.loads(report.read_text()),
        }  # fmt: skip


_Raw = argparse.RawDescriptionHelpFormatter


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("how", choices=["simulated", "live"])
    parser.add_argument("pieces", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decision", type=float, default=0.0012, help="simulated seconds a decision takes")
    parser.add_argument("--style", action="append", help="may be repeated; default: base")
    options = parser.parse_args()
    options.style = options.style or ["base"]
    pieces = sorted(path for path in options.pieces.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    if not pieces:
        parser.error(f"no MIDI files in {options.pieces}")
    report = (simulated if options.how == "simulated" else live)(options, pieces)
    print(json.dumps(report, indent=1))
    return 0 if not report["hanging"] else 1


if __name__ == "__main__":
    sys.exit(main())
