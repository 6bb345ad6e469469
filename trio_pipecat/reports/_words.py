"""Numbers in the words of people, and what others said as text that every file can hold."""

import re
from typing import Final

#: What XML has no way to write; half a surrogate pair is in no file at all.
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_BREAK: Final = "\u202f"


def printable(text: str) -> str:
    """Return a text with U+FFFD for each character that XML can't hold."""
    return _UNPRINTABLE.sub("\ufffd", text)


def tell_seconds(value: float) -> str:
    """Return a time: ``4.2 ms``, ``812 ms``, ``1.40 s``, ``12 min 5 s``."""
    millis = 1000 * value
    if round(millis, 1) < 10:
        return f"{millis:.1f} ms" if round(millis, 1) else "0 ms"
    if round(millis) < 1000:
        return f"{millis:.0f} ms"
    if value < 100:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"


def tell_clock(value: float) -> str:
    """Return when something was in a run: ``2:05``, ``1:02:05``."""
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def tell_share(value: float) -> str:
    """Return a share from 0 to 1: ``1.25 %``."""
    percent = f"{100 * value:.3g}" if value < 1 else f"{100 * value:.0f}"
    return f"{percent} %"


def tell_count(value: float) -> str:
    """Return a number of things: ``12 345``."""
    return f"{value:,.0f}".replace(",", _NO_BREAK)
