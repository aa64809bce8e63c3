"""Takes: the latest minutes of a duet as MIDI, and the tape that plays the whole session again.

A take is two files of one name: `NAME.mid` with both parts, and `NAME.take`, a zip of the settings and the
tape (`take.json`; `readings.bin`, `inputs.bin`: see `plugin_bridge.duet.journal`; `signals.bin`: int64,
little-endian).
With the same program, style and kind of processor it gives the same notes again.
"""

from __future__ import annotations

import json
import sys
import zipfile
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from plugin_bridge.duet.companion import CompanionRules
from plugin_bridge.duet.controls import TABLE, Controls, Kind
from plugin_bridge.duet.differences import Differences
from plugin_bridge.duet.journal import LONGEST_TAPE, Tape
from plugin_bridge.duet.offline import Offline, replay
from plugin_bridge.duet.packed import Packed
from plugin_bridge.duet.phrases import PhraseRules
from plugin_bridge.duet.roles import ChunkRules, Policies
from plugin_bridge.duet.scheduler import Sent
from plugin_bridge.duet.settings import Delays, SessionSettings
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path, newest_takes
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.clip import ChordSpan, Clip
from plugin_bridge.music.events import Event, NoteOn, Pedal
from plugin_bridge.music.harmony import Chart
from plugin_bridge.music.midi_file import write_midi

FORMAT = 2
MOST_KEPT = 100
"""Takes in a folder; the oldest beyond them go."""
LATEST = "latest"
"""The name of the take that every session leaves behind."""

_Row = list[float]


@dataclass(frozen=True, slots=True)
class Take:
    """A session as it was. `sent` are the partner's events by when they were due, the latest minutes, and
    `late` how many seconds after that each of them left (nothing in takes of earlier versions)."""

    settings: SessionSettings
    tape: Tape
    style: str
    styles: tuple[str, ...]
    sent: tuple[_Row, ...]
    late: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a take that was played again compares to what was sent: `events` were compared, the first
    `same` of them are equal."""

    events: int
    same: int
    duet: Offline
    tape: Tape

    @property
    def equal(self) -> bool:
        """Whether nothing came out differently."""
        return self.same == self.events

    def clip(self) -> Clip:
        """Both parts, as they came out."""
        began, tape = self.duet.partner.began, self.tape
        return self.duet.recording.clip(began, max(tape.reached, began))


def name_of(time: datetime) -> str:
    """A take's name, by when it was saved."""
    return time.strftime("%Y-%m-%d %H.%M.%S")


def save_take(
    folder: Path,
    name: str,
    clip: Clip,
    settings: SessionSettings,
    tape: Tape,
    style: Style,
    sent: Sequence[Sent],
) -> Path:
    """Write `NAME.mid` and `NAME.take` into `folder`, which is made; the path of the MIDI file. Each file
    appears whole or not at all. The oldest takes beyond MOST_KEPT go."""
    folder.mkdir(parents=True, exist_ok=True)
    midi = folder / f"{name}.mid"
    write_midi(clip, midi)
    signals = array("q", tape.signals)
    left = [each for each in sent if each.due < tape.reached]
    if sys.byteorder == "big":
        signals.byteswap()
    description = {
        "format": FORMAT,
        "whole": tape.whole,
        "style": style.name,
        "styles": [each.name for each in settings.styles],
        "settings": _settings_to_json(settings),
        "reached": tape.reached,
        "sent": [_row(each.event, each.due) for each in left],
        "late": [round(each.lateness, 6) for each in left],
    }
    with (
        atomic_path(folder / f"{name}.take") as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr("take.json", json.dumps(description))
        archive.writestr("readings.bin", bytes(tape.readings))
        archive.writestr("inputs.bin", bytes(tape.inputs))
        archive.writestr("signals.bin", signals.tobytes())
    for old in newest_takes(folder)[MOST_KEPT:]:
        old.with_suffix(".take").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return midi


def load_take(path: Path) -> Take:
    """Read a `.take` file. BridgeError names the file when it is none, or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            description = json.loads(_member(archive, "take.json", path))
            readings = Differences(_member(archive, "readings.bin", path))
            inputs = Packed(_member(archive, "inputs.bin", path))
            signals = array("q")
            signals.frombytes(_member(archive, "signals.bin", path))
        if description["format"] != FORMAT:
            raise BridgeError(f"{path}: a take of another version of the program")
        settings = _settings_from_json(description["settings"])
        sent = tuple([float(value) for value in row] for row in description["sent"])
        late = tuple(float(value) for value in description.get("late", ()))
        style, styles = str(description["style"]), tuple(str(name) for name in description["styles"])
        tape = Tape(readings, inputs, signals, bool(description["whole"]), float(description["reached"]))
        for _ in tape.each_input():
            pass
    except FileNotFoundError:
        raise BridgeError(f"{path}: there is no such take") from None
    except BridgeError as error:
        raise BridgeError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, NotImplementedError,
            RuntimeError, EOFError, zlib.error) as error:  # fmt: skip
        raise BridgeError(f"{path}: is no take, or damaged ({error})") from None
    if sys.byteorder == "big":
        signals.byteswap()
    return Take(settings, tape, style, styles, sent, late)


def replay_take(take: Take, engine: Engine, styles: Sequence[Style] = ()) -> Comparison:
    """Play a take again and compare. `engine` plays the style that the session began with, `styles` are those
    it could change to."""
    from dataclasses import replace

    duet = replay(engine, replace(take.settings, styles=tuple(styles)), take.tape)
    left = duet.recording.left()
    again = [_row(each.event, each.due) for each in left if each.due < take.tape.reached]
    again = again[len(again) - len(take.sent) :] if len(again) > len(take.sent) else again
    same = 0
    for mine, theirs in zip(again, take.sent, strict=False):
        if mine != list(theirs):
            break
        same += 1
    return Comparison(max(len(take.sent), len(again)), same, duet, take.tape)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """A file of the archive, refused when it would unpack to more than a take can hold."""
    if archive.getinfo(name).file_size > 2 * LONGEST_TAPE:
        raise BridgeError(f"{path}: too large for a take")
    return archive.read(name)


def _row(event: Event, due: float) -> _Row:
    """Due time, kind (1 note-on, 0 note-off, 2 pedal), pitch or whether down, velocity."""
    if isinstance(event, Pedal):
        return [due, 2.0, float(event.down), 0.0]
    if isinstance(event, NoteOn):
        return [due, 1.0, float(event.pitch), float(event.velocity)]
    return [due, 0.0, float(event.pitch), 0.0]


def _settings_to_json(settings: SessionSettings) -> dict[str, Any]:
    controls = settings.controls
    return {
        "seed": settings.seed,
        "controls": {row.name: controls.value(row.name) for row in TABLE if row.kind is not Kind.TRIGGER},
        "policies": asdict(settings.policies),
        "chart": None if settings.chart is None else [
            [span.start, "N.C." if span.chord is None else str(span.chord)] for span in settings.chart.spans
        ],
        "tempo": settings.tempo,
        "hears_chords": settings.hears_chords,
        "delays": asdict(settings.delays),
        "kept": settings.kept,
    }  # fmt: skip


def _settings_from_json(values: dict[str, Any]) -> SessionSettings:
    controls = Controls()
    for name, value in values["controls"].items():
        controls = controls.with_value(name, float(value))
    kinds = {"phrases": PhraseRules, "chunk": ChunkRules}
    policies = Policies(
        **{each.name: _rules(kinds.get(each.name, CompanionRules), values["policies"][each.name])
           for each in fields(Policies)}
    )  # fmt: skip
    chart = values["chart"]
    spans = (
        None if chart is None else Chart(tuple(ChordSpan(float(at), parse_chord(text)) for at, text in chart))
    )
    tempo = values["tempo"]
    return SessionSettings(
        seed=int(values["seed"]), controls=controls, policies=policies,
        chart=spans,
        tempo=None if tempo is None else float(tempo), hears_chords=bool(values["hears_chords"]),
        delays=Delays(float(values["delays"]["into"]), float(values["delays"]["out"])),
        kept=float(values["kept"]),
    )  # fmt: skip


def _rules(kind: Any, values: dict[str, Any]) -> Any:
    """Rules of `kind` from numbers, each as whole or broken as its default is."""
    plain = kind()
    return kind(**{each.name: type(getattr(plain, each.name))(values[each.name]) for each in fields(kind)})
