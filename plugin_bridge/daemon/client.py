"""Asking the daemon that runs, from another process of the same user."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote

from plugin_bridge.daemon.address import LOOPBACK, Address, read_address
from plugin_bridge.daemon.folders import Folders
from plugin_bridge.daemon.lock import is_held
from plugin_bridge.daemon.token import read_token
from plugin_bridge.errors import BridgeError

PATIENCE = 10.0
NO_DAEMON = (
    "no daemon runs: start it with plugin-bridge daemon, or for good with plugin-bridge service install"
)


class NoDaemonError(BridgeError):
    """There is none that could be asked."""


class Client:
    """Asks the daemon whose files are in `folders`. NoDaemonError when none runs, which is known by its lock:
    the token is sent to no other program that may have taken its port."""

    def __init__(self, folders: Folders) -> None:
        if not is_held(folders.lock_file):
            raise NoDaemonError(NO_DAEMON)
        self.address: Address = read_address(folders.address_file)
        self.token = read_token(folders.token_file)

    def get(self, path: str) -> Any:
        """What `path` answers. BridgeError with the daemon's reason when it refuses."""
        return self._ask("GET", path, None)

    def put(self, path: str, **body: Any) -> Any:
        """The same, with a body."""
        return self._ask("PUT", path, body)

    def post(self, path: str) -> Any:
        """The same, for what is done rather than set."""
        return self._ask("POST", path, None)

    def delete(self, path: str) -> Any:
        """The same, for what is to be no more."""
        return self._ask("DELETE", path, None)

    def page(self) -> str:
        """The page's address with the token, which stands where no server and no log sees it."""
        return f"{self.address.url}/#token={self.token}"

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        connection = http.client.HTTPConnection(LOOPBACK, self.address.port, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, quote(path), None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BridgeError(f"the daemon does not answer at {self.address.url} ({error})") from error
        finally:
            connection.close()
        try:
            found = json.loads(content)
        except ValueError as error:
            raise BridgeError(f"{self.address.url}{path} answers with no JSON: is it our daemon?") from error
        if response.status >= 400:
            reason = found.get("error") if isinstance(found, dict) else None
            raise BridgeError(str(reason or f"the daemon refused ({response.status})"))
        return found
