"""A whole daemon in this process, on a MIDI system in memory, and what asks it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.port_system import FakeSystem

from plugin_bridge.daemon.folders import Folders
from plugin_bridge.daemon.process import Daemon


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Running:
    """The daemon, its system, and its token."""

    daemon: Daemon
    system: FakeSystem
    token: str

    @property
    def port(self) -> int:
        return self.daemon.address.port

    def raw(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> Answer:
        """A request with these headers and no others but Host, where it is not among them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def ask(self, method: str, path: str, value: Any = None) -> Answer:
        """A request as our own client makes it."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if value is None:
            return self.raw(method, path, headers)
        return self.raw(method, path, {**headers, "Content-Type": "application/json"}, json.dumps(value))


def folders_in(root: Path) -> Folders:
    return Folders(root, root / "state", root / "takes")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folders = folders_in(tmp_path_factory.mktemp("daemon"))
    folders.config_file.write_text("[api]\nport = 0\n", encoding="utf-8")
    system = FakeSystem(["Keys:1"], ["Synth:1"])
    with Daemon(folders, system=system, log=False) as daemon:
        yield Running(daemon, system, folders.token_file.read_text().strip())
    assert system.misuse == []
    assert system.open_ports == []
