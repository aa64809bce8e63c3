"""Answer mode on real phrases: when it answers, how often too early, and how fast it yields.

    jackd -r -S -d dummy -r 48000 -p 64 &
    python tools/score_phrases.py POP909_FOLDER --phrases 30 [--clock]
    python tools/score_phrases.py POP909_FOLDER --phrases 300 --simulated [--clock]    # needs no ports

Phrases are runs of a sung melody (the track MELODY of POP909) between rests of a beat at least, of 4 to 40
notes and 2 to 12 seconds, drawn from songs that no rule was made on (number 400 and up). Each is played in
real time through real ports; then the player rests, listens to the answer, and comes back into it with the
next phrase. With --clock the song's beat is sent as MIDI clock. The recorded output is the judge. With
--simulated the same is played in simulated time, where how fast the machine is does not matter.

A phrase has ended when its last note has been over for a beat; `from_end_beats` counts from there to the
first note of the answer, `from_release_beats` from the end of the last note. A false ending is an answer
that begins while the phrase goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugin_bridge.duet.conductor import Item, Message
from plugin_bridge.duet.offline import START, simulate
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.engine.adapters import choose_style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.ports.messages import message_from_event
from plugin_bridge.ports.midi_ports import transport_report

HOST = Path(__file__).parents[1] / "tests" / "fakes" / "midi_host.py"
LISTENS = 2.2
"""Seconds that the player listens before coming back."""
Note = tuple[float, float, int, int]
Row = tuple[float, list[int]]


@dataclass(frozen=True, slots=True)
class Phrase:
    """Notes (start, end, pitch, velocity) from 0 s on, and a beat in seconds, the first at `beat_at`."""

    notes: tuple[Note, ...]
    beat: float
    beat_at: float


def phrases_of(midi: Path) -> list[Phrase]:
    """The phrases of one song."""
    tracks = [track for track in read_midi(midi).tracks if "MELODY" in track.name.upper()]
    if not tracks:
        return []
    beats = [float(line.split()[0]) for line in midi.with_suffix(".beats.txt").read_text().splitlines()]
    notes = sorted((note.start, note.end, note.pitch, note.velocity) for note in tracks[0].notes)
    beat = float(np.median(np.diff(beats)))
    found: list[Phrase] = []
    begin = 0
    for index in range(len(notes)):
        last = index + 1 == len(notes)
        if not last and notes[index + 1][0] - notes[index][1] < beat:
            continue
        run = notes[begin : index + 1]
        begin = index + 1
        start, length = run[0][0], run[-1][1] - run[0][0]
        if 4 <= len(run) <= 40 and 2.0 <= length <= 12.0:
            first = min((each for each in beats if each >= start - 1e-3), default=start) - start
            found.append(Phrase(tuple((a - start, b - start, p, v) for a, b, p, v in run), beat, first))
    return found


def choose(folder: Path, count: int, seed: int) -> list[Phrase]:
    """Phrases, one a song."""
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    songs = [path for path in sorted(folder.rglob("pop909_*.mid")) if int(path.stem.split("_")[1]) >= 400]
    chance.shuffle(songs)
    chosen: list[Phrase] = []
    for song in songs:
        try:
            found = phrases_of(song)
        except (BridgeError, OSError):
            continue
        if found:
            chosen.append(chance.choice(found))
        if len(chosen) == count:
            return chosen
    raise SystemExit(f"only {len(chosen)} songs with phrases in {folder}")


def script(phrases: list[Phrase], clock: bool) -> list[Row]:
    """What is played. The clock runs on from phrase to phrase, and changes its tempo between them."""
    rows: list[Row] = [(1.0, [0xFA])] if clock else []
    beat_at = 1.001  # when the host's next beat is
    for phrase in phrases:
        start = beat_at + 4 * phrase.beat - phrase.beat_at  # a bar is counted in
        for begin, end, pitch, velocity in phrase.notes:
            rows.append((start + begin, [0x90, pitch, velocity]))
            rows.append((start + end, [0x80, pitch, 0]))
        back = start + max(note[1] for note in phrase.notes) + 2.5 * phrase.beat + LISTENS
        while beat_at < back - 4 * phrase.beat:
            if clock:
                rows += [(beat_at + step * phrase.beat / 24, [0xF8]) for step in range(24)]
            beat_at += phrase.beat
    return sorted(rows, key=lambda row: row[0])


def judge(phrases: list[Phrase], played: list[Row], recorded: list[Row]) -> dict[str, object]:
    """Compare what the partner played to the phrases as they were really sent."""
    strokes = [(time, message) for time, message in played if message[0] == 0x90]
    ons = [time for time, message in recorded if message[0] & 0xF0 == 0x90 and message[2]]
    from_end, from_release, yields, late, false = [], [], [], [], 0
    index = 0
    for number, phrase in enumerate(phrases):
        own = strokes[index : index + len(phrase.notes)]
        index += len(phrase.notes)
        shift = own[0][0] - phrase.notes[0][0]
        end = shift + max(note[1] for note in phrase.notes)
        until = strokes[index][0] if index < len(strokes) else end + LISTENS + 3.0
        false += any(own[0][0] + 0.25 < time < own[-1][0] for time in ons)
        answer = [time for time in ons if own[-1][0] < time < until]
        if answer:
            from_release.append((answer[0] - end) / phrase.beat)
            from_end.append(from_release[-1] - 1.0)
            if from_end[-1] > 0.5:
                late.append((number, round(from_end[-1], 2)))
        if number + 1 < len(phrases) and (held := _held(recorded, until)):
            offs = [time for time, message in recorded if _ends(message, held) and time >= until]
            yields.append(max(offs[: len(held)]) - until if len(offs) >= len(held) else float("inf"))
    held_at_end = _held(recorded, float("inf"))
    beats = np.array(from_end)
    return {
        "phrases": len(phrases), "answered": len(from_end), "false_endings": false,
        "false_share": round(false / (false + len(from_end)), 3) if from_end else None,
        "within_half_a_beat": round(float((beats <= 0.5).mean()), 3) if from_end else None,
        "late": late, "from_end_beats": _spread(from_end), "from_release_beats": _spread(from_release),
        "yield_ms": _spread([1e3 * each for each in yields]), "hanging": sorted(held_at_end),
    }  # fmt: skip


def _held(recorded: list[Row], time: float) -> set[int]:
    held: set[int] = set()
    for when, message in recorded:
        if when >= time:
            break
        kind = message[0] & 0xF0
        if kind == 0x90 and message[2]:
            held.add(message[1])
        elif kind in (0x80, 0x90):
            held.discard(message[1])
    return held


def _ends(message: list[int], held: set[int]) -> bool:
    kind = message[0] & 0xF0
    return (kind == 0x80 or (kind == 0x90 and not message[2])) and message[1] in held


def _spread(values: list[float]) -> dict[str, float | int]:
    if not values:
        return {"n": 0}
    p50, p95 = (float(each) for each in np.percentile(values, (50, 95)))
    return {"p50": round(p50, 3), "p95": round(p95, 3), "max": round(max(values), 3), "n": len(values)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--phrases", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--style", default="base")
    parser.add_argument("--clock", action="store_true")
    parser.add_argument("--simulated", action="store_true")
    options = parser.parse_args()
    phrases = choose(options.folder, options.phrases, options.seed)
    rows = script(phrases, options.clock)
    run = simulated if options.simulated else live
    played, recorded, more = run(rows, options.style)
    result = judge(phrases, played, recorded)
    print(json.dumps({"clock": options.clock, **result, **more}, indent=1))
    return 0 if not result["hanging"] else 1


def live(rows: list[Row], style: str) -> tuple[list[Row], list[Row], dict[str, object]]:
    """Through real ports, another process playing and recording: what was played and what came, and what the
    program says of its reaction."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        played, recorded = folder / "play.json", folder / "record.json"
        played.write_text(json.dumps(rows))
        jam = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "plugin_bridge.cli", "jam", "--style", style, "--takes", name,
             "--report", str(folder / "report.json")],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert jam.stdout is not None
        jam.stdout.readline()
        subprocess.run(  # noqa: S603 - our own program
            [sys.executable, str(HOST), str(played), str(recorded), "--out-port", "Plugin Bridge In",
             "--in-port", "Plugin Bridge Out", "--tail", "6", "--api", transport_report().transport],
            check=True,
        )  # fmt: skip
        jam.terminate()
        jam.communicate(timeout=30)
        record = json.loads(recorded.read_text())
        report = json.loads((folder / "report.json").read_text())
    return record["played"], record["recorded"], {"reaction_ms": report["reaction_ms"]}


def simulated(rows: list[Row], style: str) -> tuple[list[Row], list[Row], dict[str, object]]:
    """In simulated time."""
    items: list[tuple[float, Item]] = [(at, Message(bytes(data), START + at)) for at, data in rows]
    seconds = rows[-1][0] + 6.0
    chosen = choose_style(style)
    duet = simulate(Engine(chosen), SessionSettings(styles=(chosen,), kept=seconds), items, seconds)
    left = [(each.sent - START, list(message_from_event(each.event))) for each in duet.recording.left()]
    return rows, left, {}


if __name__ == "__main__":
    sys.exit(main())
