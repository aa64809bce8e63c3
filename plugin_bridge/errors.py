"""The one error type that the command line prints as a single line with exit status 2."""

from __future__ import annotations


class BridgeError(Exception):
    """Something the user can mend. The message names the file, port or value and says what to do."""
