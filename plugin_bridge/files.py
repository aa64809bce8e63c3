"""Files that are written whole or not at all, and one-line messages for what a disk refuses."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plugin_bridge.errors import BridgeError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it becomes `path` when the block succeeds.

    The temporary name keeps the suffix of `path`, so that writers that choose a format by it work. On
    any exception, KeyboardInterrupt included, the temporary file is removed and `path` stays as it was.

    Raises BridgeError, naming `path`, when its folder is missing, may not be written, or is full.
    """
    target = Path(path)
    folder = target.parent
    if not folder.is_dir():
        raise BridgeError(f"cannot write {target}: there is no folder {folder}; create it first")
    if target.is_dir():
        raise BridgeError(f"cannot write {target}: it is a folder; give the name of a file")
    if target.exists() and not target.is_file():
        raise BridgeError(f"cannot write {target}: it is a device, not a file; give the name of a file")
    # The stem is cut so that a name near the file system's limit still has room for ours.
    temporary = folder / f".{target.stem[:40]}.{secrets.token_hex(6)}{target.suffix}"
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        _remove(temporary)
        raise _explained(error, target, temporary) from error
    except BaseException:
        _remove(temporary)
        raise


def swap_folder(fresh: Path, target: Path, attic: Path) -> None:
    """Put the finished folder `fresh` in the place of `target`; what was there goes to `attic`, a temporary
    folder on the same disk that the caller throws away."""
    if target.exists():
        target.rename(attic / "old")
    fresh.rename(target)


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink()


def _explained(error: OSError, target: Path, temporary: Path) -> OSError | BridgeError:
    """A message for what the user can mend about this very file; any other error as it is."""
    if error.errno in _FULL:
        return BridgeError(f"cannot write {target}: the disk is full; free some space and try again")
    about_it = error.filename is None or Path(os.fsdecode(error.filename)) in (target, temporary)
    if error.errno in _DENIED and about_it:
        return BridgeError(f"cannot write {target}: permission denied; choose a folder you may write to")
    if error.errno == errno.ENOENT and about_it:
        return BridgeError(f"cannot write {target}: its folder has vanished; try again")
    return error


def takes_folder() -> Path:
    """Where takes go, unless told otherwise."""
    from platformdirs import user_data_path

    return user_data_path("plugin-bridge", appauthor=False) / "takes"


def newest_takes(folder: Path) -> list[Path]:
    """The MIDI files of the takes in `folder`, the newest first; none where there is no folder."""
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if path.suffix == ".mid" and not path.name.startswith(".")]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
