"""What can play a clip: the built-in piano, a preset of a SoundFont, a plugin; and how users name them."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any, TypeAlias

from plugin_bridge.errors import BridgeError

PLUGIN_SUFFIXES = (".vst3", ".component")
ParameterValue: TypeAlias = float | bool | str

_PRESET_HEADER = re.compile(rb"VST3.{4}([0-9A-Fa-f]{32})", re.DOTALL)
_PLUGIN_KEYS = frozenset({"plugin", "name", "preset", "parameters"})


@dataclass(frozen=True, slots=True)
class BuiltInPiano:
    """The piano that is installed with the program."""

    def __str__(self) -> str:
        return "piano"


@dataclass(frozen=True, slots=True)
class SoundFontPreset:
    """One preset of a SoundFont 2 file."""

    path: Path
    bank: int = 0
    program: int = 0

    def __str__(self) -> str:
        return f"{self.path.name} {self.bank}:{self.program}"


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """A VST3 (or, on macOS, an Audio Unit) with its settings. `name` chooses one of several in a file.

    `parameters` are set after `preset` (a .vstpreset) is loaded; their names are pedalboard's.
    """

    path: Path
    name: str | None = None
    preset: Path | None = None
    parameters: tuple[tuple[str, ParameterValue], ...] = ()

    def __str__(self) -> str:
        return self.name or self.path.stem


Instrument: TypeAlias = BuiltInPiano | SoundFontPreset | PluginSpec


def choose_instrument(text: str, preset: str | None, folder: Path) -> Instrument:
    """The instrument that a user names: `piano`, a SoundFont, a plugin's file, or an installed plugin's name.

    `preset` is BANK:PROGRAM for a SoundFont; for a plugin a .vstpreset, or a TOML file of parameters. Files
    are sought from `folder`. Raises BridgeError that says what is wrong; plugins are not loaded yet.
    """
    if text == "piano":
        if preset is not None:
            raise BridgeError(f"the built-in piano has no presets, so not {preset!r} either")
        return BuiltInPiano()
    path = folder / text
    if path.suffix.lower() == ".sf2":
        if not path.is_file():
            raise BridgeError(f"there is no SoundFont {path}")
        return SoundFontPreset(path, *_bank_and_program(preset))
    table: dict[str, Any] = {"plugin": text}
    return plugin_spec(table | ({"preset": preset} if preset else {}), "", folder)


def _bank_and_program(preset: str | None) -> tuple[int, int]:
    if preset is None:
        return 0, 0
    match = re.fullmatch(r"(\d{1,5}):(\d{1,3})", preset)
    if match is None or int(match[2]) > 127:
        raise BridgeError(f"{preset!r} is not a preset of a SoundFont, such as 0:48 (bank:program)")
    return int(match[1]), int(match[2])


def plugin_spec(table: Mapping[str, Any], where: str, folder: Path) -> PluginSpec:
    """A plugin from the keys `plugin`, `name`, `preset` and `parameters`; `where` begins every error."""
    at = f"{where}, " if where else ""
    if unknown := sorted(table.keys() - _PLUGIN_KEYS):
        raise BridgeError(f"{at}{unknown[0]}: is not known; a plugin has {', '.join(sorted(_PLUGIN_KEYS))}")
    for key in ("plugin", "name", "preset"):
        if key in table and not isinstance(table[key], str):
            raise BridgeError(f"{at}{key}: {table[key]!r} is not text")
    path = _find_plugin(table["plugin"], folder, at)
    name, preset, parameters = table.get("name"), None, dict[str, ParameterValue]()
    if "preset" in table:
        file = folder / table["preset"]
        if file.suffix.lower() == ".vstpreset":
            class_of_preset(file)
            preset = file
        else:
            found, parameters = read_parameters(file)
            name = name or found
    if "parameters" in table:
        parameters = parameters | _parameters(table["parameters"], f"{at}parameters")
    return PluginSpec(path, name, preset, tuple(parameters.items()))


def _find_plugin(text: str, folder: Path, at: str) -> Path:
    path = folder / text
    if path.suffix.lower() in PLUGIN_SUFFIXES and path.exists():
        return path.absolute()
    installed = {found.stem: found for found in installed_plugins()}
    if text in installed:
        return installed[text]
    names = ", ".join(sorted(installed)[:12]) + (", ..." if len(installed) > 12 else "")
    raise BridgeError(
        f"{at}plugin: there is no {text!r}, neither a file nor installed ({names or 'none is'}); "
        "see plugin-bridge instruments"
    )


def read_parameters(path: Path) -> tuple[str | None, dict[str, ParameterValue]]:
    """A parameter file: the plugin's `name` in a file of several (or None), and the table `[parameters]`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BridgeError(f"{path}: the preset cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BridgeError(f"{path}: is neither a .vstpreset nor TOML ({error})") from error
    if unknown := sorted(document.keys() - {"name", "parameters"}):
        raise BridgeError(f"{path}: {unknown[0]!r} is not known; a parameter file has name and [parameters]")
    name = document.get("name")
    if name is not None and not isinstance(name, str):
        raise BridgeError(f"{path}, name: {name!r} is not text")
    return name, _parameters(document.get("parameters", {}), f"{path}, parameters")


def _parameters(table: object, where: str) -> dict[str, ParameterValue]:
    if not isinstance(table, dict):
        raise BridgeError(f"{where}: is not a table of names and values")
    for key, value in table.items():
        if not isinstance(value, int | float | bool | str):
            raise BridgeError(f"{where}, {key}: {value!r} is not a number, true, false or text")
    return {key: value if isinstance(value, bool | str) else float(value) for key, value in table.items()}


def class_of_preset(path: Path) -> str:
    """The class ID of the plugin that a .vstpreset was saved by: 32 hexadecimal digits.

    From "VST 3 Preset Format": the letters VST3, a version, the ID. Raises BridgeError otherwise.
    """
    try:
        with path.open("rb") as file:
            head = file.read(48)
    except OSError as error:
        raise BridgeError(f"{path}: the preset cannot be read ({error.strerror})") from error
    match = _PRESET_HEADER.match(head)
    if match is None:
        raise BridgeError(f"{path}: is not a VST3 preset; save it again from the plugin")
    return match[1].decode().upper()


def plugin_folders() -> tuple[Path, ...]:
    """Where this platform keeps plugins (Steinberg, "VST 3 Plug-in Locations"; Apple for Audio Units)."""
    home = Path.home()
    if sys.platform == "darwin":
        parents = (home / "Library/Audio/Plug-Ins", Path("/Library/Audio/Plug-Ins"))
        return tuple(parent / kind for parent in parents for kind in ("VST3", "Components"))
    if sys.platform == "win32":
        common = Path(environ.get("COMMONPROGRAMFILES", "C:/Program Files/Common Files")) / "VST3"
        return Path(environ.get("LOCALAPPDATA", str(home))) / "Programs/Common/VST3", common
    return home / ".vst3", Path("/usr/local/lib/vst3"), Path("/usr/lib/vst3")


def soundfont_folders() -> tuple[Path, ...]:
    """Where SoundFonts are usually kept: by Debian, and by musicians."""
    home = Path.home()
    shared = (Path("/usr/share/sounds/sf2"), Path("/usr/share/soundfonts"))
    mac = (home / "Library/Audio/Sounds/Banks", Path("/Library/Audio/Sounds/Banks"))
    return (home / "SoundFonts", *(mac if sys.platform == "darwin" else shared))


def installed_plugins() -> Iterator[Path]:
    """Every plugin in the platform's folders; folders inside them count, the inside of bundles does not."""
    for folder in plugin_folders():
        yield from _plugins_in(folder)


def _plugins_in(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.suffix.lower() in PLUGIN_SUFFIXES:
            yield entry
        elif entry.is_dir() and not entry.is_symlink():
            yield from _plugins_in(entry)


def installed_soundfonts() -> Iterator[Path]:
    """Every SoundFont in the usual folders."""
    for folder in soundfont_folders():
        if folder.is_dir():
            yield from sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".sf2")
