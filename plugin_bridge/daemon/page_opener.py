"""Opening the page with its token, which must not stand in a command line: every user can list those."""

from __future__ import annotations

import html
from pathlib import Path

from plugin_bridge.daemon.token import write_private

_OPENER = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>Plugin Bridge</title>
<a href="{address}">The page of Plugin Bridge</a>
"""


def write_opener(folder: Path, address: str) -> Path:
    """A file in `folder`, for the user alone, that leads a browser to `address`."""
    path = folder / "open.html"
    write_private(path, _OPENER.format(address=html.escape(address, quote=True)))
    return path
