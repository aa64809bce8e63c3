"""What a daemon needs beside what every duet needs (`plugin_bridge.duet.doctor`), examined one by one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from plugin_bridge.daemon.client import Client, NoDaemonError
from plugin_bridge.daemon.config import read_config
from plugin_bridge.daemon.folders import Folders
from plugin_bridge.daemon.saved_connections import read_connections
from plugin_bridge.daemon.services.service import Service, this_service
from plugin_bridge.daemon.token import read_token
from plugin_bridge.duet.doctor import Finding
from plugin_bridge.errors import BridgeError

SLOW_P99_MS = 50.0
"""Milliseconds of reaction above which a player feels that the partner lags."""


def examine_daemon(folders: Folders, service: Callable[[], Service] = this_service) -> list[Finding]:
    """Examine the daemon, its files and its service. Nothing is changed."""
    return [*_files(folders), *_service(service), *_running(folders)]


def _files(folders: Folders) -> Iterator[Finding]:
    edit = "plugin-bridge config edit"
    for what, read, path, mend in (
        ("configuration", read_config, folders.config_file, edit),
        (
            "connections",
            read_connections,
            folders.connections_file,
            f"mend or remove {folders.connections_file}",
        ),
    ):
        try:
            read(path)
        except BridgeError as error:
            yield Finding(what, str(error), False, mend)
        else:
            yield Finding(what, str(path) if path.exists() else "the defaults", True)
    if folders.token_file.exists():
        try:
            read_token(folders.token_file)
        except BridgeError as error:
            yield Finding("token", str(error), False, "restart the daemon")


def _service(service: Callable[[], Service]) -> Iterator[Finding]:
    try:
        status = service().status()
    except BridgeError as error:
        yield Finding("service", str(error), True)
        return
    mend = "" if status.installed else "plugin-bridge service install has the partner there at each login"
    yield Finding("service", status.what if status.installed else "not installed", True, mend)


def _running(folders: Folders) -> Iterator[Finding]:
    try:
        client = Client(folders)
    except NoDaemonError:
        yield Finding(
            "daemon", "does not run", True, "plugin-bridge daemon, or plugin-bridge service install"
        )
        return
    except BridgeError as error:
        yield Finding("daemon", str(error), False, "restart it")
        return
    try:
        state, ports = client.get("/api/state"), client.get("/api/ports")
    except BridgeError as error:
        yield Finding("daemon", str(error), False, "plugin-bridge service logs says more; restart it")
        return
    good = state["duet"] == "playing"
    found = f"{state['duet']} at {client.address.url}" + (f": {state['problem']}" if not good else "")
    yield Finding("daemon", found, good, "" if good else "plugin-bridge ctl style base, or another style")
    for problem in ports["problems"]:
        yield Finding("ports", problem, False, _mend_ports())
    for each in ports["waiting"]:
        way = "from" if each["direction"] == "input" else "to"
        yield Finding(
            "connection", f"{way} {each['pattern']!r}: it is not there", True,
            f"plug it in, or plugin-bridge ctl disconnect {each['direction']} {each['pattern']!r}",
        )  # fmt: skip
    if state["restart_needed"]:
        yield Finding(
            "configuration", f"{', '.join(state['restart_needed'])} changed and waits for a restart", True,
            "restart the daemon",
        )  # fmt: skip
    yield from _speed(client)


def _speed(client: Client) -> Iterator[Finding]:
    try:
        reaction = client.get("/api/metrics")["report"]["reaction_ms"]
    except BridgeError:
        return
    if not reaction["n"]:
        return
    slow = reaction["p99"] > SLOW_P99_MS
    mend = "close other programs, or plan less: plugin-bridge ctl set lookahead 0.4" if slow else ""
    found = f"p50 {reaction['p50']:.1f} ms, p99 {reaction['p99']:.1f} ms over {reaction['n']}"
    yield Finding("reaction", found, not slow, mend)


def _mend_ports() -> str:
    if sys.platform == "win32":
        return "install loopMIDI or use Windows MIDI Services, create the ports, and connect them by name"
    return "start a JACK server or load ALSA's sequencer (modprobe snd-seq); stop another Plugin Bridge"
