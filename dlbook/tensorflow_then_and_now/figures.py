"""The figures of the chapter on TensorFlow: arrays and an Axes in, Axes out."""

import numpy as np
from matplotlib.axes import Axes

from dlbook.style import BLACK, BLUE, RED

DASHES = ("-", "--", (0, (1, 3)), "-.", ":")


def parabola(ax: Axes, path: np.ndarray) -> Axes:
    """J(w) = w² − 10 w + 25 and the points that gradient descent visits."""
    w = np.linspace(-0.5, 10.5, 200)
    ax.plot(w, (w - 5) ** 2, color=BLACK, marker="")
    ax.plot(path, (path - 5) ** 2, color=BLUE, linestyle="", marker="o", markersize=3)
    ax.set(xlabel="$w$", ylabel="$J(w)$")
    return ax


def descents(ax: Axes, paths: dict[str, np.ndarray], *, floor: float = 1e-5) -> Axes:
    """Distance from the minimum against the step on a log axis that ends at `floor`; each path is named."""
    for (name, path), dash, shift in zip(paths.items(), DASHES, range(len(paths)), strict=False):
        distance = np.maximum(np.abs(path.astype("float64") - 5), floor)
        ax.plot(distance, linestyle=dash, label=name, markevery=(shift, max(1, len(path) // 8)))
    ax.set(yscale="log", xlabel="gradient step", ylabel="distance from the minimum, $|w - 5|$")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return ax


def swings(ax: Axes, paths: dict[str, np.ndarray]) -> Axes:
    """w itself against the step; each path is named."""
    for (name, path), dash in zip(paths.items(), DASHES, strict=False):
        ax.plot(path, linestyle=dash, label=name, markevery=25)
    ax.set(xlabel="gradient step", ylabel="$w$")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def stagnation(ax: Axes, wanted: np.ndarray, half_gap: np.ndarray) -> Axes:
    """The step that is wanted at each point of a descent, and half the gap between neighbouring numbers there.

    The first point is left out: around 0 the gaps are 38 decades smaller.
    """
    step, wanted, half_gap = np.arange(1, len(wanted)), wanted[1:], half_gap[1:]
    ax.plot(step, wanted, color=BLUE, label="the step wanted", markevery=100)
    ax.plot(step, half_gap, color=RED, linestyle="--", marker="", label="half the gap to the next float32")
    ax.set(yscale="log", xlabel="gradient step", ylabel="size")
    ax.legend()
    return ax


def traces(ax: Axes, counts: dict[str, list[int]]) -> Axes:
    """How often the body was traced against the number of calls; one line a kind of argument."""
    for (name, count), dash in zip(counts.items(), DASHES, strict=False):
        ax.plot(range(1, len(count) + 1), count, label=name, linestyle=dash)
    ax.set(xlabel="calls", ylabel="times traced", ylim=(0, None))
    ax.legend()
    return ax
