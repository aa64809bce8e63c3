"""Whole numbers as differences: what is written is read back, whatever the numbers and the damage."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from plugin_bridge.duet.differences import Differences, read_number, write_number
from plugin_bridge.errors import BridgeError

NUMBERS = st.integers(-(2**62), 2**62)


@given(st.lists(NUMBERS))
def test_a_series_comes_back_as_it_went_in(numbers: list[int]) -> None:
    series = Differences()
    for number in numbers:
        series.append(number)
    again = Differences(bytes(series))
    assert list(again) == list(series) == numbers
    assert len(again) == len(series) == len(numbers)
    again.append(7)
    assert list(again) == [*numbers, 7]
    assert list(series) == numbers


@pytest.mark.parametrize(
    ("number", "encoded"), [(0, "00"), (-1, "01"), (1, "02"), (63, "7e"), (64, "8001"), (-65, "8101")]
)
def test_numbers_are_written_as_protocol_buffers_write_them(number: int, encoded: str) -> None:
    data = bytearray()
    write_number(data, number)
    assert data.hex() == encoded
    assert read_number(data, 0) == (number, len(data))


@given(st.binary(max_size=40))
def test_damaged_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        series = Differences(data)
    except BridgeError:
        return
    assert len(list(series)) == len(series)


@pytest.mark.parametrize("data", [b"\x80", b"\x01\x80", b"\x80" * 10 + b"\x01"])
def test_a_number_cut_off_or_too_long_is_refused(data: bytes) -> None:
    with pytest.raises(BridgeError):
        Differences(data)


def test_what_changes_little_takes_little() -> None:
    series = Differences()
    for index in range(1000):
        series.append(10**9 + index * 60)
    assert series.size < 2100
    assert series.copy().size == series.size
