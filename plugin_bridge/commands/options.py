"""What commands share: options, progress bars, and how things are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plugin_bridge.errors import BridgeError

if TYPE_CHECKING:
    from plugin_bridge.engine.bundle import Style
    from plugin_bridge.engine.engine import Engine

_Item = TypeVar("_Item")

PATH = click.Path(path_type=Path)


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


adherence_option = click.option(
    "--adherence",
    type=click.FloatRange(0, 20),
    default=3.0,
    show_default=True,
    help="How strictly to keep to the chords: nats taken from notes outside them.",
)


takes_option = click.option("--takes", type=PATH, help="Folder of the takes; without it, the user's own.")


style_option = click.option(
    "--style",
    "style_name",
    default="base",
    show_default=True,
    help="A style's name or folder, or a blend: evans=0.7,mine=0.3.",
)


def load(style_name: str) -> Style:
    from plugin_bridge.engine.adapters import choose_style

    return choose_style(style_name)


def make_engine(style_name: str) -> Engine:
    from plugin_bridge.engine.engine import Engine

    return Engine(load(style_name))


def make_folder(folder: Path) -> None:
    """Make a folder to write to, or say why that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BridgeError(f"{folder}: is a file, not a folder; choose another") from error
    except OSError as error:
        raise BridgeError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error


def training_module(name: str) -> Any:
    """A module of the training side; says which extra to install where it is missing."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise BridgeError(
            f"this command needs {error.name}: python -m pip install 'plugin-bridge[train]'"
        ) from error


def pair(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise BridgeError(f"{text!r} is not of the form {form}")
    return name, value


def number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise BridgeError(f"{name}: {text!r} is not a number") from error
    if not 0 <= value <= 100:
        raise BridgeError(f"{name}: {text} is not a weight between 0 and 100")
    return value


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


def print_report(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    for key, value in report.items():
        click.echo(f"{key}: {spread_text(value) if isinstance(value, dict) and 'p50' in value else value}")


def spread_text(value: dict[str, Any]) -> str:
    if not value["n"]:
        return "not measured"
    return f"p50 {value['p50']:.1f} ms, p99 {value['p99']:.1f} ms (n={value['n']})"


def progress_bar(items: Iterable[_Item], what: str, total: int) -> Iterable[_Item]:
    from tqdm import tqdm

    progress: Iterable[_Item] = tqdm(items, desc=what, total=total, disable=None, leave=False)
    return progress


@contextmanager
def bar(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar that is told where it stands; nothing where no terminal is there."""
    from tqdm import tqdm

    with tqdm(desc=what, total=round(total), disable=None, leave=False, unit="s") as bar:

        def reach(value: float) -> None:
            bar.n = round(value)
            bar.refresh()

        yield reach
