"""What tests of several packages share: a JACK server without hardware, for real virtual MIDI ports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest
from fakes.jack import JackServer, no_live_ports, start_jack, stop_jack

if TYPE_CHECKING:
    from model.base import Base
    from plugin_bridge.engine.bundle import Style

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever goes through the server is `live`, also when nobody wrote so."""
    for item in items:
        if "jack_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session", autouse=True)
def _nothing_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The styles of whoever runs the tests are none of theirs: this process and its children find none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def _session_jack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JackServer | str]:
    try:
        server = start_jack(f"pbtest{os.getpid()}", tmp_path_factory.mktemp("jack") / "jackd.log")
    except RuntimeError as error:
        yield str(error)
        return
    try:
        yield server
    finally:
        stop_jack(server)


@pytest.fixture
def jack_server(_session_jack: JackServer | str, monkeypatch: pytest.MonkeyPatch) -> JackServer:
    """The session's server; this process and its children reach it while the test runs."""
    if isinstance(_session_jack, str):
        no_live_ports(_session_jack)
    monkeypatch.setenv("JACK_DEFAULT_SERVER", _session_jack.name)
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    return _session_jack


@pytest.fixture(scope="session")
def style(tmp_path_factory: pytest.TempPathFactory) -> Style:
    """A quantised style of an untrained tiny network."""
    from fakes.bundles import make_bundle  # loads torch, which most tests do without

    return make_bundle(tmp_path_factory.mktemp("style"))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A base (fp32 graphs) of an untrained tiny network."""
    from fakes.bundles import make_bundle

    from model.base import load_base

    folder = tmp_path_factory.mktemp("base")
    return load_base(str(make_bundle(folder, precision="fp32", seed=5, as_base=True).folder))


@pytest.fixture(scope="session")
def exact_style(tmp_path_factory: pytest.TempPathFactory) -> Style:
    """The same style in fp32: stages can be compared to the last digits."""
    from fakes.bundles import make_bundle  # loads torch, which most tests do without

    return make_bundle(tmp_path_factory.mktemp("exact-style"), precision="fp32")
