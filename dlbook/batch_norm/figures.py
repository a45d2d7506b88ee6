"""The figures of the chapter on normalising activations: arrays and an Axes in, Axes out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from dlbook.style import BLACK, BLUE, RED

PLAIN = dict(color=RED, marker="s", linestyle="--")
NORMALISED = dict(color=BLUE, marker="o", linestyle="-")
LOOKS = {"plain": PLAIN, "batch norm": NORMALISED}  # in the order of the arms


def bowl(ax: Axes, x: np.ndarray, y: np.ndarray, path: np.ndarray, lowest: np.ndarray, *, title: str) -> Axes:
    """Contours of the logistic loss in two weights, the `path` (steps, 2) from a cross, a star at the `lowest`."""
    middle, reach = (path[0] + lowest) / 2, 0.8 * np.abs(lowest - path[0]).max()
    grids = [m + np.linspace(-reach, reach, 81) for m in middle]
    z = np.stack(np.meshgrid(*grids), axis=-1) @ x.T
    loss = np.mean(np.logaddexp(0, z) - y * z, axis=-1)
    levels = np.quantile(loss, np.linspace(0.02, 0.95, 10))
    ax.contour(*grids, loss, levels=levels, cmap="viridis", linewidths=1)
    ax.plot(*path.T, color=RED, marker="o", markersize=2.5, linewidth=1)
    ax.plot(*path[0], color=BLACK, marker="x", markersize=8, linestyle="", markeredgewidth=2)
    ax.plot(*lowest, color=BLACK, marker="*", markersize=10, linestyle="")
    ax.set(aspect="equal", title=title, xlabel="weight of alcohol", ylabel="weight of malic acid")
    ax.grid(visible=False)
    return ax


def descent(ax: Axes, results: dict, *, title: str) -> Axes:
    """Loss against step for each scaling of the inputs; `results` maps a name to a `Descent`."""
    marks = np.unique(np.geomspace(1, len(next(iter(results.values())).loss) - 1, 8).astype(int))
    for name, result in results.items():
        steps = np.arange(1, len(result.loss))
        ax.loglog(steps, result.loss[1:], label=name, markevery=list(marks - 1))
    ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set(xlabel="gradient step", ylabel="loss (nats)", title=title, ylim=(0.01, 0.8))
    return ax


def histograms(axes: tuple[Axes, Axes], before: np.ndarray, after: np.ndarray) -> None:
    """The values of one unit, before and after normalisation, over the normal curve of the same two moments."""
    for ax, values, title in zip(axes, (before, after), ("before", "after batch norm"), strict=True):
        ax.hist(values, bins=40, color=BLUE, density=True, label="the unit")
        mean, std = values.mean(), values.std()
        at = np.linspace(mean - 3 * std, mean + 3 * std, 121)
        curve = np.exp(-(((at - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
        ax.plot(at, curve, color=RED, linestyle="--", marker="", label="normal curve")
        ax.set(xlabel="value of the unit", title=title)
    axes[0].set_ylabel("density")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)


def averaged_entries(ax: Axes, group: np.ndarray, *, title: str) -> Axes:
    """Which entries of a batch share one mean: `group` (examples, channels) holds a number per group."""
    ax.imshow(group == group[0, 0], cmap=ListedColormap(["#cccccc", BLUE]), aspect="equal", vmin=0, vmax=1)
    ax.set_xticks(np.arange(-0.5, group.shape[1]), [])
    ax.set_yticks(np.arange(-0.5, group.shape[0]), [])
    ax.grid(visible=True, color="white", alpha=1, linewidth=2)
    ax.tick_params(length=0)
    ax.set(title=title, xlabel="channels")
    return ax


def sweep(ax: Axes, values: np.ndarray, accuracy: np.ndarray, *, xlabel: str, threshold: float = 0.9) -> Axes:
    """Accuracy (2, values, seeds) against `values` on a log axis: every run a dot, the median a line."""
    for (name, look), runs in zip(LOOKS.items(), accuracy, strict=True):
        ax.plot(values, np.median(runs, axis=1), **{**look, "marker": ""})
        every = np.repeat(values, runs.shape[1])
        ax.plot(every, runs.ravel(), **{**look, "linestyle": ""}, alpha=0.6, label=name)
    ax.axhline(threshold, color=BLACK, linewidth=1, linestyle=":", marker="")
    ax.set(xscale="log", xlabel=xlabel, ylim=(-0.04, 1.04))
    return ax


def changes(ax: Axes, names: Sequence[str], accuracy: np.ndarray) -> Axes:
    """One row a change, every run a dot, for `accuracy` (changes, 2, seeds)."""
    rows = np.arange(len(names))[::-1]
    for (name, look), runs, shift in zip(
        LOOKS.items(), np.moveaxis(accuracy, 1, 0), (-0.16, 0.16), strict=True
    ):
        at = np.repeat(rows - shift, runs.shape[1])
        ax.plot(runs.ravel(), at, **{**look, "linestyle": ""}, alpha=0.7, label=name)
    ax.set_yticks(rows, names)
    ax.set(xlabel="validation accuracy", xlim=(-0.03, 1.03))
    ax.grid(visible=False, axis="y")
    for row in rows[:-1]:
        ax.axhline(row - 0.5, color=BLACK, linewidth=0.4, alpha=0.3, marker="")
    return ax


def best_so_far(ax: Axes, accuracy: np.ndarray) -> Axes:
    """The best accuracy so far, for `accuracy` (2, studies, trials): thin lines are studies, thick the median."""
    trial = np.arange(1, accuracy.shape[-1] + 1)
    for (name, look), runs in zip(LOOKS.items(), np.maximum.accumulate(accuracy, axis=-1), strict=True):
        for study in runs:
            ax.step(trial, study, where="post", **{**look, "marker": ""}, linewidth=0.8, alpha=0.5)
        ax.step(trial, np.median(runs, axis=0), where="post", **look, linewidth=2, label=name)
    ax.set(xlabel="trials made", ylabel="best validation accuracy so far", ylim=(0, 1.02), xticks=trial[::2])
    return ax


def gradients(ax: Axes, sizes: np.ndarray) -> Axes:
    """The gradient's norm in each layer's weights, for `sizes` (2, seeds, layers): thin lines are seeds."""
    layer = np.arange(1, sizes.shape[-1] + 1)
    for (name, look), runs in zip(LOOKS.items(), sizes, strict=True):
        ax.plot(layer, runs.T, **{**look, "marker": ""}, linewidth=0.8, alpha=0.5)
        ax.plot(layer, np.median(runs, axis=0), **look, markevery=8, label=name)
    ax.set(yscale="log", xlabel="layer")
    return ax
