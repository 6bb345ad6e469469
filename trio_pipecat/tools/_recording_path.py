"""Where a recording goes, looked at before there is anything to record."""

from pathlib import Path


def check_writable(path: Path) -> None:
    """Refuse a file that can't be written. What is in it stays, until there is something to write.

    Raises:
        OSError: it can't be.
        ValueError: it is a pipe or a device, and to write to that might wait for ever.
    """
    path = path.resolve()  # what a link names is removed below, and not the link
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file")
    is_new = not path.exists()
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()
