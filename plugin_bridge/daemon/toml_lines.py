"""On which line of a TOML text a key stands. Python's parser does not say, but it can be asked."""

from __future__ import annotations

import tomllib
from typing import Any, TypeAlias

TomlPath: TypeAlias = tuple[str, ...]


def line_of(text: str, path: TomlPath) -> int:
    """The line, from 1, on which the entry of `path` begins; 1 where it is not in the text.

    The shortest beginning of the text, in whole lines, that has the key ends with its entry; the entry
    begins after the longest one before that which parses without it. So this holds for all that TOML allows.
    """
    lines = text.splitlines(keepends=True)
    begins = 1
    for count in range(1, len(lines) + 1):
        try:
            found: Any = tomllib.loads("".join(lines[:count]))
        except (tomllib.TOMLDecodeError, RecursionError, ValueError):
            continue
        if _has(found, path):
            return begins
        begins = count + 1
    return 1


def _has(found: Any, path: TomlPath) -> bool:
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True
