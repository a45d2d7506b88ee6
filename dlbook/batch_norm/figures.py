"""The figures of the chapter on normalising activations: arrays and an Axes in, Axes out."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from dlbook.style import BLUE, RED

PLAIN, NORMALISED = dict(color=RED, marker="s", linestyle="--"), dict(color=BLUE, marker="o", linestyle="-")


def histograms(axes: tuple[Axes, Axes], before: np.ndarray, after: np.ndarray) -> None:
    """The values of one unit over a mini-batch, before and after normalisation."""
    for ax, values, title in zip(axes, (before, after), ("before", "after batch norm"), strict=True):
        ax.hist(values, bins=40, color=BLUE)
        ax.axvline(values.mean(), color=RED, linestyle="--", marker="")
        ax.set(xlabel="value of the unit", title=title)
    axes[0].set_ylabel("examples")


def descent(ax: Axes, results: dict, *, title: str) -> Axes:
    """Loss against step for each scaling of the inputs; `results` maps a name to a `Descent`."""
    marks = np.unique(np.geomspace(1, len(next(iter(results.values())).loss) - 1, 8).astype(int))
    for name, result in results.items():
        ax.loglog(np.arange(1, len(result.loss)), result.loss[1:], label=name, markevery=list(marks - 1))
    ax.set(xlabel="gradient step", title=title)
    return ax


def bowl(ax: Axes, x: np.ndarray, y: np.ndarray, path: np.ndarray, *, title: str, reach: float) -> Axes:
    """Contours of the logistic loss in two weights, and the `path` (steps, 2) of gradient descent."""
    grid = np.linspace(-reach, reach, 121)
    w = np.stack(np.meshgrid(grid, grid), axis=-1)
    z = w @ x.T
    loss = np.mean(np.logaddexp(0, z) - y * z, axis=-1)
    ax.contour(grid, grid, loss, levels=np.quantile(loss, np.linspace(0.01, 0.9, 10)), cmap="viridis")
    ax.plot(*path.T, color=RED, marker="o", markersize=3, linewidth=1)
    ax.set(
        aspect="equal", title=title, xlabel="weight of feature 1", xlim=(-reach, reach), ylim=(-reach, reach)
    )
    ax.grid(visible=False)
    return ax


def shares(ax: Axes, accuracy: dict[str, np.ndarray]) -> Axes:
    """The share of configurations at or above each accuracy; one line a seed, `accuracy[arm]` is (seeds, n)."""
    at = np.linspace(0.1, 1, 91)
    for (name, values), look in zip(accuracy.items(), (PLAIN, NORMALISED), strict=True):
        share = (values[:, :, None] >= at).mean(axis=1)
        for k, line in enumerate(share):
            label = name if k == 0 else None
            ax.plot(at, line, **look, markevery=10, alpha=0.6, linewidth=1, label=label)
    ax.set(xlabel="validation accuracy reached", ylabel="share of configurations", ylim=(0, 1))
    ax.legend()
    return ax


def tolerance(
    ax: Axes, accuracy: np.ndarray, learning_rates: np.ndarray, scales: np.ndarray, *, title: str
) -> Axes:
    """A map of the accuracy `(scales, learning_rates)`, the number written into each cell."""
    image = ax.imshow(accuracy, origin="lower", aspect="auto", vmin=0.1, vmax=1, cmap="viridis")
    for (row, column), value in np.ndenumerate(accuracy):
        colour = "black" if value > 0.65 else "white"
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    ax.set_xticks(range(len(learning_rates)), [f"{v:.2g}" for v in learning_rates], rotation=60)
    ax.set_yticks(range(len(scales)), [f"{v:.2g}" for v in scales])
    ax.set(xlabel="learning rate", title=title)
    ax.grid(visible=False)
    return image


def against_depth(ax: Axes, depths: list[int], accuracy: dict[str, np.ndarray]) -> Axes:
    """Accuracy at the best learning rate against depth: every seed a dot, the median a line."""
    for (name, values), look in zip(accuracy.items(), (PLAIN, NORMALISED), strict=True):
        ax.plot(depths, np.median(values, axis=0), label=name, **look)
        ax.plot(np.repeat(depths, len(values)), values.T.ravel(), **{**look, "linestyle": ""}, alpha=0.4)
    ax.set(xlabel="hidden layers", ylabel="validation accuracy", ylim=(0, 1.02))
    ax.set_xscale("log")
    ax.set_xticks(depths, [str(d) for d in depths])
    ax.minorticks_off()
    ax.legend(loc="lower left")
    return ax


def averaged_entries(ax: Axes, group: np.ndarray, *, title: str) -> Axes:
    """Which entries of a batch share one mean: `group` (examples, channels) holds a number per group."""
    first = group == group[-1, 0]
    ax.imshow(first, cmap=ListedColormap(["#dddddd", BLUE]), aspect="equal", vmin=0, vmax=1)
    ax.set_xticks(np.arange(-0.5, group.shape[1]), [])
    ax.set_yticks(np.arange(-0.5, group.shape[0]), [])
    ax.grid(visible=True, color="white", alpha=1, linewidth=2)
    ax.tick_params(length=0)
    ax.set(title=title, xlabel="channels")
    return ax
