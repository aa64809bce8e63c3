"""The command line: one command a job, thin. Each parses, calls, and prints.

What the user can mend is one line, `plugin-bridge: error: ...`, with exit status 2; an interrupt ends with
status 130 and everything closed (`jam` is meant to be ended so: its status is 0). Heavy modules are
imported inside the command that needs them.
"""

from __future__ import annotations

import errno
import sys
from typing import NoReturn

import click

from plugin_bridge.commands.learn import LEARN
from plugin_bridge.commands.measure import bench
from plugin_bridge.commands.play import PLAY
from plugin_bridge.daemon.commands import register as register_daemon
from plugin_bridge.errors import BridgeError
from plugin_bridge.fl.commands import fl
from plugin_bridge.render.commands import instruments, render

PROGRAM = "plugin-bridge"


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        status = commands(standalone_mode=False, prog_name=PROGRAM)
    except click.ClickException as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo(f"{PROGRAM}: interrupted", err=True)
        sys.exit(130)
    except BridgeError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.EDQUOT,
            errno.ENOENT,
        ):
            raise
        _fail(f"{error.filename or 'a file'}: {error.strerror}")
    sys.exit(status if isinstance(status, int) else 0)  # click returns the status that a command exits with


def _fail(message: str) -> NoReturn:
    click.echo(f"{PROGRAM}: error: {' '.join(message.split())}", err=True)
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="plugin-bridge", prog_name=PROGRAM)
def commands() -> None:
    """A duet partner that learned your style: play into a port, the partner answers."""


for _each in (*PLAY, *LEARN, bench, fl, render, instruments):
    commands.add_command(_each)
register_daemon(commands)

if __name__ == "__main__":
    main()
