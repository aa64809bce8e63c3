"""A plugin in a process of its own, from outside: a crash or a hang costs one request, not the program.

One thread at a time. A timer of its own kills a process that does not answer in time.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.framing import receive, send
from plugin_bridge.render.instruments import PluginSpec
from plugin_bridge.render.piano import Audio

DEFAULT_TIME_LIMIT = 120.0
"""Seconds that a plugin may take for one clip, or to load."""


class PluginHost:
    """Plays or processes through one plugin. The process starts with the first request, and again after it
    was lost. Every method raises BridgeError, naming the plugin, when it refuses, crashes or hangs."""

    def __init__(self, spec: PluginSpec, time_limit: float = DEFAULT_TIME_LIMIT) -> None:
        self.spec = spec
        self.time_limit = time_limit
        self._process: subprocess.Popen[bytes] | None = None

    def describe(self, use: Literal["instrument", "effect", "any"], sample_rate: int) -> dict[str, Any]:
        """`name`, `maker`, `version`, `instrument` and `parameters`; tries it for that use on silence."""
        return self._ask({"do": "describe", "use": use, "sample_rate": sample_rate})[0]

    def play(
        self, messages: Sequence[tuple[bytes, float]], seconds: float, sample_rate: int, tail: float
    ) -> Audio:
        """The sound of MIDI `messages` (bytes, seconds) over `seconds`, and on until it is silent or `tail`
        seconds are over: float32 [2, samples]."""
        listed = [(message.hex(), time) for message, time in messages]
        request = {
            "do": "play", "messages": listed, "seconds": seconds, "sample_rate": sample_rate, "tail": tail
        }  # fmt: skip
        return self._sound(self._ask(request)[1])

    def process(self, audio: Audio, sample_rate: int, tail: float) -> Audio:
        """`audio`, float32 [2, samples], through the effect, with its tail."""
        return self._sound(self._ask({"do": "process", "sample_rate": sample_rate, "tail": tail}, audio)[1])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._reap(self._process)

    def __enter__(self) -> PluginHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self, request: dict[str, Any], audio: Audio | None = None
    ) -> tuple[dict[str, Any], Audio | None]:
        process = self._process or self._start()
        hung = threading.Event()

        def end_it() -> None:
            hung.set()
            process.kill()

        timer = threading.Timer(self.time_limit, end_it)
        timer.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            send(process.stdin, request | {"plugin": self._settings()}, audio)
            header, sound = receive(process.stdout)
        except (EOFError, OSError) as error:
            self._reap(process)
            if hung.is_set():
                raise BridgeError(
                    f"plugin {self.spec} did not answer within {self.time_limit:g} s and was ended"
                ) from error
            raise BridgeError(f"plugin {self.spec} crashed ({_how(process.returncode)})") from error
        except BaseException:
            self.close()  # an interrupt: nobody will read the answer that is on its way
            raise
        finally:
            timer.cancel()
        if not header.pop("ok"):
            raise BridgeError(f"plugin {self.spec}: {header['reason']}")
        return header, sound

    def _settings(self) -> dict[str, Any]:
        spec = self.spec
        return {
            "path": str(spec.path), "name": spec.name, "preset": str(spec.preset) if spec.preset else None,
            "parameters": spec.parameters,
        }  # fmt: skip

    def _start(self) -> subprocess.Popen[bytes]:
        """A session of its own: an interrupt at the terminal is for the program, which then ends it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "plugin_bridge.render.plugin_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)  # one that crashed is ending, and its status says how
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process = None

    def _sound(self, audio: Audio | None) -> Audio:
        if audio is None or audio.ndim != 2 or audio.shape[0] != 2:
            raise BridgeError(f"plugin {self.spec}: gave no stereo sound")
        return audio


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
