"""Python's cyclic garbage: sought among what came lately only, so that it takes no time while music plays.

A whole search goes through everything that lives, and Python puts it off until a quarter as much has been
added: what a program of this size throws away in cycles would pile up for hours, and then be sought for tens
of milliseconds. What lives until the end is set apart instead (`gc.freeze`).
"""

from __future__ import annotations

import gc


def settle() -> None:
    """Search everything, then set apart what is left: it is not looked at again until the next call. Takes
    tens of milliseconds: for when nothing plays."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.collect()  # so that Python counts anew: next to nothing lives now, by its book


def sweep() -> None:
    """Search what came since `settle`: a millisecond or so."""
    gc.collect()


def unsettle() -> None:
    """Nothing is set apart any more."""
    gc.unfreeze()
