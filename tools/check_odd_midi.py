"""Hold our MIDI reader against three others on a folder of odd files.

    python tools/check_odd_midi.py FOLDER [--json]

FOLDER holds MANIFEST.tsv with the columns `file` and, for each other reader, what it made of the file:
`ok:16` (sixteen notes) or `exc:...` (refused). A file on which at least two of the three agree and we do
not is printed with the reason from the table below. Exit status: 0 when every difference has a reason, 1
when one has none, 2 when the folder cannot be used.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.midi_file import read_midi

READERS = ("mido", "symusic", "pretty_midi")
REFUSED = "refused"

_KEY_SIGNATURE = "a wrong key signature does not touch the notes: read without it"
_SMPTE_OFFSET = "a wrong SMPTE offset does not touch the notes: read without it"
_CLIPPED = "data bytes above 127 are read as 127"
_OTHER_CHUNK = "chunks of other kinds are passed over, as the specification asks"
_UNCLOSED = "notes that are never closed are kept and end with their track"
_DAY = "lasts more than a day: refused"

REASONS = {
    "midi__test-non-midi-track.mid": _OTHER_CHUNK,
    "unknown_chunk_between.mid": _OTHER_CHUNK,
    "midi__test-running-status-sysex.mid": "running status goes on over sysex: all eight notes are read",
    "tests__MIDIs_corrupted__ValueError_Control168.mid": _CLIPPED,
    "invalid_channel_event_parameter_value_2.mid": _CLIPPED,
    "invalid_channel_event_parameter_value_3.mid": _CLIPPED,
    "invalid_chunk_size_2.mid": "what follows the end of a track in its chunk is not read",
    "invalid_key_signature_key_1.mid": _KEY_SIGNATURE,
    "invalid_key_signature_key_2.mid": _KEY_SIGNATURE,
    "invalid_key_signature_key_3.mid": _KEY_SIGNATURE,
    "invalid_key_signature_key_4.mid": _KEY_SIGNATURE,
    "invalid_key_signature_scale_2.mid": _KEY_SIGNATURE,
    "invalid_key_signature_scale_3.mid": _KEY_SIGNATURE,
    "invalid_key_signature_scale_4.mid": _KEY_SIGNATURE,
    "invalid_key_signature_scale_5.mid": _KEY_SIGNATURE,
    "invalid_meta_event_parameter_value_3.mid": _KEY_SIGNATURE,
    "keysig_oor.mid": _KEY_SIGNATURE,
    "invalid_smpte_frames_1.mid": _SMPTE_OFFSET,
    "invalid_smpte_frames_5.mid": _SMPTE_OFFSET,
    "unexpected_track_chunks_count_1.mid": "fewer tracks than declared: those that are there are read",
    "smpte_30fps_40tpf.mid": "SMPTE time is read",
    "smpte_25fps_0tpf.mid": "SMPTE time is read; no ticks a frame is one tick a frame",
    "smpte_bad_fps_100.mid": "SMPTE time is read, with the frames a second that it claims",
    "tests__data__midi__negative-ticks-per-beat.mid": "SMPTE time is read",
    "no_end_of_track_5.mid": "two notes whose end is cut off are kept",
    "track_len_too_short.mid": _UNCLOSED,
    "cc120_123.mid": _UNCLOSED,
    "delta_max.mid": _DAY,
    "delta_max_x40.mid": _DAY,
}
"""Why we differ, by the name of the file."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What we and at least two others made of a file: a number of notes, or refused."""

    file: str
    ours: str
    theirs: str
    reason: str | None


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder with MANIFEST.tsv and the files that it names")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    try:
        rows = _manifest(options.folder)
        differences, undecided = _compare(options.folder, rows)
    except BridgeError as error:
        print(f"check_odd_midi: error: {error}", file=sys.stderr)
        return 2
    unexplained = sum(difference.reason is None for difference in differences)
    if options.json:
        report = {
            "files": len(rows),
            "differences": [asdict(difference) for difference in differences],
            "unexplained": unexplained,
            "undecided": undecided,
        }
        print(json.dumps(report, indent=2))
        return int(unexplained > 0)
    for difference in differences:
        print(
            f"{difference.file}: we {difference.ours}, others {difference.theirs}: "
            f"{difference.reason or 'NO REASON KNOWN'}"
        )
    print(
        f"{len(rows)} files: {len(rows) - len(differences) - undecided} as at least two others read them, "
        f"{len(differences)} differ ({unexplained} without a reason), "
        f"{undecided} on which no two others agree"
    )
    return int(unexplained > 0)


def _manifest(folder: Path) -> list[dict[str, str]]:
    path = folder / "MANIFEST.tsv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BridgeError(f"{path}: cannot be read ({error}); give the unpacked folder") from error
    missing = {"file", *READERS} - set(rows[0] if rows else ())
    if missing or any(value is None for row in rows for value in row.values()):
        raise BridgeError(f"{path}: needs rows with the columns file, {', '.join(READERS)}")
    return rows


def _compare(folder: Path, rows: list[dict[str, str]]) -> tuple[list[Difference], int]:
    """The differences, and the number of files on which no two others agree."""
    differences, undecided = [], 0
    for row in rows:
        theirs, count = Counter(_told(row[reader]) for reader in READERS).most_common(1)[0]
        ours = _ours(folder / row["file"])
        if count < 2:
            undecided += 1
        elif ours != theirs:
            reason = REASONS.get(PurePosixPath(row["file"]).name)
            differences.append(Difference(row["file"], ours, theirs, reason))
    return differences, undecided


def _told(value: str) -> str:
    return value.removeprefix("ok:") if value.startswith("ok:") else REFUSED


def _ours(path: Path) -> str:
    if not path.is_file():
        raise BridgeError(f"{path}: is in MANIFEST.tsv but not there; unpack the folder again")
    try:
        return str(read_midi(path).note_count)
    except BridgeError:
        return REFUSED


if __name__ == "__main__":
    sys.exit(main())
