"""Where the daemon keeps its files: under the platform's folders, or all in one of the user's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from plugin_bridge.errors import BridgeError

HOME_VARIABLE = "PLUGIN_BRIDGE_HOME"
"""Names one folder for everything of the daemon's, such as a test's or a portable installation's."""


@dataclass(frozen=True, slots=True)
class Folders:
    """`config` is the user's; `state` is the daemon's own, which only the user can read."""

    config: Path
    state: Path
    takes: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def connections_file(self) -> Path:
        """What ports are connected: written by the daemon, by `setup` and `ctl`."""
        return self.config / "connections.toml"

    @property
    def knobs_file(self) -> Path:
        """Which knobs were learned for which controls: written by the daemon and by `jam`."""
        return self.config / "knobs.json"

    @property
    def token_file(self) -> Path:
        return self.state / "token"

    @property
    def lock_file(self) -> Path:
        return self.state / "daemon.lock"

    @property
    def address_file(self) -> Path:
        """Where the running daemon listens."""
        return self.state / "daemon.json"

    @property
    def log_file(self) -> Path:
        return self.state / "daemon.log"


def user_folders() -> Folders:
    """The folders of the user who runs this."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        root = Path(home).expanduser().absolute()
        return Folders(root, root / "state", root / "takes")
    from platformdirs import user_config_path, user_state_path

    from plugin_bridge.files import takes_folder

    state = user_state_path("plugin-bridge", appauthor=False)
    return Folders(user_config_path("plugin-bridge", appauthor=False), state, takes_folder())


def make_private(folder: Path) -> None:
    """Make a folder that nobody but the user can look into. BridgeError when that cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix":
            if folder.stat().st_uid != os.getuid():
                raise BridgeError(f"{folder}: belongs to another user; remove it, or set {HOME_VARIABLE}")
            folder.chmod(0o700)
    except OSError as error:
        raise BridgeError(f"{folder}: cannot be made ({error.strerror}); set {HOME_VARIABLE}") from error
