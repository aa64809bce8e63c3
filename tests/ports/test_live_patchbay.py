"""Ports that come and go on a real MIDI system: devices of other clients, and the server itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform != "linux", reason="JACK without hardware runs on Linux"),
]

ROUNDS = Path(__file__).parents[2] / "benchmarks" / "port_rounds.py"


def test_losses_and_returns_in_random_order(jack_server: Any) -> None:
    command = [sys.executable, str(ROUNDS), "--rounds", "10", "--json"]
    done = subprocess.run(
        command, env=jack_server.env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.stdout, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["rounds"] == report["reconnected"] == 10, done.stderr[-2000:]
    assert report["hung_notes"] == 0
    assert (report["leaked_threads"], report["leaked_handles"]) == (0, 0)
