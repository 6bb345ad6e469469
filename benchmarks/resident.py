"""How much memory this process has."""

from pathlib import Path


def resident_kib() -> int:
    """Return it, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
