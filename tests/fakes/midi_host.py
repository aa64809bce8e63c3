"""A MIDI host in a process of its own: plays a file into the partner and records what comes back.

    python tests/fakes/midi_host.py PLAY.mid RECORD.json --out-port "Plugin Bridge In" \
        --in-port "Plugin Bridge Out"

A plain MIDI client that knows nothing of this project but its port names. All times are seconds of
`time.perf_counter`, which is one clock for all processes of a machine. RECORD.json holds `started`,
`played` and `recorded`: rows of [time, [bytes]]. It is written whole or not at all, also after SIGTERM;
what was sounding then is released first. Exit status 1 when a port does not turn up.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import rtmidi

Row = tuple[float, list[int]]


def main() -> int:
    options = _arguments()
    api = rtmidi.get_compiled_api_by_name(options.api) if options.api else rtmidi.API_UNSPECIFIED
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    output = rtmidi.MidiOut(api, name="Host Out")
    source = rtmidi.MidiIn(api, name="Host In", queue_size_limit=65536)
    source.ignore_types(sysex=False, timing=False, active_sense=True)
    try:
        connect(output, options.out_port, options.wait, stop)
        connect(source, options.in_port, options.wait, stop)
        print("connected", flush=True)
        recorder = Recorder(source)
        try:
            started = time.perf_counter() + options.lead
            played = play(options.play, output, started, stop)
            stop.wait(options.tail)
        finally:
            recorded = recorder.finish()  # before the port it reads is freed
    except LookupError as error:
        print(f"midi_host: error: {error}", file=sys.stderr)
        return 1
    finally:
        for port in (source, output):
            port.close_port()
            time.sleep(0.05)  # jack2 crashes now and then when a client goes while the graph still changes
            port.delete()
    write(
        options.record, {"clock": "perf_counter", "started": started, "played": played, "recorded": recorded}
    )
    return 0


def connect(port: Any, name: str, patience: float, stop: threading.Event) -> None:
    """Connect to the one port that has `name` in its name, waiting for it. LookupError without one."""
    deadline = time.perf_counter() + patience
    while True:
        names = port.get_ports()
        found = [index for index, full in enumerate(names) if name in full]
        if len(found) == 1:
            port.open_port(found[0], name="host")
            return
        if time.perf_counter() > deadline or stop.is_set():
            raise LookupError(f"{len(found)} ports with {name!r} among {names}")
        time.sleep(0.05)


def play(path: Path, output: Any, started: float, stop: threading.Event) -> list[Row]:
    """Send the file's messages at their times, the first beat at `started`."""
    rows: list[Row] = []
    sounding: set[tuple[int, int]] = set()
    for offset, message in _timeline(path):
        if stop.wait(max(0.0, started + offset - time.perf_counter())):
            break
        rows.append((time.perf_counter(), message))
        output.send_message(message)
        if message[0] >= 0xC0:
            continue
        kind, key = message[0] & 0xF0, (message[0] & 0x0F, message[1])
        if kind == 0x90 and message[2] > 0:
            sounding.add(key)
        elif kind in (0x80, 0x90):
            sounding.discard(key)
    for channel, pitch in sorted(sounding):
        message = [0x80 | channel, pitch, 64]
        rows.append((time.perf_counter(), message))
        output.send_message(message)
    return rows


class Recorder:
    """Collects what arrives, in a thread that fetches every half millisecond."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._rows: list[Row] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> list[Row]:
        """Stop, and give the rows."""
        self._done.set()
        self._thread.join()
        return self._rows

    def _run(self) -> None:
        while not self._done.is_set():
            got = self._source.get_message()
            if got is None:
                time.sleep(0.0005)
            else:
                self._rows.append((time.perf_counter(), list(got[0])))


def write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(path)


def _timeline(path: Path) -> Iterator[tuple[float, list[int]]]:
    if path.suffix == ".json":  # rows of [seconds, [bytes]]: anything, real time messages too
        yield from json.loads(path.read_text(encoding="utf-8"))
        return
    seconds = 0.0
    for message in mido.MidiFile(path):  # iterating gives each delta in seconds, by the tempo map
        seconds += message.time
        if not message.is_meta and message.bytes()[0] < 0xF0:
            yield seconds, message.bytes()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="play a MIDI file into a port and record another")
    parser.add_argument("play", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("--out-port", required=True, help="part of the name of the port to play into")
    parser.add_argument("--in-port", required=True, help="part of the name of the port to record")
    parser.add_argument(
        "--api", choices=["alsa", "jack", "core", "winmm"], help="default: the first there is"
    )
    parser.add_argument("--wait", type=float, default=10.0, help="seconds to wait for the ports")
    parser.add_argument("--lead", type=float, default=0.5, help="seconds between connecting and the file")
    parser.add_argument("--tail", type=float, default=2.0, help="seconds to record after the file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
