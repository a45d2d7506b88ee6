"""The figures of the chapter on scales: arrays and an Axes in, Axes out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from dlbook.style import BLACK, BLUE, RED
from dlbook.tuning.scales_experiments import Race

LOOKS = {
    "linear": dict(color=RED, marker="s", linestyle="--"),
    "log": dict(color=BLUE, marker="o", linestyle="-"),
}


def draws(ax: Axes, samples: dict[str, np.ndarray], *, xlabel: str) -> Axes:
    """Where the samples of each scale fall, as strips of ticks on a log axis."""
    for row, (name, values) in enumerate(samples.items()):
        look = LOOKS[name]
        ax.plot(values, np.full(len(values), row), "|", color=look["color"], markersize=18)
    ax.set(xscale="log", xlabel=xlabel, ylim=(-0.6, len(samples) - 0.4))
    ax.set_yticks(range(len(samples)), list(samples))
    return ax


def races(ax: Axes, n: Sequence[int], results: Sequence[Race], *, title: str) -> Axes:
    """The best loss of n trials on both scales: the mean over replays, and the range of the middle 80 %."""
    for name, look in LOOKS.items():
        values = [getattr(race, name) for race in results]
        low, high = (np.array([np.quantile(v, q) for v in values]) for q in (0.1, 0.9))
        ax.fill_between(n, low, high, color=look["color"], alpha=0.15, linewidth=0)
        ax.plot(n, [v.mean() for v in values], label=name, **look)
    ax.set(xscale="log", yscale="log", xlabel="trials", title=title)
    ax.set_xticks(n, [str(k) for k in n])
    ax.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    ax.minorticks_off()
    return ax


def averages(ax: Axes, signal: np.ndarray, curves: dict[str, np.ndarray]) -> Axes:
    """A noisy signal, and averages of it, each with its name."""
    ax.plot(signal, color="#bbbbbb", linewidth=0.4, marker="", zorder=0)
    for (name, values), dash in zip(curves.items(), ("-", "--"), strict=False):
        ax.plot(values, linestyle=dash, label=name, markevery=len(values) // 8)
    ax.set(xlabel="step", ylim=(-0.6, 1.6))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=9, borderpad=0)
    return ax


def ridge(
    ax: Axes, rates: np.ndarray, betas: np.ndarray, loss: np.ndarray, best: np.ndarray, *, title: str
) -> object:
    """A map of the median loss over rate and 1 − β, with the best rate of every β and seed as crosses."""
    image = ax.pcolormesh(
        rates, 1 - betas, np.median(loss, axis=-1), cmap="viridis_r", vmin=0.1, vmax=1.0, shading="nearest"
    )
    for seed in best.T:
        ax.plot(seed, 1 - betas, linestyle="", marker="x", color=BLACK, markersize=5)
    ax.set(xscale="log", yscale="log", xlabel="learning rate", title=title)
    ax.grid(visible=False)
    return image


def shares(ax: Axes, values: Sequence[int], counts: dict[str, np.ndarray]) -> Axes:
    """How often each whole number comes up, in bars side by side, one group a value."""
    width = 0.8 / len(counts)
    for k, (name, count) in enumerate(counts.items()):
        hatch, colour = (("", BLUE), ("//", RED))[k]
        at = np.arange(len(values)) + (k - (len(counts) - 1) / 2) * width
        ax.bar(at, 100 * count, width, color=colour, hatch=hatch, edgecolor="white", label=name)
    ax.axhline(100 / len(values), color=BLACK, linestyle=":", linewidth=1, marker="")
    ax.set_xticks(range(len(values)), [str(v) for v in values])
    ax.set(xlabel="value", ylabel="share of draws (%)")
    ax.legend()
    return ax
