"""The WebSocket `/api/live`: thirty times a second what is new, once a second how everything is.

Runs in the server's event loop. One loop a client, which holds no more than its place in the feed; a client
that reads slowly gets fewer, larger frames.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from plugin_bridge.daemon.control import Control
from plugin_bridge.daemon.feed import Reader
from plugin_bridge.daemon.guard import PROTOCOL
from plugin_bridge.daemon.refusals import NotNowError

logger = logging.getLogger(__name__)

FRAME_SECONDS = 1 / 30
STATE_SECONDS = 1.0
PAST_SECONDS = 10.0
"""How much of the past a page that has just been opened gets."""
MOST_CLIENTS = 8


def live_socket(control: Control) -> Callable[[WebSocket], Awaitable[None]]:
    """The endpoint. Clients beyond MOST_CLIENTS are told to try again later."""
    clients = 0

    async def endpoint(socket: WebSocket) -> None:
        nonlocal clients
        if clients >= MOST_CLIENTS:
            await socket.close(1013, "too many pages are open")
            return
        clients += 1
        try:
            await socket.accept(PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", []) else None)
            listening = asyncio.create_task(_until_closed(socket))
            try:
                await _tell(socket, control, listening)
            finally:
                listening.cancel()
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            logger.debug("a page has gone: %r", error)
        finally:
            clients -= 1

    return endpoint


async def _until_closed(socket: WebSocket) -> None:
    """Read and ignore what the client says, to notice when it goes."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _tell(socket: WebSocket, control: Control, listening: asyncio.Task[None]) -> None:
    reader = Reader(control.bridge.feed, control.clock() - PAST_SECONDS)
    told: dict[str, Any] = {}
    next_state = 0.0
    while not listening.done():
        time = control.clock()
        frame = reader.frame(control.bridge.session, time)
        if time >= next_state:
            next_state = time + STATE_SECONDS
            frame |= _changed(told, _slow(control))
        frame |= _changed(told, {"values": control.values(), "knobs": control.knobs()})
        await socket.send_text(json.dumps(frame, separators=(",", ":")))
        await asyncio.sleep(FRAME_SECONDS)


def _slow(control: Control) -> dict[str, Any]:
    state: dict[str, Any] = {"state": control.state(), "ports": control.ports()}
    try:
        state["metrics"] = control.metrics()
    except NotNowError:
        state["metrics"] = None
    return state


def _changed(told: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Those of `values` that differ from what was told last; they are noted as told."""
    new = {key: value for key, value in values.items() if key not in told or told[key] != value}
    told.update(new)
    return new
