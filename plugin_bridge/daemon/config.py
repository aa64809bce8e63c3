"""The daemon's configuration: one table of keys that the parser, `config show` and the documentation share.

Every error names the file, the line and the key. Parsing is pure; the file is read in `read_config`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from plugin_bridge.daemon.toml_lines import TomlPath, line_of
from plugin_bridge.duet.controls import TABLE, Control, Controls, Kind, control
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import parse_progression

MOST_BYTES = 64 * 1024
"""A configuration larger than that is none."""
DEFAULT_PORT = 47110
TRANSPORTS = ("auto", "alsa", "jack")
LEVELS = ("debug", "info", "warning", "error")

_Check: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """A row of the table. `check` gives the value as it is used, or raises ValueError with what it must be;
    `live` says whether a change takes effect while the daemon runs."""

    section: str
    name: str
    default: Any
    check: _Check
    live: bool
    what: str

    @property
    def path(self) -> TomlPath:
        return (self.section, self.name) if self.section else (self.name,)


def _text(most: int, *, empty: bool = True) -> _Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most or not (value.isprintable() and (value or empty)):
            raise ValueError(f"a text of at most {most} characters" + ("" if empty else ", and not empty"))
        return value

    return check


def _texts(each: _Check, most: int) -> _Check:
    def check(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"a list of at most {most} texts")
        return tuple(each(item) for item in value)

    return check


def _number(low: float, high: float, whole: bool = False) -> _Check:
    def check(value: Any) -> Any:
        kinds = int if whole else (int, float)
        good = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not low <= value <= high:
            raise ValueError(f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}")
        return value if whole else float(value)

    return check


def _one_of(choices: tuple[str, ...]) -> _Check:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return check


def _chart(value: Any) -> str:
    text = str(_text(2000)(value))
    try:
        parse_progression(text) if text else None
    except BridgeError as error:
        raise ValueError(f'chords such as "Dm7 G7 Cmaj7" ({error})') from error
    return text


_name = _text(60)
KEYS: tuple[Key, ...] = (
    Key("", "style", "base", _text(300, empty=False), True, "a style, a folder, or a blend: a=0.7,b=0.3"),
    Key("", "styles", (), _texts(_text(300, empty=False), 128), False, "what program changes choose"),
    Key("", "chords", "", _chart, False, "a chart to follow, a chord a bar; empty: the partner listens"),
    Key("", "tempo", 120.0, _number(20, 400), False, "tempo of the chart, beats a minute"),
    Key("", "seed", 0, _number(-(2**62), 2**62, whole=True), False, "where chance begins"),
    Key("ports", "input", "Plugin Bridge In", _name, False, "our port that others play into; empty: none"),
    Key("ports", "output", "Plugin Bridge Out", _name, False, "our port that others listen to; empty: none"),
    Key("ports", "transport", "auto", _one_of(TRANSPORTS), False, "on Linux: alsa, jack, or what there is"),
    Key("api", "port", DEFAULT_PORT, _number(0, 65535, whole=True), False, "of 127.0.0.1; 0: any free one"),
    Key("takes", "folder", "", _text(1000), False, "where takes go; empty: the program's own folder"),
    Key("takes", "minutes", 30.0, _number(1, 120), False, "how much of the past can be saved"),
    Key("log", "level", "info", _one_of(LEVELS), True, "what is logged, and all that is graver"),
    Key("log", "megabytes", 2.0, _number(0.01, 100), False, "size of a log file before the next is begun"),
    Key("log", "files", 4, _number(1, 50, whole=True), False, "how many full ones are kept"),
)  # fmt: skip
"""Every key there is, beside the table [controls]."""
_SECTIONS = tuple(dict.fromkeys(key.section for key in KEYS if key.section))


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration: `values` by section and name, and the `controls` that differ from the table."""

    values: Mapping[tuple[str, str], Any] = field(
        default_factory=lambda: {(key.section, key.name): key.default for key in KEYS}
    )
    controls: Mapping[str, float] = field(default_factory=dict)

    def get(self, section: str, name: str) -> Any:
        """The value of a key of the table."""
        return self.values[section, name]

    def start_controls(self) -> Controls:
        """How the partner plays to begin with."""
        controls = Controls()
        for name, value in self.controls.items():
            controls = controls.with_value(name, value)
        return controls


@dataclass(frozen=True, slots=True)
class Change:
    """What a new configuration changes: keys by their dotted names."""

    live: tuple[str, ...]
    at_restart: tuple[str, ...]


def parse_config(text: str, path: Path) -> Config:
    """The configuration in `text`. BridgeError `FILE:LINE: KEY: ...` for the first thing that is wrong."""
    found = parse_toml(text, path)
    known = {key.path: key for key in KEYS}
    values = {(key.section, key.name): key.default for key in KEYS}
    for path_of in _leaves(found):
        value = _at(found, path_of)
        if path_of[0] == "controls":
            continue
        key = known.get(path_of)
        if key is None:
            raise _wrong(text, path, path_of, _unknown(path_of))
        try:
            values[key.section, key.name] = key.check(value)
        except ValueError as error:
            raise _wrong(text, path, path_of, f"must be {error}") from None
    return Config(values, _controls(found.get("controls", {}), text, path))


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The tables in `text`. BridgeError with file and line."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise BridgeError(f"{path}:1: larger than {MOST_BYTES // 1024} kB: this is no configuration")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BridgeError(f"{path}:{_error_line(str(error), text)}: {error}") from None
    except (RecursionError, ValueError) as error:
        raise BridgeError(f"{path}:1: cannot be read ({error or 'nested too deeply'})") from None


def read_config(path: Path) -> Config:
    """The configuration in the file; the defaults where there is none. BridgeError as `parse_config`."""
    return parse_config(read_text(path), path)


def read_text(path: Path) -> str:
    """What stands in a file; nothing where there is none. BridgeError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1).decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise BridgeError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise BridgeError(f"{path}: cannot be read ({error.strerror})") from error


def changes(before: Config, after: Config) -> Change:
    """What is different, and whether it takes effect at once."""
    live: list[str] = []
    later: list[str] = []
    for key in KEYS:
        if before.get(key.section, key.name) != after.get(key.section, key.name):
            (live if key.live else later).append(".".join(key.path))
    live += [
        f"controls.{row.name}"
        for row in TABLE
        if before.controls.get(row.name) != after.controls.get(row.name)
    ]
    return Change(tuple(live), tuple(later))


def show_config(config: Config) -> str:
    """The whole configuration as TOML, every key with what it means; `parse_config` reads it again."""
    lines: list[str] = []
    for section in ("", *_SECTIONS):
        if section:
            lines += ["", f"[{section}]"]
        for key in KEYS:
            if key.section == section:
                lines.append(f"{key.name} = {toml(config.get(section, key.name))}  # {key.what}")
    lines += ["", "[controls]"]
    for row in TABLE:
        if row.kind is Kind.TRIGGER:
            continue
        here = "" if row.name in config.controls else "# "
        value = config.controls.get(row.name, row.default)
        shown = toml(plain_value(row, value))
        lines.append(f"{here}{row.name} = {shown}  # {row.what}: {row.range}")
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A text, a number, a truth or a list of texts as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(
            f"\\{each}" if each in '"\\' else each if each.isprintable() else f"\\U{ord(each):08x}"
            for each in value
        )
        return f'"{escaped}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value)


def _controls(found: Any, text: str, path: Path) -> dict[str, float]:
    if not isinstance(found, dict):
        raise _wrong(text, path, ("controls",), "must be a table, [controls]")
    values: dict[str, float] = {}
    for name, value in found.items():
        try:
            row = control(name)
            if row.name != name:
                raise BridgeError(f"write it {row.name}")
            if row.kind is Kind.TRIGGER:
                raise BridgeError("is no setting: it acts when it is touched")
            values[name] = control_value(name, value)
        except BridgeError as error:
            raise _wrong(text, path, ("controls", name), str(error)) from None
    return values


def control_value(name: str, value: Any) -> float:
    """The number of a control from a value as TOML or JSON has it: a number, a truth for a switch, one of the
    names for a choice. BridgeError names the control and what it takes."""
    row = control(name)
    match row.kind:
        case Kind.SWITCH | Kind.TRIGGER:
            if isinstance(value, bool):
                return float(value)
            raise BridgeError(f"{row.name} must be true or false")
        case Kind.CHOICE:
            if isinstance(value, str) and value in row.choices:
                return row.parse(value)
        case _:
            if isinstance(value, int | float) and not isinstance(value, bool):
                with suppress(OverflowError):
                    return row.check(float(value))
    raise BridgeError(f"{row.name} {value!r:.40} must be {row.range}")


def plain_value(row: Control, number: float) -> float | int | bool | str:
    """A control's number as TOML and JSON write it; `control_value` reads it again."""
    match row.kind:
        case Kind.SWITCH | Kind.TRIGGER:
            return bool(number)
        case Kind.CHOICE:
            return row.choices[int(number)]
        case Kind.WHOLE:
            return int(number)
        case _:
            return float(number)


def _leaves(found: Mapping[str, Any], above: TomlPath = ()) -> list[TomlPath]:
    """Every key that is no section of ours, in order."""
    paths: list[TomlPath] = []
    for name, value in found.items():
        path = (*above, name)
        section = not above and name in (*_SECTIONS, "controls")
        paths += _leaves(value, path) if section and isinstance(value, dict) else [path]
    return paths


def _at(found: Mapping[str, Any], path: TomlPath) -> Any:
    value: Any = found
    for name in path:
        value = value[name]
    return value


def _unknown(path: TomlPath) -> str:
    if path[0] in _SECTIONS and len(path) == 1:
        return f"must be a table, [{path[0]}]"
    here = [key.name for key in KEYS if key.path[:-1] == path[:-1]]
    if len(path) == 1:
        here += [f"[{section}]" for section in (*_SECTIONS, "controls")]
    return f"there is no such key; here there are {', '.join(here)}"


def _wrong(text: str, path: Path, key: TomlPath, what: str) -> BridgeError:
    return BridgeError(f"{path}:{line_of(text, key)}: {'.'.join(key)}: {what}")


def _error_line(message: str, text: str) -> int:
    """The line that tomllib names; it says "end of document" for the last."""
    _, found, rest = message.rpartition("(at line ")
    number = rest.partition(",")[0]
    return int(number) if found and number.isdigit() else text.count("\n") + 1
