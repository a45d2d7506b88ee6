"""How a search spreads its trials: over the scale of one axis, and over the plane."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlbook.interactive.frame import Control, Element, Slider, digits, px, svg, tag, tenths, varies
from dlbook.interactive.plot import Plot, dotted, path, stroke, words
from dlbook.shapes import check_number
from dlbook.style import BLUE, GREEN, RED
from dlbook.tuning.ranking import check_whole
from dlbook.tuning.samplers import Grid, Random
from dlbook.tuning.scales import Linear, Log
from dlbook.tuning.space import Space

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
UNIT = Space(a=Linear(0, 1), b=Linear(0, 1))


def sampling(
    name: str,
    *,
    exponents: Sequence[int] = (-6, -5, -4, -3, -2, -1),
    n: int = 30,
    seeds: int = 8,
    start: int = 2,
) -> Slider:
    """The same `n` random numbers as learning rates up to 1, on a linear and on a log scale.

    Two sliders: the lower end of the range, 10 to the power of one of `exponents`, and the seed, one of
    `range(seeds)`. Above the draws, how many fall into each power of ten.
    """
    for exponent in exponents:
        if exponent >= 0:
            raise ValueError(f"exponents must be below 0, since the range ends at 1, got {exponent}")
    check_whole("n", n, 1)
    low = Control("Lower end of the range", tuple(exponents), start, _power)
    seed = Control("Seed", tuple(range(seeds)))
    drawn = {
        (scale, e, s): np.sort(scale(10.0**e, 1).value(np.random.default_rng(s).random(n)))
        for scale in (Linear, Log)
        for e in exponents
        for s in range(seeds)
    }
    decades = range(min(exponents), 0)

    def top(scale: type) -> list:
        expected = varies(lambda e: digits(n * (1 - float(scale(10.0**e, 1).unit(0.1))), 1), low)
        return [
            varies(lambda e, s: str(int(np.sum(drawn[scale, e, s] >= 0.1))), low, seed),
            " (",
            expected,
            " expected)",
        ]

    rows = [_row(scale, top_edge, decades, drawn, low, seed) for scale, top_edge in ((Linear, 8), (Log, 74))]
    plot = Plot((10.0 ** decades[0], 1), (0, 1), (14, 8, 312, 112), log=True)
    ticks = {10.0**e: _power(e) for e in (*decades, 0)}
    panel = svg(
        340, 160, f"Two rows of {n} draws on a logarithmic axis, on a linear scale and on a log scale, with their "
        "number in each power of ten",
        plot.inside(_range(plot, low)),
        *rows,
        plot.axes(ticks, {}, xlabel="learning rate"),
        most="28rem",
    )  # fmt: skip
    readout = [
        f"Of {n} draws, between 0.1 and 1: linear scale ",
        *top(Linear),
        ", log scale ",
        *top(Log),
        ".",
    ]
    return Slider(name, [low, seed], [panel], readout)


def _power(exponent: int) -> str:
    return "10" + str(exponent).translate(SUPERSCRIPTS) if exponent else "1"


def _range(plot: Plot, low: Control) -> Element:
    left = varies(lambda e: px(plot.across(10.0**e)), low)
    width = varies(lambda e: px(plot.box[2] - plot.across(10.0**e)), low)
    return tag("rect", x=left, y=0, width=width, height=plot.box[3], fill="currentColor", fill_opacity=0.08)


def _row(scale: type, top: float, decades: range, drawn: dict, low: Control, seed: Control) -> Element:
    plot = Plot((10.0 ** decades[0], 1), (0, 1), (14, top, 312, 46), log=True)
    colour, title = (RED, "linear scale") if scale is Linear else (BLUE, "log scale")

    def marks(e, s):
        first, *moves = np.diff([tenths(plot.across(v) / 10) for v in drawn[scale, e, s]], prepend=0)
        return f"M{first} 22v16" + "".join(f"m{move}-16v16" for move in moves)

    def count(decade):
        def inside(e, s):
            if decade < e:
                return ""
            values = drawn[scale, e, s]
            return str(int(np.sum((values >= 10.0**decade) & (values < 10.0 ** (decade + 1)))))

        return words(
            plot.across(10 ** (decade + 0.5)), 15, varies(inside, low, seed), style="font-weight:700"
        )

    return plot.inside(
        path(varies(marks, low, seed), **stroke(colour, 1.5)),
        *map(count, decades),
        words(5, 3, title, "start"),
        overflow="visible",
    )


class Found(NamedTuple):
    """What the searches with some number of trials find, for one place of the optimum and one importance."""

    grid: float  # distance from the optimum to the nearest trial of the grid
    shown: float  # of the random search that is drawn
    mean: float  # of random searches, on average
    wins: float  # the share of random searches that come nearer than the grid


def misses(points: np.ndarray, optimum: Sequence[float], importance: float) -> np.ndarray:
    """Distances (..., n) of `points` (..., n, 2) from `optimum`, the second axis counting `importance` times."""
    return np.hypot(*np.moveaxis((points - np.asarray(optimum)) * [1, importance], -1, 0))


def grid_and_random(
    name: str,
    *,
    levels: Sequence[int] = (3, 4, 5),
    importances: Sequence[float] = (0, 0.1, 0.2, 0.3, 0.5, 0.7, 1),
    places: Sequence[float] = tuple(np.round(np.arange(0, 1.01, 0.05), 2).tolist()),
    height: float = 0.44,
    seeds: int = 200,
    start: tuple[int, int, int] = (7, 0, 2),
) -> Slider:
    """A grid and a random search with as many trials, and how near each comes to an optimum that can be moved.

    Three sliders: where the optimum is along the first knob, how much the second one counts, and the number of
    trials, a square of one of `levels`. Along the second knob the optimum is at `height`. The random search of seed 0
    is drawn; the read-out has the mean over `range(seeds)` and the share of them that beat the grid.
    """
    for importance in importances:
        check_number("importances", importance, 0, 1)
    for place in (*places, height):
        check_number("places and height", place, 0, 1)
    check_whole("seeds", seeds, 1)
    for m in levels:
        check_whole("levels", m, 1)
    place = Control("Optimum along knob 1", tuple(places), start[0], "{:.2f}".format)
    weight = Control("Importance of knob 2", tuple(importances), start[1])
    size = Control("Trials", tuple(levels), start[2], lambda m: f"{m * m}")
    grids = {m: np.array([Grid(UNIT, m).point(i) for i in range(m * m)]) for m in levels}
    most = max(levels) ** 2
    drawn = np.array([[Random(UNIT, seed=s).point(i) for i in range(most)] for s in range(seeds)])
    randoms = {m: drawn[:, : m * m] for m in levels}
    found = {
        (a, s, m): _found(misses(grids[m], (a, height), s), misses(randoms[m], (a, height), s))
        for a in places
        for s in importances
        for m in levels
    }

    def nearest(points):
        return lambda a, s, m: points[m][misses(points[m], (a, height), s).round(9).argmin()]

    overall = {
        (s, m): (everywhere(grids[m][None], s), everywhere(randoms[m], s))
        for s in importances
        for m in levels
    }
    shown = {m: points[0] for m, points in randoms.items()}
    panels = [
        _square("grid", grids, nearest(grids), RED, place, weight, size, height),
        _square("random, seed 0", shown, nearest(shown), BLUE, place, weight, size, height),
    ]

    def text(field, places=3):
        return varies(lambda *at: digits(getattr(found[at], field), places), place, weight, size)

    readout = [
        "The nearest trial misses the optimum by ",
        text("grid"),
        " on the grid and by ",
        text("shown"),
        " in this random search. ",
        f"{seeds} random searches miss it by ",
        text("mean"),
        " on average, and ",
        varies(lambda *at: digits(100 * found[at].wins, 0), place, weight, size),
        " % of them come nearer than the grid. Averaged over the whole square of optima: grid ",
        varies(lambda *at: digits(overall[at][0], 3), weight, size),
        ", random ",
        varies(lambda *at: digits(overall[at][1], 3), weight, size),
        ".",
    ]
    return Slider(name, [place, weight, size], panels, readout)


def _found(grid: np.ndarray, random: np.ndarray) -> Found:
    best = random.min(axis=1)
    return Found(float(grid.min()), float(best[0]), float(best.mean()), float(np.mean(best < grid.min())))


def everywhere(points: np.ndarray, importance: float, side: int = 16) -> float:
    """What searches, `points` (searches, n, 2), miss the optimum by: the mean over `side` squared places of it."""
    middles = (np.arange(side) + 0.5) / side
    across, up = ((points[..., axis] - middles[:, None, None]) ** 2 for axis in (0, 1))
    squared = across[:, None] + importance**2 * up[None, :]
    return float(np.sqrt(squared.min(axis=-1)).mean())


def _square(
    title, points, nearest, colour, place: Control, weight: Control, size: Control, height: float
) -> Element:
    """The plane of two knobs: loss as rings around the optimum, the trials, the nearest of them, shadows below."""
    plot = Plot((0, 1), (0, 1), (18, 20, 150, 150))
    shadows = Plot((0, 1), (0, 1), (18, 172, 150, 12))
    across = varies(lambda a: px(plot.across(a)), place)
    tall = {
        r: varies(lambda s, r=r: px(min(plot.across(r) / max(s, 1e-6), 9000)), weight)
        for r in (0.08, 0.16, 0.32)
    }
    rings = [
        tag("ellipse", cx=across, cy=px(plot.down(height)), rx=px(plot.across(r)), ry=ry,
            fill=GREEN, fill_opacity=0.16)
        for r, ry in tall.items()
    ]  # fmt: skip
    shadow = varies(
        lambda m: "".join(f"M{px(shadows.across(a))} 2v10" for a in np.unique(points[m][:, 0])), size
    )
    best = [
        varies(lambda *at, i=i: px((plot.across, plot.down)[i](nearest(*at)[i])), place, weight, size)
        for i in (0, 1)
    ]
    return svg(
        178, 206, f"The trials of a search ({title}) around the optimum in the plane of two knobs, and "
        "below it their values of the first knob",
        words(18, 12, title, "start", style="font-weight:700"),
        plot.inside(
            *rings,
            path(varies(lambda m: plot.dots(*points[m].T), size), **dotted(colour, 6)),
            tag("circle", cx=best[0], cy=best[1], r=7, **stroke("currentColor", 1.5)),
            tag("g", path("M-5 0h10M0-5v10", **stroke("currentColor", 1.5)),
                transform=varies(lambda a: f"translate({px(plot.across(a))} {px(plot.down(height))})", place)),
        ),
        path("M18 20h150v150h-150z", **stroke("currentColor", 1, stroke_opacity=0.5)),
        shadows.inside(
            path(shadow, **stroke(colour, 1.5))
        ),
        words(93, 199, "knob 1"),
        words(-95, 12, "knob 2", transform="rotate(-90)"),
        least="8.5rem", most="17rem",
    )  # fmt: skip
