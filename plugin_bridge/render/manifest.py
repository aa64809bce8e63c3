"""Manifests: a TOML or CSV file to rows, each of which says what to play and how.

`KEYS` is the one table of what a row may say: parsing, errors and the documentation use it. The files that
rows name are not opened here.
"""

from __future__ import annotations

import csv
import io
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import parse_progression

MOST_CLIPS = 100_000
"""Clips in one batch."""

_NAME = re.compile(r"[^\x00-\x1f<>:\"/\\|?*]{1,120}")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}
)


class InvalidValueError(ValueError):
    """What is wrong with one value."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a row: how its value is read (from TOML's types or from text), and what it means."""

    parse: Callable[[object], Any]
    form: str
    what: str


@dataclass(frozen=True, slots=True)
class Row:
    """What one row says. `where` names it in messages ("pack.toml: row 17"); `values` has the keys that were
    given, parsed; `folder` is where its files are sought."""

    where: str
    values: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def problem(self, key: str, text: object) -> BridgeError:
        """An error that names this row and the key."""
        return BridgeError(f"{self.where}, {key}: {text}")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(f"{value!r} is not text")
    return value.strip()


def _name(value: object) -> str:
    name = _text(value)
    if not is_file_name(name):
        raise InvalidValueError(f"{name!r} cannot be the name of a file on every system")
    return name


def is_file_name(name: str) -> bool:
    """Whether Linux, macOS and Windows all take it, and no program hides it."""
    return (
        _NAME.fullmatch(name) is not None
        and not name.startswith(".")
        and not name.endswith((".", " "))
        and name.lower() not in _RESERVED
    )


def _chords(value: object) -> str:
    chords = _text(value)
    if not parse_progression(chords):
        raise InvalidValueError(f"{chords!r} has no chord")
    return chords


def _number(low: float, high: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        try:
            number = float(value) if isinstance(value, str | int | float) else math.nan
        except ValueError:
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise InvalidValueError(f"{value!r} is not a number")
        if not low <= number <= high:
            raise InvalidValueError(f"{number:g} is out of range, {low:g} to {high:g}")
        return number

    return parse


def _whole(low: int, high: int) -> Callable[[object], int]:
    number = _number(low, high)

    def parse(value: object) -> int:
        found = number(value)
        if found != int(found):
            raise InvalidValueError(f"{value!r} is not a whole number")
        return int(found)

    return parse


_seed = _whole(0, 2**31 - 1)


def _seeds(value: object) -> tuple[int, ...]:
    """A list of whole numbers, or text such as "1-10" or "1 4 7-9"."""
    found: list[int] = []
    for part in value if isinstance(value, list) else _text(value).replace(",", " ").split():
        span = re.fullmatch(r"(\d{1,10})-(\d{1,10})", part) if isinstance(part, str) else None
        if span is None:
            found.append(_seed(part))
            continue
        first, last = _seed(span[1]), _seed(span[2])
        if not 0 <= last - first < MOST_CLIPS:
            raise InvalidValueError(f"{part!r} runs backwards, or is longer than {MOST_CLIPS}")
        found.extend(range(first, last + 1))
    if not found or len(set(found)) < len(found):
        raise InvalidValueError(f"{value!r} has no seed, or one twice")
    return tuple(found)


KEYS: Mapping[str, Key] = {
    "name": Key(_name, "text", "The output's name, without a suffix. Several takes add `-s` and the seed."),
    "midi": Key(_text, "path", "A MIDI file to render as it is. Excludes everything about generating."),
    "chords": Key(_chords, "chords", "A chord a bar, repeated as needed: `Dm7 G7 Cmaj7`."),
    "prompt": Key(_text, "path", "A MIDI file to play first and go on from."),
    "tempo": Key(_number(20, 400), "20 to 400", "Quarter notes a minute; 120."),
    "bars": Key(_whole(1, 10_000), "whole number", "How many bars to generate; 8."),
    "beats": Key(_whole(1, 8), "1 to 8", "Quarter notes in a bar; 4."),
    "style": Key(_text, "style or blend", "`base`, or a blend: `evans=0.7,mine=0.3`."),
    "seed": Key(_seed, "whole number", "The seed of the first take; 0."),
    "takes": Key(_whole(1, MOST_CLIPS), "whole number", "How many takes, seeds counting up; 1."),
    "seeds": Key(_seeds, "list or ranges", 'In place of seed and takes: `[1, 5]` or `"1-10"`.'),
    "temperature": Key(_number(0, 4), "0 to 4", "Without it, the style's own."),
    "top_p": Key(_number(1e-6, 1), "0 to 1", "Without it, the style's own."),
    "adherence": Key(_number(0, 20), "0 to 20", "How strictly to keep to the chords; 3."),
    "instrument": Key(
        _text, "text", "`piano`, a SoundFont, a plugin's file, or the name of an installed plugin."
    ),
    "preset": Key(_text, "text", "A .vstpreset or a TOML file of parameters; of a SoundFont `BANK:PROGRAM`."),
    "effects": Key(_text, "text", "`default`, `none`, or a TOML file of effects."),
}
"""What a row may say."""

GENERATING = frozenset(
    {
        "chords", "prompt", "tempo", "bars", "beats", "style", "seed", "takes", "seeds", "temperature",
        "top_p", "adherence",
    }
)  # fmt: skip
"""The keys that only make sense where something is generated."""


def read_manifest(path: Path) -> list[Row]:
    """The rows of a manifest. Raises BridgeError that names the file, the row and the key."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BridgeError(f"{path}: cannot be read ({reason})") from error
    return (parse_csv if path.suffix.lower() == ".csv" else parse_toml)(content, path)


def parse_toml(content: str, path: Path) -> list[Row]:
    """Rows are the tables `[[clip]]`; what `[defaults]` says counts for all that do not say it themselves."""
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise BridgeError(f"{path}: is not TOML ({error})") from error
    if unknown := sorted(document.keys() - {"defaults", "clip"}):
        raise BridgeError(f"{path}: {unknown[0]!r} is not known; a manifest has [defaults] and [[clip]]")
    defaults, tables = document.get("defaults", {}), document.get("clip", [])
    if not isinstance(defaults, dict):
        raise BridgeError(f"{path}: defaults is not a table; write [defaults]")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BridgeError(f"{path}: clips are written as [[clip]], with double brackets")
    common = _row(defaults, f"{path}: defaults", path)
    for key in ("name", "midi"):
        if key in common.values:
            raise common.problem(key, "belongs to one clip, not to all of them")
    rows = [_row(table, f"{path}: row {number}", path) for number, table in enumerate(tables, 1)]
    return _checked([_with_defaults(row, common.values) for row in rows], path)


def _with_defaults(row: Row, defaults: Mapping[str, Any]) -> Row:
    """Defaults fill what the row leaves open, but do not contradict it."""
    skipped: set[str] = set()
    if "midi" in row.values:
        skipped |= GENERATING
    if "seeds" in row.values:
        skipped |= {"seed", "takes"}
    if {"seed", "takes"} & row.values.keys():
        skipped |= {"seeds"}
    if "instrument" in row.values:
        skipped |= {"preset"}
    kept = {key: value for key, value in defaults.items() if key not in skipped}
    return Row(row.where, kept | dict(row.values), row.folder)


def parse_csv(content: str, path: Path) -> list[Row]:
    """The first line names the keys; empty cells are as if not there."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        head = [name.strip() for name in next(reader, [])]
        if unknown := [name for name in head if name not in KEYS]:
            raise BridgeError(f"{path}: column {unknown[0]!r} is not known; there are {', '.join(KEYS)}")
        if not head or len(set(head)) < len(head):
            raise BridgeError(f"{path}: the first line must name each column once")
        rows: list[Row] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}: row {len(rows) + 1}"
            if len(cells) > len(head):
                raise BridgeError(f"{where} (line {reader.line_num}): has more cells than there are columns")
            table = {key: cell for key, cell in zip(head, cells, strict=False) if cell.strip()}
            rows.append(_row(table, where, path))
    except csv.Error as error:
        raise BridgeError(f"{path}: line {reader.line_num}: is not CSV ({error})") from error
    return _checked(rows, path)


def _row(table: Mapping[str, object], where: str, path: Path) -> Row:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KEYS:
            raise BridgeError(f"{where}, {key}: is not a key; there are {', '.join(KEYS)}")
        try:
            values[key] = KEYS[key].parse(value)
        except (InvalidValueError, BridgeError) as error:
            raise BridgeError(f"{where}, {key}: {error}") from error
    return Row(where, values, path.parent.absolute())


def _checked(rows: list[Row], path: Path) -> list[Row]:
    if not rows:
        raise BridgeError(f"{path}: has no clips")
    for row in rows:
        if "midi" in row.values and (extra := sorted(GENERATING & row.values.keys())):
            raise row.problem(extra[0], "does not go with midi, which is rendered as it is")
        if "seeds" in row.values and (extra := sorted({"seed", "takes"} & row.values.keys())):
            raise row.problem(extra[0], "does not go with seeds, which says them all")
    return rows


def key_table() -> str:
    """`KEYS` as a table in Markdown, for the documentation."""
    lines = ["| key | value | what it says |", "|---|---|---|"]
    lines += [f"| `{name}` | {key.form} | {key.what} |" for name, key in KEYS.items()]
    return "\n".join(lines) + "\n"
