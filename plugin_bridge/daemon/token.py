"""The secret that those who may control the daemon know: a file that only the user can read."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path

_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


def make_token(path: Path) -> str:
    """The token of `path`; a new one where there is none, it is damaged or others can read it."""
    try:
        return read_token(path)
    except BridgeError:
        token = secrets.token_urlsafe(32)
        write_private(path, token + "\n")
        return token


def write_private(path: Path, text: str) -> None:
    """Write a file that only the user can read, from its first byte on; it appears whole."""
    with atomic_path(path) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)


def read_token(path: Path) -> str:
    """The token of `path`. BridgeError when there is none, or it is not as it was written."""
    try:
        text = path.read_bytes()[:100].decode("ascii", "replace").strip()
        readable = os.name == "posix" and path.stat().st_mode & 0o077
    except OSError as error:
        raise BridgeError(f"{path}: cannot be read ({error.strerror}); start the daemon first") from error
    if readable or not _FORM.fullmatch(text):
        raise BridgeError(f"{path}: is damaged or others can read it; restart the daemon for a new one")
    return text
