"""Setup's questions on a terminal, and what it does to FL Studio."""

from __future__ import annotations

from collections.abc import Sequence

import click


class Terminal:
    """Asks on the terminal."""

    def tell(self, text: str) -> None:
        """Say something."""
        click.echo(text)

    def choose(self, question: str, choices: Sequence[str]) -> int:
        """The number of the choice that was made."""
        click.echo(question)
        for number, choice in enumerate(choices, 1):
            click.echo(f"  {number}  {choice}")
        return int(click.prompt("Number", type=click.IntRange(1, len(choices)))) - 1

    def yes(self, question: str) -> bool:
        """Whether it is wanted."""
        return click.confirm(question, default=True)


def install_fl() -> list[str]:
    """Install the scripts in every FL Studio there is; what is left to do in it."""
    from plugin_bridge.files import takes_folder
    from plugin_bridge.fl.folders import find_folders, this_machine
    from plugin_bridge.fl.installer import CLICKS, install
    from plugin_bridge.fl.takes import last_takes

    found = last_takes(takes_folder())
    roots = find_folders(None, this_machine())
    for root in roots:
        install(root, found)
    return [
        *(f"{root}: the scripts are there" for root in roots),
        "Left to do in FL Studio:",
        *(f"  {number}. {text}" for number, text in enumerate(CLICKS, 1)),
    ]
