"""The command line, ``trio-pipecat``. It needs the extra ``cli``, and stands on the public API."""

import sys


def main() -> None:
    """Run the command line, or say what to install for it."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError:
        sys.exit("trio-pipecat's command line is an extra: pip install 'trio-pipecat[cli]'")
    from ._cli import cli
    from ._console import print_anything

    print_anything()
    cli(prog_name="trio-pipecat")
