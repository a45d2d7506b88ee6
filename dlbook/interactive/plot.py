"""A rectangle of a picture in which data are drawn: from data to pixels, axes, lines and dots."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dlbook.interactive.frame import Element, px, tag, tenths

Ends = tuple[float, float]
FAR = 20_000  # pixels; what diverges is cut off there


class Plot:
    """Axes from `x[0]` to `x[1]` and `y[0]` to `y[1]` on a box (left, top, width, height); `log` bends the x axis."""

    def __init__(
        self, x: Ends, y: Ends, box: tuple[float, float, float, float], *, log: bool = False
    ) -> None:
        self._x, self._y, self.box, self._log = x, y, box, log

    def across(self, x: float) -> float:
        """Pixels from the left of the box."""
        low, high, x = (math.log10(v) for v in (*self._x, x)) if self._log else (*self._x, x)
        return min(max((x - low) / (high - low) * self.box[2], -FAR), FAR)

    def down(self, y: float) -> float:
        """Pixels from the top of the box."""
        low, high = self._y
        return min(max((high - y) / (high - low) * self.box[3], -FAR), FAR)

    def line(self, x: Iterable[float], y: Iterable[float]) -> str:
        """The path through points."""
        first, *others = self._moves(x, y)
        return f"M{first}l{' '.join(others)}"

    def dots(self, x: Iterable[float], y: Iterable[float]) -> str:
        """A path of no length at each point: a dot for a round line cap, a square for a square one."""
        first, *others = self._moves(x, y)
        return f"M{first}h0" + "".join(f"m{move}h0" for move in others)

    def _moves(self, x: Iterable[float], y: Iterable[float]) -> list[str]:
        """The first point in pixels, then from each to the next: shorter to write, and rounding does not add up."""
        at = np.array([(tenths(self.across(a)), tenths(self.down(b))) for a, b in zip(x, y, strict=True)])
        return [f"{a / 10:g} {b / 10:g}" for a, b in (at[0], *np.diff(at, axis=0))]

    def inside(self, *children: Any, **attributes: Any) -> Element:
        """What is drawn in the coordinates of the box, and cut off at its edges."""
        left, top, width, height = self.box
        place = dict(x=px(left), y=px(top), width=px(width), height=px(height))
        return tag("svg", *children, **place | attributes)

    def axes(
        self, xticks: Mapping[float, str], yticks: Mapping[float, str], *, xlabel: str = "", ylabel: str = ""
    ) -> Element:
        """The frame of the box, with ticks, their texts and a label below and at the upper left."""
        left, top, width, height = self.box
        bottom, thin = top + height, dict(fill="none", stroke="currentColor", stroke_opacity=0.5)
        marks = [f"M{px(left + self.across(x))} {px(bottom)}v4" for x in xticks]
        marks += [f"M{px(left)} {px(top + self.down(y))}h-4" for y in yticks]
        return tag(
            "g",
            path(f"M{px(left)} {px(top)}v{px(height)}h{px(width)}" + "".join(marks), **thin),
            *(words(left + self.across(x), bottom + 15, text) for x, text in xticks.items()),
            *(words(left - 7, top + self.down(y) + 4, text, "end") for y, text in yticks.items()),
            *([words(left + width / 2, bottom + 29, xlabel)] if xlabel else []),
            *([words(left - 4, top - 7, ylabel, "start")] if ylabel else []),
        )


def words(x: float, y: float, text: Any, anchor: str = "middle", **attributes: Any) -> Element:
    """A text whose middle, start or end is at `x`, on the line `y`; the text may vary."""
    return tag("text", text, x=px(x), y=px(y), text_anchor=anchor, **attributes)


def path(d: Any, **look: Any) -> Element:
    """A line, or an area; what it goes through may vary."""
    return tag("path", d=d, **look)


def stroke(colour: str, width: float = 2, **attributes: Any) -> dict[str, Any]:
    """The attributes of a line without a filling."""
    return dict(fill="none", stroke=colour, stroke_width=width, **attributes)


def dotted(colour: str, size: float, *, square: bool = False, **attributes: Any) -> dict[str, Any]:
    """The attributes of dots, round or square."""
    return stroke(colour, size, stroke_linecap="square" if square else "round", **attributes)


def dot(name: str, colour: str, size: float = 5) -> Element:
    """The dot that `marked` lines refer to by the id `name`."""
    circle = tag("circle", cx=size / 2, cy=size / 2, r=size / 2, fill=colour)
    place = dict(refX=size / 2, refY=size / 2, markerWidth=size, markerHeight=size)
    return tag("marker", circle, id=name, markerUnits="userSpaceOnUse", **place)


def marked(name: str, colour: str) -> dict[str, Any]:
    """The attributes of a thin line with a dot at each of its points."""
    marks = {f"marker_{where}": f"url(#{name})" for where in ("start", "mid", "end")}
    return stroke(colour, 1, stroke_opacity=0.7, **marks)


def key(x: float, y: float, entries: Sequence[tuple[Mapping[str, Any], str]], *, gap: float = 16) -> Element:
    """A legend: a short line or dot in the look of each entry, and its text; one below the other."""
    rows = []
    for k, (look, text) in enumerate(entries):
        round_cap = "stroke_linecap" in look
        mark = f"M{px(x + 9)} {px(y + k * gap)}h0" if round_cap else f"M{px(x)} {px(y + k * gap)}h18"
        rows += [path(mark, **look), words(x + 24, y + k * gap + 4, text, "start")]
    return tag("g", *rows)
