"""The latest of a series."""

from __future__ import annotations

import pytest

from plugin_bridge.latest import Latest


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 10, 13])
def test_the_latest_are_kept_in_order(count: int) -> None:
    latest = Latest(5)
    for value in range(count):
        latest.append(float(value))
    assert list(latest) == [float(value) for value in range(max(count - 5, 0), count)]
    assert len(latest) == min(count, 5)


def test_what_was_cleared_is_gone() -> None:
    latest = Latest(3)
    for value in range(7):
        latest.append(float(value))
    latest.clear()
    assert list(latest) == []
    latest.append(1.5)
    assert list(latest) == [1.5]
