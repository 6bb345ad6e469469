"""Where the commands print: a terminal, a pipe, or a file."""

import re
import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

#: What a terminal obeys instead of showing it, and what turns round the text that comes after it.
_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class _Console(Console):
    """Lets nobody's text command the terminal.

    Leaves a pipe that nobody reads any more to `_run`, as ``print`` does.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def open_console(**options: Any) -> Console:
    """Return a console that colours nothing on its own and never breaks a line in a pipe."""
    return _Console(highlight=False, soft_wrap=True, **options)


def printable(text: str) -> str:
    """Return somebody else's text fit for a terminal: the bot's words may hold escape sequences."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)


def print_error(text: object) -> None:
    """Print what went wrong, which may quote the other side."""
    print(printable(str(text)), file=sys.stderr)


def print_anything() -> None:
    """Have what the output's encoding lacks printed as ``?`` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
