"""The test synth, built once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.programs import not_here
from fakes.vst3 import build_test_synth


@pytest.fixture(scope="session")
def _built_synth(tmp_path_factory: pytest.TempPathFactory) -> Path | str:
    try:
        return build_test_synth(tmp_path_factory.mktemp("synth"))
    except RuntimeError as error:
        return str(error)


@pytest.fixture
def synth(_built_synth: Path | str) -> Path:
    """A real VST3 instrument: a sine for each note."""
    if isinstance(_built_synth, str):
        not_here(_built_synth)
    assert isinstance(_built_synth, Path)
    return _built_synth
