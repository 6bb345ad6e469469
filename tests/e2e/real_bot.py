"""The real pipecat bot as a subprocess: started, asked what it saw, and stopped."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from cases import Wire

#: The interpreter of an environment that has pipecat-ai.
BOT_PYTHON = os.environ.get("TRIO_PIPECAT_BOT_PYTHON")
SKIP_REASON = "needs the real pipecat bot in an environment of its own; type: nox -s e2e"
_BOT = Path(__file__).with_name("bot") / "bot.py"
_START_SECONDS = 90


@attrs.frozen
class RealBot:
    """Where a real bot listens."""

    port: int
    log: Path
    process: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        """Ask it to stop, as a deployment would."""
        self.process.send_signal(signal.SIGTERM)

    @property
    def start_url(self) -> str:
        """Its start endpoint."""
        return f"http://127.0.0.1:{self.port}/start"

    def ws_url(self, **query: object) -> str:
        """Its WebSocket; the query says what it is to do."""
        text = "&".join(f"{key}={value}" for key, value in query.items())
        return f"ws://127.0.0.1:{self.port}/ws-client?{text}"

    @property
    def offer_url(self) -> str:
        """Where it takes WebRTC offers."""
        return f"http://127.0.0.1:{self.port}/api/offer"

    def way(self, wire: Wire, **choices: object) -> dict[str, Any]:
        """Return how `open_session` gets there; the choices say what the bot is to do."""
        if wire == "webrtc":
            return {"webrtc_url": self.offer_url, "request_data": choices}
        return {"ws_url": self.ws_url(**choices)}

    def get(self, path: str) -> Any:
        """GET one of its routes."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return json.load(answer)

    async def seen(self, case: str) -> dict[str, Any]:
        """Return what the server saw of the connection with that ``case``, once it is closed."""
        with trio.fail_after(10):
            while True:
                connections = await trio.to_thread.run_sync(self.get, "/seen")
                found = [item for item in connections if item["query"].get("case") == case]
                if found and found[-1]["closed"]:
                    return found[-1]
                await trio.sleep(0.02)


@contextmanager
def running_bot(*options: str) -> Iterator[RealBot]:
    """Run the bot on a free port while the block lasts; stop it by its process id."""
    if BOT_PYTHON is None:
        pytest.skip(SKIP_REASON)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "bot.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [BOT_PYTHON, str(_BOT), "--host", "127.0.0.1", "--port", str(port), *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        bot = RealBot(port, log, process)
        try:
            _wait_until_up(bot)
            yield bot
        finally:
            bot.stop()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_up(bot: RealBot) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            bot.get("/status")
        except OSError:
            if bot.process.poll() is not None:
                break
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the real bot did not start:\n{bot.log.read_text()[-4000:]}")
