"""Chromium without a screen, told what to do by its DevTools protocol."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import trio
import trio_websocket
from chromium import BOUND, HEADLESS

_FLAGS = [
    *HEADLESS,
    "--hide-scrollbars",
    "--mute-audio",
    "--remote-debugging-port=0",
]
#: Screenshots, and pages with all their sound, in one message.
_MOST_BYTES = 2**27


class DevTools:
    """One page of a browser. All that it has told of itself is in `told`: methods, parameters."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self.told: list[tuple[str, Any]] = []
        self._socket = socket
        self._numbers = count(1)
        self._session: str | None = None

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol, and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._socket.send_message(json.dumps(message))
        while True:
            found = await self._receive()
            if number == found.get("id"):
                assert "error" not in found, found["error"]
                return found["result"]

    async def attach(self) -> None:
        """Open a page, and have it tell all that is of interest."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def open(self, url: str) -> None:
        """Go there, until all is loaded."""
        loaded = len(self.of("Page.loadEventFired"))
        await self.call("Page.navigate", url=url)
        while len(self.of("Page.loadEventFired")) == loaded:
            await self._receive()

    async def show(self, scheme: str, width: int) -> None:
        """Have the page in ``light`` or ``dark``, so wide."""
        await self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, when it is known."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def of(self, method: str) -> list[Any]:
        """Return what was told of a kind."""
        return [params for kind, params in self.told if kind == method]

    async def _receive(self) -> Any:
        found = json.loads(await self._socket.get_message())
        if "method" in found:
            self.told.append((found["method"], found["params"]))
        return found


@asynccontextmanager
async def open_devtools(chromium: str) -> AsyncIterator[DevTools]:
    """Start a browser with one page. Afterwards nothing of it is left."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_browse, [chromium, *_FLAGS, f"--user-data-dir={home}"])
            host = await _address(trio.Path(home, "DevToolsActivePort"))
            async with trio_websocket.open_websocket_url(
                host, max_message_size=_MOST_BYTES
            ) as socket:
                devtools = DevTools(socket)
                await devtools.attach()
                yield devtools
            nursery.cancel_scope.cancel()


async def _address(path: trio.Path) -> str:
    """Return where the browser listens, when it does."""
    while True:
        lines = (await path.read_text()).split("\n") if await path.exists() else []
        if len(lines) > 1 and lines[1]:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await trio.sleep(0.05)


async def _browse(command: list[str]) -> None:
    await trio.run_process(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        start_new_session=True,
        deliver_cancel=_kill_group,
    )


async def _kill_group(process: trio.Process) -> None:
    """Kill a process that leads a group, and its children."""
    os.killpg(process.pid, signal.SIGKILL)
