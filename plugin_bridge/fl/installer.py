"""Installs the scripts in FL Studio's user data, takes them out again, and says what is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from plugin_bridge import __version__
from plugin_bridge.errors import BridgeError
from plugin_bridge.fl.clip import TAKES_SCRIPT, Take, takes_script
from plugin_bridge.fl.placing import Change, checksum, place, read_record, take_out

SCRIPT = "Plugin Bridge"
"""The script's folder, and its name in FL Studio's list of controller types: the two must be the same."""
HARDWARE = f"Settings/Hardware/{SCRIPT}"

CLICKS = (
    "Options > MIDI settings > Input: Plugin Bridge Out: Controller type Plugin Bridge, Port 10, Enable",
    "the same window > Output: Plugin Bridge In: Port 10, Enable; no other output on Port 10",
    "the same window > Input: your keyboard: Controller type Plugin Bridge, Port 10, Enable",
)
"""What is left to do in FL Studio."""

_VERSION = re.compile(rb'^VERSION = "([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Status:
    """What one FL Studio has: `state` is "not installed", "up to date", "other version" or "changed";
    `changed` are our files that were edited or are missing."""

    folder: str
    state: str
    installed: str | None
    program: str
    changed: tuple[str, ...] = ()


def script_files() -> dict[str, bytes]:
    """The script's files, by their path in FL Studio's folder. BridgeError where the program lacks them."""
    here = Path(__file__).parent
    for folder in (here / "scripts" / SCRIPT, here.parents[1] / "fl_scripts" / SCRIPT):
        found = {f"{HARDWARE}/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}
        if found:
            return found
    raise BridgeError(
        f"{here / 'scripts'}: the scripts for FL Studio are missing; install Plugin Bridge again"
    )


def script_version(files: dict[str, bytes]) -> str:
    """The version that the script says it has."""
    found = _VERSION.search(files.get(f"{HARDWARE}/bridge_script.py", b""))
    return found[1].decode("ascii", "replace") if found else "unknown"


def install(root: Path, takes: tuple[Take, ...] = ()) -> list[Change]:
    """Install in FL Studio's folder `root`; may be repeated. Files of others and edits are kept."""
    files = script_files()
    menu = {TAKES_SCRIPT: takes_script(takes)}
    return place(root, {**files, **menu}, script_version(files))


def uninstall(root: Path) -> list[Change]:
    """Take out what was installed, with the clips written since; what was in the way comes back."""
    return take_out(root)


def status(root: Path) -> Status:
    """What FL Studio's folder `root` has, beside this program."""
    record, files = read_record(root), script_files()
    if not record.version:
        return Status(str(root), "not installed", None, __version__)
    changed = tuple(
        path for path in files if path in record.files and not _is(root / path, record.files[path])
    )
    current = all(record.files.get(path) == checksum(data) for path, data in files.items())
    state = "changed" if changed else "up to date" if current else "other version"
    return Status(str(root), state, record.version, __version__, changed)


def _is(path: Path, expected: str) -> bool:
    return path.is_file() and checksum(path.read_bytes()) == expected
