"""Charts in SVG, drawn by hand: lines, bands and steps in a plot, with what is read off beside it.

No script is needed: what is read off at a place is shown where the pointer is, by style alone.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias, final

import attrs

from ._axes import Axis
from ._markup import Markup, joined, short, tag

#: A value on each axis.
Point: TypeAlias = tuple[float, float]

#: Around a plot, in pixels: for what is written beside the axes, and for what is read off.
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 22, 24, 28
#: Between a tick and what is written there, and from a text's foot to its middle.
_GAP: Final = 8
_MIDDLE: Final = 4


@final
@attrs.frozen(kw_only=True)
class Plot:
    """A plot between two axes. Its methods draw in it, in the classes of the page's style."""

    width: int
    height: int
    x: Axis
    y: Axis

    # -- where things are --

    @property
    def _right(self) -> float:
        return self.width - _RIGHT

    @property
    def _bottom(self) -> float:
        return self.height - _BOTTOM

    def _x(self, value: float) -> float:
        return _LEFT + self.x.share(value) * (self._right - _LEFT)

    def _y(self, value: float) -> float:
        return self._bottom - self.y.share(value) * (self._bottom - _TOP)

    # -- what is drawn --

    def line(self, points: Sequence[Point], style: str) -> Markup:
        """Draw a line through points."""
        placed = [(self._x(x), self._y(y)) for x, y in points]
        return tag("path", class_=f"line {style}", d=path(placed))

    def band(self, points: Sequence[tuple[float, float, float]], style: str) -> Markup:
        """Fill what is between two values at each place."""
        upper = [(self._x(x), self._y(high)) for x, _, high in points]
        lower = [(self._x(x), self._y(low)) for x, low, _ in reversed(points)]
        return tag("path", class_=f"area {style}", d=f"{path([*upper, *lower])}Z")

    def steps(
        self,
        edges: Sequence[float],
        heights: Sequence[float],
        style: str,
        *,
        above: Sequence[float] | None = None,
    ) -> Markup:
        """Fill what is below values, each of which holds from an edge to the next.

        What is below others, `above` which it is, is left out.
        """
        upper, lower = (
            self._stairs(edges, heights),
            self._stairs(edges, above or [0.0] * len(heights)),
        )
        return tag("path", class_=f"area {style}", d=f"{path([*upper, *reversed(lower)])}Z")

    def _stairs(self, edges: Sequence[float], heights: Sequence[float]) -> list[Point]:
        return [
            (self._x(edge), self._y(height))
            for step, height in zip(pairwise(edges), heights, strict=True)
            for edge in step
        ]

    def window(self, begin: float, end: float) -> Markup:
        """Shade what is from one place to another."""
        left, right = self._x(begin), self._x(end)
        return tag(
            "rect",
            class_="window",
            x=left,
            y=_TOP,
            width=max(right - left, 0.0),
            height=self._bottom - _TOP,
        )

    def mark(self, at: float, style: str) -> Markup:
        """Draw a line from the bottom to the top."""
        x = self._x(at)
        return tag("path", class_=f"line {style}", d=path([(x, self._bottom), (x, _TOP)]))

    def readout(self, begin: float, end: float, text: str) -> Markup:
        """Tell something while the pointer is between two places."""
        left, right = self._x(begin), self._x(end)
        middle = (left + right) / 2
        return tag(
            "g",
            tag("rect", x=left, y=_TOP, width=right - left, height=self._bottom - _TOP),
            tag("path", d=path([(middle, _TOP), (middle, self._bottom)])),
            tag("text", text, x=self._right, y=_TOP - _GAP, text_anchor="end"),
            class_="readout",
        )

    def draw(self, title: str, described: str, layers: Iterable[Markup]) -> Markup:
        """Return the chart: its axes, and what was drawn, the last on top."""
        return svg(
            self.width,
            self.height,
            title,
            described,
            joined(self._y_tick(value, text) for value, text in self.y.ticks),
            joined(self._x_tick(value, text) for value, text in self.x.ticks),
            *layers,
        )

    def _y_tick(self, value: float, text: str) -> Markup:
        y = self._y(value)
        return joined(
            [
                tag("path", class_="grid", d=path([(_LEFT, y), (self._right, y)])),
                tag(
                    *("text", text),
                    class_="tick y",
                    x=_LEFT - _GAP,
                    y=y + _MIDDLE,
                    text_anchor="end",
                ),
            ]
        )

    def _x_tick(self, value: float, text: str) -> Markup:
        return x_tick(self._x(value), _TOP, self._bottom, text)


def x_tick(x: float, top: float, bottom: float, text: str) -> Markup:
    """Draw a tick of an axis that lies at the bottom, with its line of the grid."""
    below = bottom + _BOTTOM - _GAP
    return joined(
        [
            tag("path", class_="grid", d=path([(x, top), (x, bottom)])),
            tag("text", text, class_="tick x", x=x, y=below, text_anchor="middle"),
        ]
    )


def svg(width: float, height: float, title: str, described: str, *content: Markup) -> Markup:
    """Return a picture that says what it is to those who can't see it."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", described),
        *content,
        viewBox=f"0 0 {short(width)} {short(height)}",
        role="img",
    )


def path(points: Iterable[Point]) -> str:
    """Return points in the language of SVG's paths."""
    return "M" + "L".join(f"{short(round(x, 1))} {short(round(y, 1))}" for x, y in points)
