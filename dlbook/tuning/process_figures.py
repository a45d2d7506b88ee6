"""The figures of the chapter on the tuning process: arrays and Axes in, Axes out. Axis plots are in `figures.py`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from dlbook.style import BLACK, BLUE, GREEN, ORANGE, RED
from dlbook.tuning.figures import ticks
from dlbook.tuning.process_experiments import (
    SAMPLERS,
    SIDES,
    TRIALS,
    TRIALS_TO_ZOOM,
    Adaptive,
    Geometry,
    Shares,
    Zoomed,
)
from dlbook.tuning.space import Space

LOOKS = {
    "grid": dict(color=RED, marker="s", linestyle="--"),
    "random": dict(color=BLUE, marker="o", linestyle="-"),
    "Halton": dict(color=GREEN, marker="^", linestyle="-."),
}
SURFACES = (
    dict(color=BLUE, marker="o", linestyle="-"),
    dict(color=RED, marker="s", linestyle="--"),
    dict(color=GREEN, marker="^", linestyle="-."),
)


def geometry(axes: Sequence[Axes], result: Geometry) -> None:
    """Distance from the optimum to the nearest trial; one panel where one axis matters, one where both do."""
    for ax, rows, title in zip(axes, result, ("one axis matters", "both matter equally"), strict=True):
        for name, row in zip(SAMPLERS, rows, strict=True):
            ax.loglog(TRIALS, row, label=name, **LOOKS[name])
        _trials_axis(ax, TRIALS)
        _plain(ax.yaxis, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2))
        ax.set(title=title, ylim=(0.0035, 0.3))
    axes[0].set_ylabel("distance to the nearest trial\n(share of an axis)")
    axes[0].legend()


def surfaces(
    axes: Sequence[Axes], losses: Sequence[np.ndarray], spaces: Sequence[Space], *searches: np.ndarray
) -> None:
    """Surfaces of losses with one scale of greys, and the trials (n, 2) of one grid and one random search on them."""
    for ax, values, space in zip(axes, losses, spaces, strict=True):
        filled = _surface(ax, values, space, *searches)
    axes[0].figure.colorbar(filled, ax=axes, label="loss (nats)", ticks=[0, 0.8, 1.6, 2.4])


def _surface(ax: Axes, losses: np.ndarray, space: Space, grid: np.ndarray, random: np.ndarray):
    u, v = (np.linspace(0, 1, n) for n in losses.shape)
    filled = ax.contourf(u, v, losses.T, levels=np.linspace(0, 2.4, 13), cmap="Greys", alpha=0.7)
    ax.plot(*grid.T, color=RED, marker="s", linestyle="", markersize=5, label="grid", clip_on=False)
    ax.plot(*random.T, color=BLUE, marker="o", linestyle="", markersize=5, label="random", clip_on=False)
    (x, y), (name_x, name_y) = space.scales.values(), space.scales
    places, labels = ticks(x)
    ax.set_xticks(places, labels)
    places, labels = ticks(y)
    ax.set_yticks(places, labels)
    ax.set(xlabel=name_x, ylabel=name_y, xlim=(0, 1), ylim=(0, 1))
    ax.grid(False)
    return filled


def best_of(ax: Axes, found: np.ndarray) -> Axes:
    """Mean of the smallest loss found, (samplers, numbers of trials, replays), and the middle 80 % of the replays."""
    for k, (name, row) in enumerate(zip(SAMPLERS, found, strict=True)):
        x = np.array(TRIALS) * 1.06 ** (k - 1)
        low, high = np.quantile(row, (0.1, 0.9), axis=-1)
        ax.vlines(x, low, high, color=LOOKS[name]["color"], linewidth=1, alpha=0.5)
        ax.plot(x, row.mean(axis=-1), label=name, **LOOKS[name])
    ax.set(xscale="log", yscale="log", ylabel="best loss found (nats)")
    _trials_axis(ax, TRIALS)
    _plain(ax.yaxis, (0.1, 0.15, 0.2, 0.3, 0.5, 1))
    ax.legend()
    return ax


def importance(axes: Sequence[Axes], results: Mapping[str, Shares]) -> None:
    """The share of each hyperparameter: a bar from all trials, a dot from each half of them; one panel each."""
    for ax, (title, result) in zip(axes, results.items(), strict=True):
        for k in range(len(result.names)):
            ax.barh(k, result.all[k], color=BLUE, alpha=0.5, label="all trials" if k == 0 else None)
            dots = k + np.linspace(-0.25, 0.25, len(result.halves))
            label = "halves of them" if k == 0 else None
            ax.plot(result.halves[:, k], dots, color=BLACK, marker=".", linestyle="", label=label)
            ax.text(1.0, k, f"{result.all[k]:.2f}", va="center", ha="right")
        ax.set_yticks(range(len(result.names)), result.names)
        ax.set(title=title, xlabel="share of the variance", xlim=(0, 1), ylim=(len(result.names) - 0.5, -0.5))
        ax.grid(axis="y", visible=False)
    axes[-1].legend(loc="lower right", bbox_to_anchor=(0.88, 0))


def zoom(axes: Sequence[Axes], results: Mapping[str, tuple[Sequence[Zoomed], Sequence[Zoomed]]]) -> None:
    """What zooming in changes in the mean loss: by number of trials, and by the side of the box."""
    for look, (name, kinds) in zip(SURFACES, results.items(), strict=False):
        for ax, x, row in zip(axes, (TRIALS_TO_ZOOM, SIDES), kinds, strict=True):
            gains = [one.fine - one.flat for one in row]
            error = [2 * gain.std(ddof=1) / len(gain) ** 0.5 for gain in gains]
            ax.errorbar(x, [gain.mean() for gain in gains], error, label=name, capsize=2, **look)
    for ax in axes:
        ax.axhline(0, color=BLACK, linewidth=1, marker="")
        ax.set_xscale("log")
    _trials_axis(axes[0], TRIALS_TO_ZOOM)
    axes[0].set(ylabel="change of the mean loss (nats)", title="box of a quarter")
    _plain(axes[1].xaxis, SIDES, [f"{side:g}" for side in SIDES])
    axes[1].tick_params(axis="x", labelrotation=45)
    axes[1].set(xlabel="side of the box", title="40 trials")
    axes[0].legend(fontsize=8.5)


def adequate(ax: Axes, hits: Mapping[str, np.ndarray], top: float = 0.05) -> Axes:
    """How often a search hit the best 5 %, (samplers, numbers of trials) for each surface, beside the formula."""
    n = np.arange(1, 101)
    ax.plot(n, 1 - (1 - top) ** n, color=BLACK, marker="", label=r"$1 - 0.95^n$")
    for fill, (surface, rows) in zip(("full", "none"), hits.items(), strict=True):
        for name, row in zip(SAMPLERS, rows, strict=True):
            look = LOOKS[name] | dict(linestyle="", fillstyle=fill, markersize=6)
            ax.plot(TRIALS, row, label=f"{name}, {surface}", **look)
    ax.hlines(0.95, 20, 100, color=ORANGE, linewidth=1, linestyle=":")
    ax.set(ylabel="share of searches that hit the best 5 %", xscale="log", ylim=(0, 1.04))
    _trials_axis(ax, (1, 4, 9, 25, 59))
    ax.legend(fontsize=8)
    return ax


def adaptive(ax: Axes, result: Adaptive) -> Axes:
    """The smallest loss so far: means, and each run of the adaptive search."""
    x = np.arange(1, result.tpe.shape[1] + 1)
    ax.plot(x, result.tpe.T, color=ORANGE, linewidth=0.6, alpha=0.5, marker="")
    for row, label, look in (
        (result.random[:, : len(x)], "random", LOOKS["random"]),
        (
            result.random[:, 1::2],
            "random, 2 trials for 1",
            dict(color=BLUE, marker="o", linestyle=":", fillstyle="none"),
        ),
        (result.halton, "Halton", LOOKS["Halton"]),
        (result.tpe, "TPE (thin: each run)", dict(color=ORANGE, marker="D", linestyle="--")),
    ):
        ax.plot(x, row.mean(axis=0), label=label, markevery=4, **look)
    ax.set(xscale="log", yscale="log", ylabel="best loss so far (nats)", ylim=(0.1, 2.4))
    _trials_axis(ax, (1, 2, 4, 8, 16, 32))
    _plain(ax.yaxis, (0.1, 0.2, 0.5, 1, 2))
    ax.legend(fontsize=8)
    return ax


def _trials_axis(ax: Axes, trials: Sequence[int]) -> None:
    _plain(ax.xaxis, trials)
    ax.set_xlabel("trials")


def _plain(axis, places: Sequence[float], labels: Sequence[str] | None = None) -> None:
    """Ticks with plain numbers on a log axis, and no others."""
    axis.set_ticks(list(places), [f"{place:g}" for place in places] if labels is None else labels)
    axis.set_ticks([], minor=True)
