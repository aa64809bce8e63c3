"""The control API: HTTP routes, each a thin function around `Control`. `openapi` describes them.

Threads: the routes run in the server's event loop; what takes longer than a moment goes to its pool.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from plugin_bridge.daemon.control import Control
from plugin_bridge.daemon.guard import Guard
from plugin_bridge.daemon.live_socket import live_socket
from plugin_bridge.daemon.openapi import description
from plugin_bridge.daemon.page_files import PageFile
from plugin_bridge.daemon.refusals import NotNowError, NotThereError, TooManyError
from plugin_bridge.errors import BridgeError

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


def make_app(control: Control, hosts: Collection[str], token: str, page: dict[str, PageFile]) -> ASGIApp:
    """The whole application, behind its guard. `hosts` are the `Host` headers under which it may be asked."""
    described = description()

    async def state(request: Request) -> Response:
        return JSONResponse(control.state())

    async def metrics(request: Request) -> Response:
        return JSONResponse(control.metrics())

    async def controls(request: Request) -> Response:
        return JSONResponse({"controls": control.controls()})

    async def set_control(request: Request) -> Response:
        body = await _object(request, "value")
        return JSONResponse(control.set_control(request.path_params["name"], body["value"]))

    async def knobs(request: Request) -> Response:
        return JSONResponse(control.knobs())

    async def learn(request: Request) -> Response:
        body = await _object(request, "control")
        return JSONResponse(control.learn(body["control"]))

    async def learned(request: Request) -> Response:
        return JSONResponse(await control.learned(request.path_params["name"]))

    async def forget_knob(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(control.forget_knob, request.path_params["name"]))

    async def styles(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(control.styles))

    async def set_style(request: Request) -> Response:
        body = await _object(request, "style")
        return JSONResponse(await run_in_threadpool(control.set_style, body["style"]))

    async def panic(request: Request) -> Response:
        control.panic()
        return JSONResponse({"done": True})

    async def test_note(request: Request) -> Response:
        control.test_note()
        return JSONResponse({"done": True})

    async def ports(request: Request) -> Response:
        return JSONResponse(control.ports())

    async def connect(request: Request) -> Response:
        body = await _object(request, "direction", "pattern", "connect")
        wanted = body["direction"], body["pattern"], body["connect"]
        return JSONResponse(await run_in_threadpool(control.connect, *wanted))

    async def takes(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(control.takes))

    async def save_take(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(control.save_take))

    async def stop_take(request: Request) -> Response:
        await run_in_threadpool(control.stop_take)
        return JSONResponse({"done": True})

    async def take_midi(request: Request) -> Response:
        content = await run_in_threadpool(control.take_midi, request.path_params["name"])
        return Response(content, media_type="audio/midi")

    async def play_take(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(control.play_take, request.path_params["name"]))

    async def piano_roll(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(control.to_piano_roll, request.path_params["name"]))

    async def openapi(request: Request) -> Response:
        return JSONResponse(described)

    routes: list[BaseRoute] = [
        Route(path, handler, methods=[method])
        for method, path, handler in (
            ("GET", "/api/openapi.json", openapi),
            ("GET", "/api/state", state),
            ("GET", "/api/metrics", metrics),
            ("GET", "/api/controls", controls),
            ("PUT", "/api/controls/{name}", set_control),
            ("GET", "/api/knobs", knobs),
            ("PUT", "/api/learning", learn),
            ("GET", "/api/learning/{name}", learned),
            ("DELETE", "/api/knobs/{name}", forget_knob),
            ("GET", "/api/styles", styles),
            ("PUT", "/api/style", set_style),
            ("POST", "/api/panic", panic),
            ("POST", "/api/test-note", test_note),
            ("GET", "/api/ports", ports),
            ("PUT", "/api/connections", connect),
            ("POST", "/api/takes/stop", stop_take),
            ("GET", "/api/takes/{name}/midi", take_midi),
            ("POST", "/api/takes/{name}/play", play_take),
            ("POST", "/api/takes/{name}/piano-roll", piano_roll),
        )
    ]
    routes.append(_by_method("/api/takes", GET=takes, POST=save_take))
    routes.append(WebSocketRoute("/api/live", live_socket(control)))
    routes += [Route(path, _file(file), methods=["GET"]) for path, file in page.items()]
    app = Starlette(
        routes=routes,
        exception_handlers={
            NotThereError: _refused(404), TooManyError: _refused(409), NotNowError: _refused(503),
            BridgeError: _refused(400), OSError: _refused(400), HTTPException: _http_refused,
            Exception: _failed,
        },
    )  # fmt: skip
    return Guard(app, hosts, token)


def _by_method(path: str, **handlers: Handler) -> Route:
    """One route of several methods, so that a wrong method is answered with all that are right."""

    async def handler(request: Request) -> Response:
        return await handlers[request.method if request.method != "HEAD" else "GET"](request)

    return Route(path, handler, methods=list(handlers))


async def _object(request: Request, *names: str) -> dict[str, Any]:
    """The body, which must be an object with these members and no others."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the body must be application/json")
    try:
        body = json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BridgeError(f"the body is no JSON: {error}") from None
    if not isinstance(body, dict) or set(body) != set(names):
        raise BridgeError(f"the body must be an object with {', '.join(names)}, and nothing else")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _refused(status: int) -> Callable[[Request, Exception], Response]:
    def handler(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": " ".join(str(error).split())}, status)

    return handler


def _http_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _failed(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "the daemon failed at this; its log says more"}, 500)


def _file(file: PageFile) -> Handler:
    async def handler(request: Request) -> Response:
        return Response(file.content, media_type=file.media_type)

    return handler
