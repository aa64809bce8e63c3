"""Why the daemon refuses what it is asked, beside a value that is wrong."""

from __future__ import annotations

from plugin_bridge.errors import BridgeError


class NotThereError(BridgeError):
    """What was named does not exist."""


class TooManyError(BridgeError):
    """There is no room for another one."""


class NotNowError(BridgeError):
    """It cannot be done as things are; the message says what to do first."""
