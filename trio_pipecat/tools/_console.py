"""Where the commands print: a terminal, a pipe, or a file."""

import sys
from typing import Any

from rich.console import Console


class _Console(Console):
    """Leaves a pipe that nobody reads any more to `_run`, as ``print`` does."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def open_console(**options: Any) -> Console:
    """Return a console that colours nothing on its own and never breaks a line in a pipe."""
    return _Console(highlight=False, soft_wrap=True, **options)


def print_anything() -> None:
    """Have what the output's encoding lacks printed as ``?`` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
