"""Who may ask the daemon anything: the checks that stand before every request, HTTP and WebSocket alike.

A web page anywhere can make its visitor's browser send requests to 127.0.0.1. So: the Host must be ours, or
a foreign name could be made to point here (DNS rebinding); the Origin, where a browser sends one, must be
ours; and all of the API but its description wants the token, which a page cannot read. The token is in the
header `Authorization: Bearer TOKEN`; a WebSocket of a browser, which can set no header, offers it as a
subprotocol, `token.TOKEN`.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 16 * 1024
"""Bytes of a request's body; nothing that is asked for needs more."""
PROTOCOL = "plugin-bridge"
TOKEN_PROTOCOL = "token."  # noqa: S105 - a prefix, not a secret
OPEN_PATHS = frozenset({"/api/openapi.json"})
_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status and the reason of a request that is refused."""

    status: int
    reason: str


def refusal(scope: Scope, hosts: Collection[str], token: str) -> Refusal | None:
    """Why the request is refused; None where it may pass. Pure. `hosts`: the `Host` headers that are ours."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.lower(), []).append(value)
    host = found.get(b"host", [])
    if len(host) != 1 or host[0].decode("latin-1").lower() not in hosts:
        return Refusal(403, "this is not a name of this server")
    for origin in found.get(b"origin", []):
        if origin.decode("latin-1").lower() not in {f"http://{each}" for each in hosts}:
            return Refusal(403, "no requests from other pages")
    for site in found.get(b"sec-fetch-site", []):
        navigates = scope["type"] == "http" and not scope["path"].startswith("/api")
        if site not in (b"same-origin", b"none") and not navigates:
            return Refusal(403, "no requests from other pages")
    if not scope["path"].startswith("/api") or scope["path"] in OPEN_PATHS:
        return None if scope["type"] == "http" else Refusal(403, "there is nothing here")
    given = [_bearer(each) for each in found.get(b"authorization", [])]
    if scope["type"] == "websocket":
        offered = scope.get("subprotocols", [])
        given += [each.removeprefix(TOKEN_PROTOCOL) for each in offered if each.startswith(TOKEN_PROTOCOL)]
    if len(given) != 1 or not hmac.compare_digest(
        given[0].encode("latin-1", "replace"), token.encode("ascii")
    ):
        return Refusal(401, "the token is missing or wrong: plugin-bridge page opens the page with it")
    return None


class Guard:
    """Lets through to `app` what may pass, with its body read whole and no longer than MOST_BODY."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str) -> None:
        self._app, self._hosts, self._token = app, frozenset(hosts), token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        refused = refusal(scope, self._hosts, self._token)
        if scope["type"] == "websocket":
            if refused is None:
                await self._app(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": refused.reason})
            return
        sender = _with_headers(send)
        if refused is None:
            body = await _body(scope, receive)
            if body is not None:
                await self._app(scope, _replayed(body, receive), sender)
                return
            refused = Refusal(413, f"more than {MOST_BODY} bytes")
        await _refuse(refused, sender)


def _bearer(header: bytes) -> str:
    kind, _, rest = header.decode("latin-1").partition(" ")
    return rest.strip() if kind.lower() == "bearer" else ""


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """All of the body; None when it is too long, which is known before it is read where it says so."""
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and (not value.isdigit() or int(value) > MOST_BODY):
            return None
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > MOST_BODY:
            return None
        if not message.get("more_body", False):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return sender


async def _refuse(refused: Refusal, send: Send) -> None:
    body = json.dumps({"error": refused.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
