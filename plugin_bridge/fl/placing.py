"""Files put into somebody else's folder, so that they can be taken out again and nothing of theirs is lost.

A record beside the script says what was put where, and with which content. A file in the way that is not
ours, or that was ours and has been edited, is kept under another name; taking our files out puts back what
was there before the first of ours, and leaves what was edited since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path

RECORD = "Settings/Hardware/Plugin Bridge/installed.json"
"""The record's place in FL Studio's folder."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was done with a file, its path relative to FL Studio's folder: "written", "updated", "unchanged",
    "kept" (yours, as `under`), "removed", "restored", "left" (you changed it)."""

    path: str
    what: str
    under: str = ""


@dataclass(slots=True)
class Record:
    """What is installed: the version, checksums by path, names under which files in the way were kept, and
    the folders that were made."""

    version: str = ""
    files: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


def read_record(root: Path) -> Record:
    """The record in FL Studio's folder `root`; an empty one where there is none, or none that can be read."""
    try:
        content: Any = json.loads((root / RECORD).read_text(encoding="utf-8"))
        record = Record(str(content["version"]), *(content[key] for key in ("files", "kept", "folders")))
    except (OSError, ValueError, KeyError, TypeError):
        return Record()
    names = [*record.files, *record.kept, *record.kept.values(), *record.folders]
    return record if all(_inside(name) for name in names) else Record()


def place(root: Path, contents: Mapping[str, bytes], version: str | None = None) -> list[Change]:
    """Put `contents` (by path relative to `root`) there. `version`: this is a whole installation of it, so
    scripts of an earlier one that it does not have any more go."""
    record = read_record(root)
    changes = [change for path, data in contents.items() for change in _place(root, record, path, data)]
    if version is not None:
        stale = [
            path for path in record.files if path not in contents and not path.endswith((".pyscript", ".mid"))
        ]
        changes += _take_out(root, record, stale)
        record.version = version
    _write_record(root, record)
    return changes


def take_out(root: Path) -> list[Change]:
    """Take everything out again that was put into `root`."""
    record = read_record(root)
    changes = _take_out(root, record, list(record.files))
    for path, under in record.kept.items():
        if (root / under).is_file() and not (root / path).exists():
            (root / under).rename(root / path)
            changes.append(Change(path, "restored"))
    (root / RECORD).unlink(missing_ok=True)
    for folder in sorted(record.folders, key=len, reverse=True):
        _remove_if_empty(root / folder)
    return changes


def checksum(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _place(root: Path, record: Record, path: str, data: bytes) -> Iterable[Change]:
    target = root / path
    _make_folders(root, record, target.parent)
    if target.is_dir():
        raise BridgeError(f"{target}: is a folder, where a file of Plugin Bridge goes; move it away")
    what = "written"
    if target.exists():
        there = target.read_bytes()
        if there == data:
            record.files[path] = checksum(data)
            yield Change(path, "unchanged")
            return
        if record.files.get(path) == checksum(there):
            what = "updated"
        else:
            under = _free_name(target)
            target.rename(under)
            name = under.relative_to(root).as_posix()
            if path not in record.files:
                record.kept[path] = name
            _write_record(root, record)
            yield Change(path, "kept", name)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)
    record.files[path] = checksum(data)
    yield Change(path, what)


def _take_out(root: Path, record: Record, paths: Iterable[str]) -> list[Change]:
    changes = []
    for path in paths:
        target = root / path
        expected = record.files.pop(path)
        if not target.is_file():
            continue
        if checksum(target.read_bytes()) != expected:
            changes.append(Change(path, "left"))
            continue
        target.unlink()
        for compiled in target.parent.glob(f"__pycache__/{target.stem}.*.pyc"):
            compiled.unlink()
        _remove_if_empty(target.parent / "__pycache__")
        changes.append(Change(path, "removed"))
    return changes


def _make_folders(root: Path, record: Record, folder: Path) -> None:
    missing = [part for part in (folder, *folder.parents) if part.is_relative_to(root) and not part.is_dir()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BridgeError(f"{folder}: is a file, where Plugin Bridge needs a folder; move it away") from error
    record.folders += [part.relative_to(root).as_posix() for part in reversed(missing)]


def _write_record(root: Path, record: Record) -> None:
    content = {
        "version": record.version, "files": record.files, "kept": record.kept, "folders": record.folders,
    }  # fmt: skip
    _make_folders(root, record, (root / RECORD).parent)
    with atomic_path(root / RECORD) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _free_name(target: Path) -> Path:
    """A name beside `target` that FL Studio runs nothing of."""
    for number in range(1, 10_000):
        name = target.with_name(f"{target.name}.yours{number if number > 1 else ''}")
        if not name.exists():
            return name
    raise BridgeError(f"{target}: too many kept copies beside it; remove some")


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _inside(name: object) -> bool:
    """Whether a path of a record stays within the folder, whatever became of the record."""
    if not isinstance(name, str):
        return False
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts
