"""The daemon's log: a line of JSON an event, in files that are begun anew when they are full."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

ROOT = "plugin_bridge"
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """`time` (UTC), `level`, `logger`, `thread`, `message`, what `extra` had, and `error` with its trace."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; what has no JSON form is shown as text."""
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        row |= {key: value for key, value in vars(record).items() if key not in _PLAIN and key not in row}
        if record.exc_info:
            row["error"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False, default=str)


class _PrivateFiles(RotatingFileHandler):
    """Log files that only the user can read."""

    def _open(self) -> Any:
        os.close(os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        return super()._open()


def start_logging(path: Path, level: str, megabytes: float, files: int) -> None:
    """Log to `path` from now on, and to the standard error output as lines for people. To be called once."""
    root = logging.getLogger(ROOT)
    to_file = _PrivateFiles(path, maxBytes=int(megabytes * 1e6), backupCount=files, encoding="utf-8")
    to_file.setFormatter(JsonLines())
    handlers: list[logging.Handler] = [to_file]
    if sys.stderr is not None:  # there is none under pythonw
        to_people = logging.StreamHandler()
        to_people.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        handlers.append(to_people)
    root.handlers[:] = handlers
    root.propagate = False
    set_level(level)


def set_level(level: str) -> None:
    """Log `level` and what is graver, from now on."""
    logging.getLogger(ROOT).setLevel(level.upper())


def stop_logging() -> None:
    """Close the files."""
    root = logging.getLogger(ROOT)
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.propagate = True


def last_lines(path: Path, count: int) -> list[str]:
    """The latest `count` lines of a log, the oldest first, across files that were begun anew."""
    lines: deque[str] = deque(maxlen=count)
    for each in _oldest_first(path):
        with each.open(encoding="utf-8", errors="replace") as file:
            lines.extend(line.rstrip("\n") for line in file)
    return list(lines)


def for_people(line: str) -> str:
    """A line of the log as people read it; a line that is no JSON as it is."""
    try:
        row = json.loads(line)
        text = f"{row['time']} {row['level']:7} {row['message']}"
        return text + (f"\n{row['error']}" if "error" in row else "")
    except (ValueError, KeyError, TypeError):
        return line


def _oldest_first(path: Path) -> Iterator[Path]:
    numbered = [
        (int(each.suffix[1:]), each)
        for each in path.parent.glob(f"{path.name}.*")
        if each.suffix[1:].isdigit()
    ]
    yield from (each for _, each in sorted(numbered, reverse=True))
    if path.is_file():
        yield path
