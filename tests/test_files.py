"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path


def test_success_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "take.bin"
    target.write_bytes(b"old")
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".bin"
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_exception_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "take.bin"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission denied"), (errno.EROFS, "permission denied")],
)
def test_what_the_disk_refuses_is_said_in_one_line(tmp_path: Path, code: int, words: str) -> None:
    target = tmp_path / "take.wav"
    with pytest.raises(BridgeError, match=words) as caught, atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(code, os.strerror(code))
    assert str(target) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named_before_any_work(tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "take.wav"
    with pytest.raises(BridgeError, match="nowhere"), atomic_path(target):
        pytest.fail("the block must not run")
    assert not target.parent.exists()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="is a folder"), atomic_path(tmp_path):
        pytest.fail("the block must not run")


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out.wav") as temporary:
        temporary.write_bytes(b"half")
        (tmp_path / "input.mid").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_still_fits(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250 + ".wav")
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"x")
    assert target.read_bytes() == b"x"
