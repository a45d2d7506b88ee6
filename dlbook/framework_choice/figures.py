"""The figures of the chapter on frameworks: arrays and an Axes in, Axes out."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from dlbook.framework_choice.governance import LECTURE, LOOKED_UP, Project, alive
from dlbook.framework_choice.memo import weighted
from dlbook.framework_choice.speed import Point, ratios
from dlbook.style import BLACK, BLUE, COLOURS, GREEN, MARKERS, ORANGE, PINK, RED, SKY

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (6, 3)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\")
FILLS = (BLUE, SKY, ORANGE, RED, GREEN, PINK)


def code_lines(ax: Axes, parts: Mapping[str, Mapping[str, int]]) -> Axes:
    """Stacked bars: for each framework, the lines of each part of the program, with their number."""
    roles = list(dict.fromkeys(role for row in parts.values() for role in row))
    left = np.zeros(len(parts))
    for role, colour, hatch in zip(roles, FILLS, HATCHES, strict=False):
        values = np.array([row.get(role, 0) for row in parts.values()])
        ax.barh(list(parts), values, left=left, color=colour, hatch=hatch, edgecolor="white", label=role)
        for place, start, value in zip(range(len(parts)), left, values, strict=True):
            if value:
                patch = dict(boxstyle="round,pad=0.15", facecolor="white", edgecolor="none")
                ax.text(start + value / 2, place, value, ha="center", va="center", fontsize=9, bbox=patch)
        left = left + values
    ax.invert_yaxis()
    ax.set(xlabel="lines of code")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1), ncols=2)
    return ax


def differences(ax: Axes, curves: Mapping[str, np.ndarray], *, floor: float = 1e-17) -> Axes:
    """|difference of two losses| against the step, on a log axis; a curve has a row a seed, and 0 is at `floor`."""
    for (name, rows), dash, colour in zip(curves.items(), DASHES, (RED, ORANGE, BLUE, GREEN), strict=False):
        for number, row in enumerate(np.atleast_2d(rows)):
            label = name if number == 0 else None
            ax.plot(
                np.maximum(row, floor), linestyle=dash, color=colour, marker="", linewidth=1.2, label=label
            )
    ax.set(yscale="log", xlabel="training step", ylabel="|difference of the losses|, nats")
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1), ncols=1)
    return ax


def default_effects(ax: Axes, effects: Mapping[str, np.ndarray], *, floor: float = 1e-7) -> Axes:
    """One row a default, one dot a seed: how far it moves the test loss, on a log axis; the last row is grey."""
    names = list(effects)
    for place, name in enumerate(names):
        moved = np.maximum(np.abs(effects[name]), floor)
        colour, marker = (BLACK, "X") if place == len(names) - 1 else (BLUE, "o")
        ax.plot(moved, np.full(len(moved), place), linestyle="", marker=marker, color=colour, alpha=0.75)
        ax.plot([np.median(moved)], [place], linestyle="", marker="|", markersize=16, color=RED)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="|change of the test loss|, nats")
    return ax


def overhead(
    ax: Axes, points: Sequence[Point], *, against: str = "width", names: Sequence[str] | None = None
) -> Axes:
    """Time of a step against the width or the batch: the median of the rounds, and a band from fastest to slowest."""
    names = names or list(dict.fromkeys(name for point in points for name in point.seconds))
    for name, dash, marker, colour in zip(names, DASHES, MARKERS, COLOURS, strict=False):
        taken = [point for point in points if point.seconds.get(name)]
        if not taken:
            continue
        x = [getattr(point, against) for point in taken]
        rounds = np.array([point.seconds[name] for point in taken]) * 1e6
        ax.plot(x, np.median(rounds, axis=1), color=colour, linestyle=dash, marker=marker, label=name)
        ax.fill_between(x, rounds.min(axis=1), rounds.max(axis=1), color=colour, alpha=0.15, linewidth=0)
    ax.set(xscale="log", yscale="log", xlabel=against, ylabel="one training step, µs")
    return ax


def overhead_ratios(ax: Axes, points: Sequence[Point], reference: str, *, against: str = "width") -> Axes:
    """Each way's time over that of `reference`, paired within the rounds: every round a dot, the median a line."""
    names = list(dict.fromkeys(name for point in points for name in point.seconds if name != reference))
    for name, dash, marker in zip(names, DASHES, MARKERS, strict=False):
        taken = [point for point in points if point.seconds.get(name) and point.seconds.get(reference)]
        x = np.array([getattr(point, against) for point in taken])
        rounds = np.array([ratios(point, reference)[name] for point in taken])
        (line,) = ax.plot(x, np.median(rounds, axis=1), linestyle=dash, marker="", label=name)
        spots = np.repeat(x, rounds.shape[1]), rounds.ravel()
        ax.plot(*spots, linestyle="", marker=marker, markersize=3, color=line.get_color(), alpha=0.6)
    ax.axhline(1, color=BLACK, linewidth=0.8)
    ax.set(xscale="log", yscale="log", xlabel=against, ylabel=f"time, as a multiple of {reference}")
    return ax


def timeline(ax: Axes, projects: Sequence[Project]) -> Axes:
    """For each project a bar from the lecture to its last release; arrows go on, crosses had ended before."""
    start, now = LECTURE[0] + LECTURE[1] / 12, LOOKED_UP[0] + LOOKED_UP[1] / 12
    order = sorted(projects, key=lambda project: project.released or (0, 0))
    for place, project in enumerate(order):
        end = project.released[0] + project.released[1] / 12 if project.released else start
        colour, hatch = (GREEN, "") if alive(project) else (ORANGE, "///")
        if end > start:
            ax.barh(place, end - start, left=start, color=colour, hatch=hatch, edgecolor="white", height=0.6)
        else:
            ax.plot(start, place, marker="x", markersize=7, color=RED)
        ax.text(max(end, start) + 0.15, place, f"{project.home}, {project.licence}", va="center", fontsize=9)
    ax.axvline(now, color=BLACK, linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(order)), [project.name for project in order])
    ax.set(xlabel="year of the last release", xlim=(start - 0.4, now + 3.2))
    ax.set_xticks(range(2018, 2028, 2))
    ax.grid(axis="y", visible=False)
    return ax


def winners(
    ax: Axes, scores: Mapping[str, Mapping[str, float]], weights: Mapping[str, float], *, reach: float = 4
) -> Axes:
    """For each criterion, who wins when its weight alone is multiplied by a factor from 1 / `reach` to `reach`."""
    factors = np.geomspace(1 / reach, reach, 241)
    options = list(scores)
    seen = {}
    for place, criterion in enumerate(weights):
        first = [next(iter(weighted(scores, weights | {criterion: weights[criterion] * f}))) for f in factors]
        changes = [0, *(i for i in range(1, len(first)) if first[i] != first[i - 1]), len(first)]
        for begin, stop in pairwise(changes):
            number = options.index(first[begin])
            low, high = factors[begin], factors[min(stop, len(factors) - 1)]
            look = dict(color=FILLS[number], hatch=HATCHES[number], edgecolor="white", height=0.7)
            bar = ax.barh(place, high - low, left=low, **look)
            seen.setdefault(first[begin], bar)
    for edge, dash in ((1, "-"), (0.5, ":"), (1.5, ":")):
        ax.axvline(edge, color=BLACK, linewidth=0.9, linestyle=dash)
    ax.set_yticks(range(len(weights)), list(weights))
    ax.set(xscale="log", xlabel="the weight of this criterion alone, multiplied by", xlim=(1 / reach, reach))
    ax.set_xticks([0.25, 0.5, 1, 1.5, 2, 4], ["¼", "½", "1", "1½", "2", "4"])
    ax.minorticks_off()
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.legend(seen.values(), seen, loc="lower center", bbox_to_anchor=(0.45, 1), ncols=3, title="wins")
    return ax
