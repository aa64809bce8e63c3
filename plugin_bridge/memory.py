"""Memory of a program that runs for weeks while music plays: looked after at little cost, and given back.

Python's cyclic garbage: a whole search goes through everything that lives, and Python puts it off until a
quarter as much has been added. What a program of this size throws away in cycles would pile up for hours, and
then be sought for tens of milliseconds. What lives until the end is set apart instead (`gc.freeze`).

The C library's heap: glibc gives back what was freed at its end only, and takes ever larger pieces from it
once such a piece has been freed. A style's tensors would leave holes there each time another style is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Callable

_MMAP_THRESHOLD, _LARGE = -3, 256 * 1024
"""Of mallopt(3): from how many bytes on a piece is mapped by itself, and given back whole."""


def settle() -> None:
    """Search everything for garbage, then set apart what is left: it is not looked at again until the next
    call. From now on large pieces are mapped by themselves. Takes tens of milliseconds: for when nothing
    plays."""
    gc.unfreeze()
    gc.collect()
    set_apart()
    _glibc(lambda library: library.mallopt(_MMAP_THRESHOLD, _LARGE))


def set_apart() -> None:
    """Set apart what has come since, garbage or not. Takes no time."""
    gc.freeze()
    gc.collect()  # so that Python counts anew: next to nothing lives now, by its book


def sweep() -> None:
    """Search what came since `settle`, and give back to the system what was freed. Takes some 4 ms."""
    gc.collect()
    _glibc(lambda library: library.malloc_trim(0))


def unsettle() -> None:
    """Nothing is set apart any more."""
    gc.unfreeze()


def _glibc(call: Callable[[ctypes.CDLL], object]) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            call(ctypes.CDLL(None))
