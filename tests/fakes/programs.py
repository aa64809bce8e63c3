"""What the system has to bring for some tests, and what happens without."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def not_here(reason: str) -> NoReturn:
    """Skip, or fail where everything has to be there."""
    if os.environ.get("PLUGIN_BRIDGE_REQUIRE_LIVE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str) -> str:
    """Where a program is."""
    found = shutil.which(name)
    if found is None:
        not_here(f"{name} is missing")
    return found
