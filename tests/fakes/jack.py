"""A JACK server without hardware: real virtual MIDI ports for live tests."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

START_SECONDS = 15.0
_ASK = "import rtmidi; rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name='waiting').delete()"


@dataclass(frozen=True, slots=True)
class JackServer:
    """A running server; `env` is what a child process needs to reach it."""

    name: str
    process: subprocess.Popen[bytes]
    env: dict[str, str]
    log: Path


def start_jack(name: str, log: Path, *, waits: bool = True, realtime: bool = False) -> JackServer:
    """Start a server called `name` and wait until it answers. RuntimeError with its log when it does not.

    With `waits` it waits for its clients in each cycle: without that a busy machine loses about one message
    in a hundred, but with it a client that is killed holds all the others up for five seconds. With
    `realtime` its threads, and those that it calls, go before all others, which not every system allows.
    """
    program = shutil.which("jackd")
    if program is None:
        raise RuntimeError("jackd is not installed (Debian and Ubuntu: apt-get install jackd2)")
    env = {**os.environ, "JACK_DEFAULT_SERVER": name, "JACK_NO_START_SERVER": "1"}
    env["JACK_NO_AUDIO_RESERVATION"] = "1"
    how = ["-R" if realtime else "-r", *(["-S"] if waits else [])]
    command = [program, "-n", name, *how, "-d", "dummy", "-r", "48000", "-p", "64"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    server = JackServer(name, process, env, log)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            asked = subprocess.run(
                [sys.executable, "-c", _ASK], env=env, capture_output=True, timeout=START_SECONDS
            )
            if asked.returncode == 0:
                return server
        time.sleep(0.1)
    stop_jack(server)
    raise RuntimeError(f"jackd did not start: {log.read_text(errors='replace')[-2000:]}")


def _end_with_parent() -> None:
    """Ask Linux for a SIGTERM when the test run is killed: PR_SET_PDEATHSIG is option 1 of prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def stop_jack(server: JackServer) -> None:
    """End the server and everything in its process group."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(15)  # one that is killed leaves its place taken: there are eight
            break
    for left in Path("/dev/shm").glob(f"jack_sem.*_{server.name}_*"):  # of clients that it did not see leave
        left.unlink(missing_ok=True)


def no_live_ports(reason: str) -> NoReturn:
    """Without a server the live tests fail on Linux, where there is one for every machine; elsewhere they are
    skipped."""
    if sys.platform == "linux":
        pytest.fail(f"live tests need JACK: {reason}")
    pytest.skip(f"no live MIDI ports: {reason}")
