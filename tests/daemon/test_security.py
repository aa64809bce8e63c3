"""Who may not ask the daemon, and what may not be asked."""

from __future__ import annotations

import asyncio
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import websockets
from daemon.conftest import Running
from starlette.types import Scope
from websockets.typing import Subprotocol

from plugin_bridge.daemon.guard import MOST_BODY, refusal
from plugin_bridge.daemon.page_opener import write_opener
from plugin_bridge.daemon.token import make_token, read_token
from plugin_bridge.errors import BridgeError

EVERYTHING = [
    ("GET", "/api/state"), ("GET", "/api/metrics"), ("GET", "/api/controls"), ("GET", "/api/ports"),
    ("GET", "/api/styles"), ("GET", "/api/takes"), ("GET", "/api/takes/x/midi"), ("POST", "/api/panic"),
    ("POST", "/api/test-note"), ("POST", "/api/takes"), ("POST", "/api/takes/x/play"), ("PUT", "/api/style"),
    ("POST", "/api/takes/x/piano-roll"), ("PUT", "/api/controls/mute"), ("PUT", "/api/connections"),
    ("GET", "/api/nowhere"), ("OPTIONS", "/api/panic"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x"]
)
def test_without_the_token_nothing_is_told(
    running: Running, method: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header.format(token=running.token)}
    answer = running.raw(method, path, headers)
    assert answer.status == 401
    assert "token" in answer.json["error"]


def test_the_token_may_not_stand_in_the_address(running: Running) -> None:
    assert running.raw("GET", f"/api/state?token={running.token}", {}).status == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""],
)
@pytest.mark.parametrize("path", ["/api/state", "/", "/api/openapi.json", "/page/app.js"])
def test_a_foreign_host_is_refused(running: Running, host: str, path: str) -> None:
    headers = {"Host": host.format(port=running.port), "Authorization": f"Bearer {running.token}"}
    assert running.raw("GET", path, headers).status == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "file://", ""]
)
def test_a_foreign_origin_is_refused(running: Running, origin: str) -> None:
    headers = {"Origin": origin.format(port=running.port), "Authorization": f"Bearer {running.token}"}
    assert running.raw("POST", "/api/panic", headers).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_another_page_makes_is_refused(running: Running, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Authorization": f"Bearer {running.token}"}
    assert running.raw("POST", "/api/panic", headers).status == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_our_own_page_may_ask(running: Running, name: str) -> None:
    host = f"{name}:{running.port}"
    headers = {"Host": host, "Origin": f"http://{host}", "Authorization": f"Bearer {running.token}"}
    assert running.raw("GET", "/api/state", headers).status == 200


@pytest.mark.parametrize(
    ("origin", "protocols"),
    [
        (None, []),
        (None, ["plugin-bridge", "token.wrong"]),
        ("http://evil.example", ["plugin-bridge", "token.{token}"]),
        ("null", ["plugin-bridge", "token.{token}"]),
        (None, ["token.{token}", "token.{token}"]),
    ],
)
def test_a_websocket_of_a_foreign_page_or_without_the_token_is_refused(
    running: Running, origin: str | None, protocols: list[str]
) -> None:
    async def connect() -> None:
        offered = [Subprotocol(each.format(token=running.token)) for each in protocols] or None
        async with websockets.connect(
            f"ws://127.0.0.1:{running.port}/api/live",
            origin=origin,
            subprotocols=offered,
        ):
            raise AssertionError("it was let in")

    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        asyncio.run(connect())
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/../config.toml", "/page/../commands.py", "/page/..%2fcommands.py", "/page/%2e%2e/commands.py",
        "/page//etc/passwd", "/page/....//x", "/page/\\..\\x", "/page/", "//etc/passwd", "/state/token",
        "/page/index.html%00.js", "/token",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_page(running: Running, path: str) -> None:
    assert running.raw("GET", path, {}).status == 404


def test_bodies_that_are_too_long_are_refused_said_or_not(running: Running) -> None:
    headers = {"Authorization": f"Bearer {running.token}", "Content-Type": "application/json"}
    long = b'{"value": "' + b"x" * MOST_BODY + b'"}'
    assert running.raw("PUT", "/api/controls/mode", headers, long).status == 413
    assert (
        running.raw("PUT", "/api/controls/mode", {**headers, "Content-Length": "99999999"}, b"{").status
        == 413
    )

    def pieces() -> object:
        for _ in range(100):
            yield b"x" * 1024

    with suppress(ConnectionResetError, BrokenPipeError):  # hung up before all of it was sent
        assert running.raw("PUT", "/api/controls/mode", headers, pieces()).status == 413
    assert running.ask("GET", "/api/state").status == 200


def test_nothing_listens_beyond_loopback(running: Running) -> None:
    listening = running.daemon.server._listening.getsockname()
    assert listening[0] == "127.0.0.1"
    for family, _, _, _, address in socket.getaddrinfo(
        socket.gethostname(), running.port, type=socket.SOCK_STREAM
    ):
        if str(address[0]).startswith("127.") or address[0] == "::1":
            continue
        with socket.socket(family, socket.SOCK_STREAM) as other:
            other.settimeout(2)
            assert other.connect_ex(address) != 0


def test_every_answer_forbids_what_a_page_of_ours_does_not_need(running: Running) -> None:
    for path in ("/", "/api/openapi.json", "/api/state", "/nowhere"):
        headers = running.raw("GET", path, {}).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_the_file_that_opens_the_page_is_the_users_alone(tmp_path: Path) -> None:
    for _ in range(2):
        path = write_opener(tmp_path, 'http://127.0.0.1:1/#token="x"')
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "url=http://127.0.0.1:1/#token=&quot;x&quot;" in path.read_text()


def test_two_hosts_are_none() -> None:
    scope: Scope = {"type": "http", "path": "/", "headers": [(b"host", b"a:1"), (b"host", b"a:1")]}
    refused = refusal(scope, {"a:1"}, "t")
    assert refused is not None
    assert refused.status == 403


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_the_token_is_the_users_alone_and_lasts(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = make_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert make_token(path) == read_token(path) == token
    path.chmod(0o644)
    with pytest.raises(BridgeError, match="others can read it"):
        read_token(path)
    assert make_token(path) != token  # others may have read it
    path.write_text("short")
    with pytest.raises(BridgeError, match="is damaged"):
        read_token(path)
