"""Plugin Bridge: a duet partner that learned your style, in your DAW."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("plugin-bridge")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"
