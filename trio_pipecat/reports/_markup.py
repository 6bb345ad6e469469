"""Markup that can't go wrong: what is text is escaped, and what is opened is closed.

What it makes is well-formed XML that HTML reads the same way.
"""

import html
from collections.abc import Iterable
from typing import Final, final

from ._words import printable

#: Elements that have no content, and no end.
_VOID: Final = {"br", "link", "meta"}


@final
class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *content: str | None, **attributes: str | float | None) -> Markup:
    """Return an element. None is left out, of the content and of the attributes.

    Attributes are called as Python can call them: ``class_``, ``aria_label``.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(content)}</{name}>")


def joined(pieces: Iterable[str | None]) -> Markup:
    """Return pieces behind each other."""
    return Markup("".join(_escaped(piece) for piece in pieces if piece is not None))


def short(number: float) -> str:
    """Return a number to a hundredth, without what is of no use."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _value(value: str | float) -> str:
    return html.escape(printable(value)) if isinstance(value, str) else short(value)


def _escaped(piece: str) -> str:
    return piece if isinstance(piece, Markup) else html.escape(printable(piece))
