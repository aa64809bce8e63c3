"""`plugin-bridge service`: the daemon at logon, as a service of the operating system."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group()
def service() -> None:
    """The daemon at logon: systemd, launchd or Windows' task scheduler."""


@service.command("install")
def install_command() -> None:
    """Start the daemon now and at each logon, and again when it fails. May be repeated."""
    from plugin_bridge.daemon.services.service import this_service

    for line in this_service().install():
        click.echo(line)


@service.command("uninstall")
def uninstall_command() -> None:
    """Stop the daemon, and start it no more."""
    from plugin_bridge.daemon.services.service import this_service

    for line in this_service().uninstall():
        click.echo(line)


@service.command("status")
@_json
def status_command(as_json: bool) -> None:
    """Say whether the service is installed and runs. Exit status 1 where it is not installed."""
    from plugin_bridge.daemon.services.service import this_service

    found = this_service().status()
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        click.echo(f"{'installed' if found.installed else 'not installed'}: {found.what} ({found.file})")
        if not found.installed:
            click.echo("  -> plugin-bridge service install")
    if not found.installed:
        raise click.exceptions.Exit(1)


@service.command("logs")
@click.option("-n", "--lines", type=click.IntRange(1, 100_000), default=50, show_default=True)
@_json
def logs_command(lines: int, as_json: bool) -> None:
    """Print the latest lines of the daemon's log."""
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.daemon.logs import for_people, last_lines
    from plugin_bridge.errors import BridgeError

    path = user_folders().log_file
    found = last_lines(path, lines)
    if not found:
        raise BridgeError(f"{path}: there is no log yet; start the daemon first")
    for line in found:
        click.echo(line if as_json else for_people(line))
