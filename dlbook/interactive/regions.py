"""What the temperature changes in a softmax classifier, and what it does not."""

from collections.abc import Sequence

import numpy as np

from dlbook.interactive.frame import Control, Element, Slider, digits, px, svg, tag, varies
from dlbook.interactive.plot import Plot, dotted, path, stroke, words
from dlbook.shapes import check_number, shape_of
from dlbook.softmax.experiments import fit
from dlbook.softmax.numpy import cross_entropy, softmax
from dlbook.style import BLUE, GREEN, RED

TEMPERATURES = (
    0.1,
    0.13,
    0.16,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.63,
    0.8,
    1,
    1.25,
    1.6,
    2,
    2.5,
    3.2,
    4,
    5,
    6.3,
    8,
    10,
)
LEVELS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of the shades; each adds one layer of colour
CLASSES, COLOURS = ("A", "B", "C"), (BLUE, RED, GREEN)
REACH = 5.0  # the map goes from -5 to 5 in both directions


def contour(W: np.ndarray, k: int, level: float) -> np.ndarray:
    """Around where softmax(x W) gives class `k` of three at least `level`: corners (n, 2), from the tie point.

    With d_i = z_k − z_i the border is exp(−d_i) + exp(−d_j) = 1 / level − 1, a curve with one parameter. At the
    temperature T it is the same curve, T times as large.
    """
    i, j = (other for other in range(3) if other != k)
    A = np.stack([W[:, k] - W[:, i], W[:, k] - W[:, j]])
    end = 25 * REACH * np.abs(A).max()  # far outside the map at every temperature
    u = np.concatenate([np.linspace(-6, 6, 33), [8, 12, end]])
    u = np.concatenate([-u[:-4:-1], u])
    shift = -np.log(1 / level - 1)
    d = shift + np.stack([np.logaddexp(0, -u), np.logaddexp(0, u)], axis=1)
    return np.linalg.solve(A, np.concatenate([d, [[end + shift] * 2]]).T).T


def tie(W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where three classes have the same score."""
    A, c = W[:, :1] - W[:, 1:], b[:1] - b[1:]
    return np.linalg.solve(A.T, -c)


def temperature(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    point: Sequence[float] = (0.5, 1.0),
    temperatures: Sequence[float] = TEMPERATURES,
    start: int = 10,
    l2: float = 1e-3,
) -> Slider:
    """The map of a softmax regression fitted to `x` (n, 2) and `y` (n,) of three classes, at each temperature.

    Colour says which class wins, its strength how probable it is. Beside it the three probabilities of `point`; below
    it the accuracy on the data, the mean confidence and the loss. `l2` is the penalty of the fit, whose weights are
    then rounded to two digits.
    """
    if len(shape_of(x, "x")) != 2 or x.shape[1] != 2 or set(np.unique(y)) != {0, 1, 2} or len(x) != len(y):
        raise ValueError(
            f"x must be points (n, 2) and y their classes 0, 1 and 2, got shapes {x.shape} and {np.shape(y)} "
            f"with classes {sorted(set(np.unique(y)))}: try data.blobs(0, classes=3)"
        )
    if len(point) != 2:
        raise ValueError(f"point must be two numbers, got {point!r}")
    for value in temperatures:
        check_number("temperatures", value, 0, 100, open_low=True)
    T = Control("Temperature T", tuple(temperatures), start)
    W, b = (np.round(part, 2) for part in fit(x, y, l2))
    z, z_point = x @ W + b, np.asarray(point) @ W + b
    at_point = {value: softmax(z_point, temperature=value) for value in temperatures}

    panels = [_map(W, b, x, y, point, T), _bars(at_point, T)]
    winner = CLASSES[z_point.argmax()]
    readout = [
        f"The star is {winner} with probability ",
        varies(lambda value: digits(at_point[value].max(), 2), T),
        f". Of {len(x)} points ",
        digits(100 * np.mean(z.argmax(axis=1) == y), 1),
        " % are classified correctly at every temperature; the mean confidence is ",
        varies(lambda value: digits(softmax(z, temperature=value).max(axis=1).mean(), 3), T),
        ", the loss ",
        varies(lambda value: digits(float(cross_entropy(z / value, y)), 3), T),
        ".",
    ]
    return Slider(name, [T], panels, readout)


def rays(W: np.ndarray) -> np.ndarray:
    """The directions (3, 2) in which the borders leave the tie point; along each, two classes tie and lead."""
    found = []
    for k in range(3):
        i, j = (other for other in range(3) if other != k)
        across = W[:, i] - W[:, j]
        along = np.array([-across[1], across[0]]) / np.hypot(*across)
        found.append(along if (W[:, i] - W[:, k]) @ along > 0 else -along)
    return np.array(found)


def _map(W, b, x, y, point, T: Control) -> Element:
    plot = Plot((-REACH, REACH), (-REACH, REACH), (26, 22, 286, 286))
    flip = np.array([1, -1]) * plot.box[2] / (2 * REACH)  # from the axes to pixels, which count downwards
    centre = tie(W, b)
    middle = f"translate({px(plot.across(centre[0]))} {px(plot.down(centre[1]))})"
    shades = [
        path(_closed(contour(W, k, level) * flip), fill=colour, fill_opacity=0.06)
        for k, colour in enumerate(COLOURS)
        for level in LEVELS
    ]
    borders = "".join(f"M0 0L{px(a)} {px(b)}" for a, b in 4 * REACH * rays(W) * flip)
    return svg(
        320, 340, "Points of three classes in the plane, coloured by the class that wins and by how probable it is",
        plot.axes({-4: "−4", 0: "0", 4: "4"}, {-4: "−4", 0: "0", 4: "4"}, xlabel="feature 1", ylabel="feature 2"),
        plot.inside(
            tag("g", *shades, transform=varies(lambda value: f"{middle} scale({value:g})", T)),
            path(borders, transform=middle, **stroke("currentColor", 1.5)),
            *(path(plot.dots(*x[y == k].T), **look) for k in range(3) for look in _marks(k)),
            *(_name(plot, x[y == k].mean(axis=0) * 1.9, CLASSES[k]) for k in range(3)),
            words(plot.across(point[0]), plot.down(point[1]) + 7, "★", style="font-size:20px"),
        ),
    )  # fmt: skip


def _marks(k: int) -> tuple[dict, dict]:
    """The look of the points of class `k`, below and on top: a dot with a rim that stands out from every shade."""
    return tuple(
        dotted(colour, size, square=k == 1) for colour, size in (("currentColor", 5), (COLOURS[k], 3.6))
    )


def _name(plot: Plot, at: np.ndarray, name: str) -> Element:
    return words(plot.across(at[0]), plot.down(at[1]) + 5, name, style="font-size:15px;font-weight:700")


def _closed(corners: np.ndarray) -> str:
    return "M" + "L".join(f"{px(a)} {px(b)}" for a, b in corners) + "z"


def _bars(at_point: dict, T: Control) -> Element:
    plot = Plot((0, 3), (0, 1), (26, 22, 150, 130))
    bars = [
        tag(
            "rect", x=px(plot.across(k + 0.2)), width=px(plot.across(0.6)), fill=colour,
            y=varies(lambda value, k=k: px(plot.down(at_point[value][k])), T),
            height=varies(lambda value, k=k: px(plot.box[3] - plot.down(at_point[value][k])), T),
        )
        for k, colour in enumerate(COLOURS)
    ]  # fmt: skip
    return svg(
        180, 174, "Bars of the three probabilities of the star",
        plot.axes({k + 0.5: name for k, name in enumerate(CLASSES)}, {0: "0", 0.5: "½", 1: "1"},
                  ylabel="probability of the star"),
        plot.inside(*bars),
        least="9rem", most="14rem",
    )  # fmt: skip
