"""Where FL Studio keeps its user's data.

Normally `Image-Line/FL Studio` in the documents folder, on Windows and on macOS. Whoever moves it in FL's
file settings moves the value "Shared data" of `Software/Image-Line/Shared/Paths`, which is in the registry on
Windows and in `~/Library/Preferences/Image-Line/reg.xml` on macOS. The documents folder of Windows may itself
be elsewhere (OneDrive, another disk). Versions of FL that keep data of their own have folders side by side.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from plugin_bridge.errors import BridgeError

_SHARED_DATA = re.compile(r'<Value\s+Name="Shared data"[^>]*>([^<]+)</Value>', re.IGNORECASE)
_IMAGE_LINE = r"Software\Image-Line\Shared\Paths"
_SHELL_FOLDERS = r"Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders"


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of a machine: its documents folders, and FL's moved data (the folder that holds
    "FL Studio"), if that is known."""

    documents: tuple[Path, ...]
    shared_data: Path | None = None


def this_machine(platform: str = sys.platform, home: Path | None = None) -> Machine:
    """The machine that this runs on."""
    home = home or Path.home()
    if platform == "win32":
        documents = [
            _registry(_SHELL_FOLDERS, "Personal"),
            home / "Documents",
            home / "OneDrive" / "Documents",
        ]
        return Machine(tuple(folder for folder in documents if folder), _registry(_IMAGE_LINE, "Shared data"))
    preferences = home / "Library" / "Preferences" / "Image-Line" / "reg.xml"
    return Machine((home / "Documents",), read_shared_data(preferences))


def read_shared_data(preferences: Path) -> Path | None:
    """The moved data folder that FL's preferences on macOS name, if they do."""
    try:
        found = _SHARED_DATA.search(preferences.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return Path(html.unescape(found[1]).strip()) if found else None


def find_folders(user_data: Path | None, machine: Machine) -> tuple[Path, ...]:
    """FL Studio's folders (those that hold "Settings"), each once, the likeliest first.

    `user_data` is what the user gives: such a folder, or the one above, or the one above that. BridgeError
    when there is none.
    """
    if user_data is not None:
        found = _distinct(_below(user_data))
        if not found:
            raise BridgeError(
                f"{user_data}: no FL Studio user data here (a folder with Settings in it); look it up in FL "
                "under Options > File settings"
            )
        return found
    moved = [machine.shared_data] if machine.shared_data else []
    found = _distinct(folder for place in (*moved, *machine.documents) for folder in _below(place))
    if not found:
        raise BridgeError(
            "no FL Studio user data found: start FL Studio once, or give the folder that it shows under "
            "Options > File settings with --user-data"
        )
    return found


def _below(place: Path) -> Iterator[Path]:
    """`place`, or the versions' folders in it or in its Image-Line folder."""
    if (place / "Settings").is_dir():
        yield place
        return
    for parent in (place, place / "Image-Line"):
        if parent.is_dir():
            for folder in sorted(parent.iterdir()):
                if folder.name.startswith("FL Studio") and (folder / "Settings").is_dir():
                    yield folder


def _distinct(folders: Iterable[Path]) -> tuple[Path, ...]:
    return tuple({folder.resolve(): folder for folder in reversed(list(folders))}.values())[::-1]


def _registry(key: str, name: str) -> Path | None:
    """A path in the current user's registry."""
    if sys.platform != "win32":
        return None
    import os
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as opened:
            value, _ = winreg.QueryValueEx(opened, name)
    except OSError:
        return None
    return Path(os.path.expandvars(value)) if isinstance(value, str) and value else None
