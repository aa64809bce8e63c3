"""The page's files, read once: what is not among them cannot be asked for, whatever the path."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

_TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PageFile:
    """What is sent, and as what."""

    content: bytes
    media_type: str


def page_files() -> dict[str, PageFile]:
    """The files by the path under which they are served."""
    found: dict[str, PageFile] = {}
    for item in files("plugin_bridge.daemon").joinpath("page").iterdir():
        name = item.name
        suffix = name[name.rfind(".") :]
        if suffix in _TYPES:
            found[f"/page/{name}"] = PageFile(item.read_bytes(), _TYPES[suffix])
    for path, name in (("/", "index.html"), ("/docs", "docs.html"), ("/favicon.ico", "icon.svg")):
        if f"/page/{name}" in found:
            found[path] = found[f"/page/{name}"]
    return found
