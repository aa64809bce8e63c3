"""Clips for FL Studio's piano roll: a script with the notes in it, and the MIDI file beside it.

Scripts of the piano roll may not read files in current versions of FL, so the notes stand in the script. FL
reads the script again at each run. It may also call `apply` many times for one run, to show what would come:
so before it adds notes it takes out those that it has added, and only those.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.midi_bytes import RawFile, parse_midi
from plugin_bridge.music.midi_file import DRUM_CHANNEL, read_midi, write_midi

FOLDER = "Settings/Piano roll scripts"
CLIP_SCRIPT = f"{FOLDER}/Plugin Bridge clip.pyscript"
CLIP_MIDI = f"{FOLDER}/Plugin Bridge clip.mid"
TAKES_SCRIPT = f"{FOLDER}/Plugin Bridge last takes.pyscript"
MOST_NOTES = 20_000
MOST_TAKES = 16

_SCRIPT = '''"""Written by Plugin Bridge: puts a clip into the piano roll. Written anew with each clip."""

import flpianoroll as flp

# (name, ticks a quarter note, ((start, length, number, velocity of 127), ...))
TAKES = (
{takes})


def createDialog():
    if not TAKES:
        return flp.ScriptDialog("Plugin Bridge", "No takes yet. Play, then run: plugin-bridge fl clip --last")
    form = flp.ScriptDialog("Plugin Bridge", "Puts a take in, in place of one that was put in before.")
    form.AddInputCombo("Take", ",".join(take[0] for take in TAKES), 0)
    return form


def scaled(ticks, quarter):
    return (2 * ticks * flp.score.PPQ + quarter) // (2 * quarter)


def placed(take):
    notes = []
    for start, length, number, velocity in take[2]:
        time = scaled(start, take[1])
        notes.append((number, time, max(scaled(start + length, take[1]) - time, 1), velocity / 127))
    return notes


def apply(form):
    ours = set(note[:3] for take in TAKES for note in placed(take))
    for index in range(flp.score.noteCount - 1, -1, -1):
        note = flp.score.getNote(index)
        if (note.number, note.time, note.length) in ours:
            flp.score.deleteNote(index)
    if not TAKES:
        return
    chosen = int(round(form.GetInputValue("Take")))
    for number, time, length, velocity in placed(TAKES[min(max(chosen, 0), len(TAKES) - 1)]):
        note = flp.Note()
        note.number = number
        note.time = time
        note.length = length
        note.velocity = velocity
        flp.score.addNote(note)
'''


@dataclass(frozen=True, slots=True)
class Take:
    """A clip in ticks: `quarter` to a quarter note; notes are (start, length, pitch, velocity 1..127). `midi`
    is the same as a MIDI file."""

    name: str
    quarter: int
    notes: tuple[tuple[int, int, int, int], ...]
    midi: bytes


def read_take(path: Path) -> Take:
    """The notes of a MIDI file, to the tick; drums only where there is nothing else. Pedals are left out, for
    the piano roll has none. BridgeError when the file cannot be read or has too many notes."""
    midi = read_midi(path)  # says in one line what is wrong with a file
    data = path.read_bytes()
    raw = parse_midi(data)
    if raw.division < 0:  # a time code has no quarter notes: as it sounds, at 120
        data = _as_written(midi.clip(), path)
        raw = parse_midi(data)
    notes = _notes(raw)
    if len(notes) > MOST_NOTES:
        raise BridgeError(f"{path}: {len(notes)} notes are too many for a clip; at most {MOST_NOTES}")
    return Take(path.stem, max(raw.division, 1), notes, data)


def takes_script(takes: Sequence[Take]) -> bytes:
    """The piano-roll script that offers `takes`, the first MOST_TAKES of them, in this order."""
    rows = []
    for number, take in enumerate(takes[:MOST_TAKES], 1):
        notes = "".join(f"        {note},\n" for note in take.notes)
        rows.append(f"    ({json.dumps(_plain(take.name, number))}, {take.quarter}, (\n{notes}    )),\n")
    return _SCRIPT.replace("{takes}", "".join(rows)).encode("ascii")


def clip_files(take: Take, takes: Sequence[Take] = ()) -> dict[str, bytes]:
    """The files of a clip, by their path in FL Studio's folder: the clip's script and MIDI file, and the menu
    of the last `takes`."""
    files = {CLIP_SCRIPT: takes_script([take]), CLIP_MIDI: take.midi}
    return {**files, TAKES_SCRIPT: takes_script(takes)} if takes else files


def write_files(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write `files` straight into `folder`, which is no FL Studio's."""
    written = []
    for path, data in files.items():
        target = folder / Path(path).name
        with atomic_path(target) as temporary:
            temporary.write_bytes(data)
        written.append(target)
    return written


def _notes(raw: RawFile) -> tuple[tuple[int, int, int, int], ...]:
    """Notes by start; of several that sound on one key the oldest ends first, as `read_midi` has it."""
    found: list[tuple[int, int, int, int]] = []
    drums: list[tuple[int, int, int, int]] = []
    for track in raw.tracks:
        sounding: dict[tuple[int, int], deque[tuple[int, int]]] = defaultdict(deque)
        for tick, channel, pitch, velocity in track.keys:
            waiting = sounding[channel, pitch]
            notes = drums if channel == DRUM_CHANNEL else found
            if velocity:
                waiting.append((tick, velocity))
            elif waiting:
                start, struck = waiting.popleft()
                notes.append((start, tick - start, pitch, struck))
        for (channel, pitch), waiting in sounding.items():
            notes = drums if channel == DRUM_CHANNEL else found
            notes += [(start, max(track.end - start, 0), pitch, struck) for start, struck in waiting]
    return tuple(sorted(found or drums))


def _as_written(clip: Clip, path: Path) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        write_midi(clip, target)
        return target.read_bytes()


def _plain(name: str, number: int) -> str:
    """A name for FL's menu, whose entries are separated by commas."""
    plain = "".join(c if c.isascii() and c.isprintable() and c != "," else " " for c in name)
    return f"{number} {' '.join(plain.split())}"[:60]
