"""Plugin Bridge: a duet partner that learned your style, in your DAW."""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    """The version, looked up when it is asked for: that takes longer than all else the port keeper loads."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("plugin-bridge")
    except PackageNotFoundError:  # running from a source tree that was never installed
        return "0+unknown"
