"""A page in a browser without a screen, and what the page has to tell."""

import json
import os
import signal
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
import trio
from chromium import BOUND, HEADLESS

from trio_pipecat.audio import AudioChunk, write_wav
from trio_pipecat.testing._http_server import Request, Response, serve_connection, text_response

_FLAGS = [
    *HEADLESS,
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]


@attrs.frozen
class Told:
    """One thing that the page told."""

    kind: str
    data: Any = None
    #: When it came, on trio's clock.
    at: float = attrs.field(default=0, eq=False)


class _Site:
    """Serves a folder, and takes what its page posts to ``/log``."""

    def __init__(self, folder: Path) -> None:
        self.told: list[Told] = []
        self.done = trio.Event()
        self._files = {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}
        self._files["/"] = self._files["/index.html"]

    async def serve(self, stream: trio.abc.Stream) -> None:
        await serve_connection(stream, self._answer, self._refuse)

    async def _answer(self, request: Request) -> Response:
        if request.method == "POST" and request.path == "/log":
            self.told.append(Told(**json.loads(request.body), at=trio.current_time()))
            if self.told[-1].kind == "done":
                self.done.set()
            return Response(status=204)
        body = self._files.get(request.path)
        if body is None:
            return text_response("Not Found", 404)
        type_ = "text/javascript" if request.path.endswith(".js") else "text/html"
        return Response(headers={"Content-Type": f"{type_}; charset=utf-8"}, body=body)

    async def _refuse(self, request: Request, stream: trio.abc.Stream) -> Response:
        return text_response("Not Found", 404)


async def visit(chromium: str, folder: Path, *, microphone: AudioChunk, **query: str) -> list[Told]:
    """Open the page of a folder, and return what it told when it says that it is done.

    Its microphone hears `microphone`, over and over.
    """
    site, said = _Site(folder), ""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, site.serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        host, port = listeners[0].socket.getsockname()
        url = f"http://{host}:{port}/?{urlencode(query)}"
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            complaints = trio.Path(home, "complaints")
            sound = f"{home}/microphone.wav"
            write_wav(sound, microphone)
            flags = [f"--use-file-for-fake-audio-capture={sound}", f"--user-data-dir={home}"]
            with trio.move_on_after(BOUND):
                await _browse([chromium, *_FLAGS, *flags, url], complaints, site)
            said = await complaints.read_text(errors="replace")
        nursery.cancel_scope.cancel()
    if not site.done.is_set():
        pytest.fail(f"the page is not done: {site.told}\n{said[-4000:]}", pytrace=False)
    return site.told


async def _browse(command: list[str], complaints: trio.Path, site: _Site) -> None:
    """Run the browser until the page is done, or it gives up; then nothing of it is left."""

    async def run() -> None:
        async with await complaints.open("wb") as output:
            await trio.run_process(
                command,
                stdout=output.fileno(),
                stderr=output.fileno(),
                check=False,
                start_new_session=True,
                deliver_cancel=_kill_group,
            )
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await site.done.wait()
        nursery.cancel_scope.cancel()


async def _kill_group(process: trio.Process) -> None:
    """Kill a process that leads a group, and its children."""
    os.killpg(process.pid, signal.SIGKILL)
