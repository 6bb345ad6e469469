"""``trio-pipecat record``, ``replay`` and ``diff``: sessions as files."""

import json
import sys
from pathlib import Path
from typing import Final

import trio
import trio.testing

from .. import Event, Session, SessionKeywords, State
from ..testing import Recorder, Recording, ReplayBot, load_recording, serve_bot
from ..testing import diff as diff_recordings
from ._console import open_console
from ._events import events, follow
from ._run import run

#: A replay is hung up so many seconds after its recorded client has hung up, so that what was the
#: last then is not lost now.
_AFTER_THE_LAST: Final = 0.05


class _Progress:
    """What there is of a recording by now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: Session | None = None
        self.recorder: Recorder | None = None

    def attach(self, session: Session) -> None:
        """Record a session that has just begun."""
        self._session = session
        self.recorder = Recorder(session, self._path)

    def facts(self) -> dict[str, float | int | str | None]:
        """Return what was written."""
        session, recorder = self._session, self.recorder
        if session is None or recorder is None:
            return {}
        began = session.history[0][1]
        last = session.history[-1][1] if session.end is not None else trio.current_time()
        has_audio = any(recorder.audio_seconds.values())
        return {
            "file": str(recorder.path),
            "audio": str(recorder.audio_path) if has_audio else None,
            "seconds": round(last - began, 3),
            "sent": recorder.messages["client"],
            "received": recorder.messages["bot"],
            "sent_audio_seconds": round(recorder.audio_seconds["client"], 3),
            "received_audio_seconds": round(recorder.audio_seconds["bot"], 3),
            "end": None if session.end is None else session.end.reason,
        }

    def __str__(self) -> str:
        facts = self.facts()
        return (
            f"{facts['seconds']:.1f} s, {facts['sent']} messages sent and {facts['received']} "
            f"received, {facts['sent_audio_seconds']:.1f} s of sound sent and "
            f"{facts['received_audio_seconds']:.1f} s received"
        )


async def record(
    target: str,
    bot: SessionKeywords,
    *,
    path: Path,
    texts: tuple[str, ...],
    duration: float | None,
    until: str | None,
    as_json: bool,
) -> int:
    """Record a session until the bot leaves, `duration` is over or `until` has come."""
    progress = _Progress(path)
    try:
        # In a terminal only; a pipe gets nothing of it.
        with open_console(stderr=True).status("recording …") as status:

            def show(event: Event) -> None:
                status.update(f"recording … {progress}")

            code = await follow(
                *(target, bot, show),
                texts=texts,
                duration=duration,
                until=until,
                on_open=progress.attach,
            )
    except OSError as error:
        if progress.recorder is not None:
            raise
        print(f"can't write {path}: {error.strerror or error}", file=sys.stderr)
        return 2
    finally:
        if progress.recorder is not None:
            _tell(progress, as_json=as_json)
    failure = None if progress.recorder is None else progress.recorder.error
    if failure is not None:
        print(f"{path} is not whole: {failure.strerror or failure}", file=sys.stderr)
        return 1
    return code


def _tell(progress: _Progress, *, as_json: bool) -> None:
    facts = progress.facts()
    if as_json:
        print(json.dumps(facts), flush=True)
        return
    console = open_console()
    files = [str(file) for file in (facts["file"], facts["audio"]) if file is not None]
    console.print(f"written: {' and '.join(files)}", style="bold", markup=False)
    console.print(str(progress), markup=False)


def replay(path: Path, *, fast: bool, as_json: bool) -> int:
    """Hold a session with a recorded bot, and print what happens; return the exit code.

    Raises:
        RecordingError: there is none.
    """
    recording = load_recording(path)
    bot = ReplayBot(recording, follow_client=False)
    clock = trio.testing.MockClock(autojump_threshold=0) if fast else None
    duration = _duration(recording)
    return run(
        lambda: events(None, {"transport": bot.connect}, duration=duration, as_json=as_json),
        clock=clock,
    )


def _duration(recording: Recording) -> float | None:
    """Return after how many seconds to hang up; None: the bot ends it."""
    connected = [state.t for state in recording.states if state.state is State.CONNECTED]
    if not connected or (recording.end is not None and recording.end.first != "client"):
        return None
    return recording.duration - connected[0] + _AFTER_THE_LAST


def serve_replay(path: Path, *, host: str, port: int) -> int:
    """Serve a recorded bot until Ctrl-C; return the exit code.

    Raises:
        RecordingError: there is none.
    """
    bot = ReplayBot(load_recording(path))
    return run(lambda: _serve(bot, host, port), interrupted=0)


async def _serve(bot: ReplayBot, host: str, port: int) -> int:
    console = open_console()
    try:
        async with serve_bot(bot, host=host, port=port) as served:
            console.print(f"the recorded bot is at {served.start_url}", style="bold")
            console.print(f"its WebSocket is {served.ws_url}, and with JSON {served.json_url}")
            await trio.sleep_forever()
    except OSError as error:
        print(f"can't listen on {host}:{port}: {error.strerror or error}", file=sys.stderr)
    return 1


def diff(left: Path, right: Path) -> int:
    """Print how two recordings differ; return 1 if they do.

    Raises:
        RecordingError: one of them is none.
    """
    differences = diff_recordings(load_recording(left), load_recording(right))
    console = open_console()
    for difference in differences:
        one, other = difference.sides
        console.print(difference.what, style="bold", markup=False)
        if difference.left is not None:
            console.print(f"  - {one}", style="red", markup=False)
        if difference.right is not None:
            console.print(f"  + {other}", style="green", markup=False)
    return 1 if differences else 0
