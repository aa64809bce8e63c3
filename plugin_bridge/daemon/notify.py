"""Telling a supervisor that the daemon is ready and alive: systemd's protocol, sd_notify(3).

The supervisor names a datagram socket in NOTIFY_SOCKET, and in WATCHDOG_USEC how long it waits for a sign
of life before it takes the process for hung. Without these nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class Supervisor:
    """Who watches over this process, by its environment. One thread."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = _seconds(environment)

    @property
    def interval(self) -> float | None:
        """How often, in seconds, it should be told that all is well: half of its patience."""
        return None if self._watchdog is None else self._watchdog / 2

    def ready(self, status: str) -> None:
        """The daemon is there."""
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """All is well."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The daemon is about to end in order."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.sendto(text.encode(), self._address)
        except OSError as error:
            logger.warning("the supervisor cannot be told: %s", error)


def _seconds(environment: Mapping[str, str]) -> float | None:
    meant = environment.get("WATCHDOG_PID", str(os.getpid()))
    number = environment.get("WATCHDOG_USEC", "")
    if meant != str(os.getpid()) or not number.isdigit() or int(number) == 0:
        return None
    return int(number) / 1e6
