"""Which port a user means by a name, a part of a name, or a number."""

from __future__ import annotations

import re
from collections.abc import Sequence

from plugin_bridge.errors import BridgeError

_ALSA_ADDRESS = re.compile(r"\s\d+:\d+$")  # "Client:Port 128:0"


def short_name(name: str) -> str:
    """The port's own name without its client and without ALSA's address: "Piano:Out 128:0" is "Out"."""
    bare = bare_name(name)
    return bare.partition(":")[2] or bare


def client_of(name: str) -> str:
    """The client's name: "Piano:Out 128:0" is "Piano"."""
    return name.partition(":")[0]


def bare_name(name: str) -> str:
    """The name without ALSA's address, which changes from one connecting to the next."""
    return _ALSA_ADDRESS.sub("", name)


def choose_port(wanted: str | int, names: Sequence[str], direction: str) -> int:
    """The index in `names` of the port that `wanted` means.

    Tried in this order: the exact full name, the exact short name, the number, a part of the name without
    regard to case. A step that fits several ports is an error, never a guess. `direction` ("input" or
    "output") is for the message.

    Raises BridgeError when nothing fits or several do; it lists what is there.
    """
    if isinstance(wanted, int):
        return _by_number(wanted, names, direction)
    steps = (
        [i for i, name in enumerate(names) if name == wanted],
        [i for i, name in enumerate(names) if short_name(name) == wanted],
    )
    for found in steps:
        if found:
            return _only(found, wanted, names, direction)
    if wanted.isascii() and wanted.isdigit():
        return _by_number(int(wanted), names, direction)
    part = wanted.casefold()
    found = [i for i, name in enumerate(names) if part and part in name.casefold()]
    return _only(found, wanted, names, direction)


def describe(names: Sequence[str], direction: str) -> str:
    """One phrase that lists `names` with their numbers."""
    if not names:
        return f"there are no MIDI {direction}s"
    return f"MIDI {direction}s: " + ", ".join(f"{i} {name!r}" for i, name in enumerate(names))


def _by_number(number: int, names: Sequence[str], direction: str) -> int:
    if not 0 <= number < len(names):
        raise BridgeError(f"no MIDI {direction} number {number}; {describe(names, direction)}")
    return number


def _only(found: Sequence[int], wanted: str, names: Sequence[str], direction: str) -> int:
    if not found:
        raise BridgeError(f"no MIDI {direction} named {wanted!r}; {describe(names, direction)}")
    if len(found) > 1:
        several = ", ".join(f"{i} {names[i]!r}" for i in found)
        raise BridgeError(f"MIDI {direction} {wanted!r} fits several ports ({several}): give the number")
    return found[0]
