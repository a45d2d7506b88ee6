"""The figures of the chapter on fitting batch norm into a network: arrays and an Axes in, Axes out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from dlbook.batch_norm.network_experiments import GUESSING, DeadBias, Grid, Starts
from dlbook.batch_norm.network_frameworks import Port
from dlbook.style import BLACK, BLUE, COLOURS, GREEN, MARKERS, ORANGE, RED

PLAIN = dict(color=RED, marker="s", linestyle="--")
NORMALISED = dict(color=BLUE, marker="o", linestyle="-")
TUNED = dict(color=ORANGE, marker="^", linestyle=":")
COMPENSATED = dict(color=GREEN, marker="D", linestyle="-.")
LOOKS = {"plain": PLAIN, "batch norm": NORMALISED, "before": NORMALISED, "after": TUNED}


def arms(ax: Axes, at: Sequence[float], values: dict[str, np.ndarray], looks: dict[str, dict]) -> Axes:
    """For every arm the median over the seeds as a line and every seed as a dot; `values[arm]` is (at, seeds)."""
    for name, seen in values.items():
        look = looks[name]
        ax.plot(at, np.median(seen, axis=1), **{**look, "marker": ""})
        every = np.repeat(at, seen.shape[1])
        ax.plot(every, seen.ravel(), **{**look, "linestyle": ""}, alpha=0.6)
        ax.plot([], [], **look, label=name)
    ax.set_xscale("log")
    return ax


def accuracies(ax: Axes, rates: Sequence[float], grids: dict[str, Grid]) -> Axes:
    """Validation accuracy of each arm against the learning rate."""
    arms(ax, rates, {name: grid.accuracy for name, grid in grids.items()}, LOOKS)
    ax.axhline(0.1, color=BLACK, linestyle=":", linewidth=1, marker="")
    ax.set(xlabel="learning rate", ylabel="validation accuracy", ylim=(-0.03, 1.03))
    ax.legend(loc="lower left", bbox_to_anchor=(0.02, 0.12))
    return ax


def losses(ax: Axes, rates: Sequence[float], grids: dict[str, Grid], *, title: str) -> Axes:
    """Validation loss of each arm against the learning rate, on a log axis that ends at guessing."""
    arms(ax, rates, {name: grid.loss for name, grid in grids.items()}, LOOKS)
    ax.axhline(GUESSING, color=BLACK, linestyle=":", linewidth=1, marker="")
    ax.set(yscale="log", title=title, ylim=(0.04, 3.2))
    ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2], ["0.05", "0.1", "0.2", "0.5", "1", "2"])
    ax.minorticks_off()
    return ax


def starts(ax: Axes, scales: Sequence[float], result: Starts) -> Axes:
    """Validation accuracy against the scale of the first weights."""
    looks = {
        "plain": PLAIN,
        "plain, best learning rate": TUNED,
        "batch norm": NORMALISED,
        "batch norm, rate × scale²": COMPENSATED,
    }
    arms(ax, scales, {name: grid.accuracy for name, grid in zip(looks, result, strict=True)}, looks)
    ax.axhline(0.1, color=BLACK, linestyle=":", linewidth=1, marker="")
    ax.set(xlabel="scale of the first hidden weights", ylabel="validation accuracy", ylim=(-0.03, 1.03))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=2)
    return ax


def walk(ax: Axes, result: DeadBias) -> Axes:
    """The largest bias in front of batch norm after each step; thin lines seeds, one look for each training."""
    shown = zip(result.walk.items(), (RED, ORANGE, BLUE, GREEN), ("--", ":", "-", "-."), strict=True)
    for (name, walks), colour, dash in shown:
        for k, line in enumerate(np.transpose(walks)):
            label = ", ".join(name) if k == 0 else None
            ax.plot(
                np.arange(1, len(line) + 1),
                line,
                color=colour,
                linestyle=dash,
                marker="",
                alpha=0.7,
                label=label,
            )
    ax.set(yscale="log", xlabel="training step", ylabel="largest bias in front of batch norm")
    ax.legend(loc="center", bbox_to_anchor=(0.5, 0.27))
    return ax


def differences(ax: Axes, rates: Sequence[float], difference: np.ndarray) -> Axes:
    """Paired differences (rates, seeds) against the learning rate: every seed a dot, mean and standard error."""
    seeds = difference.shape[1]
    spread = np.geomspace(0.9, 1.1, seeds)
    ax.plot(
        np.outer(rates, spread).ravel(), difference.ravel(), linestyle="", color=BLUE, marker="o", alpha=0.5
    )
    ax.errorbar(
        np.multiply(rates, 1.25),
        difference.mean(axis=1),
        difference.std(axis=1, ddof=1) / np.sqrt(seeds),
        color=BLACK,
        marker="_",
        markersize=10,
        linestyle="",
        capsize=3,
    )
    ax.axhline(0, color=BLACK, linewidth=1, linestyle="--", marker="")
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss after − loss before (nats)")
    ax.set_yscale("symlog", linthresh=0.02)
    low, high = 2 * min(difference.min(), -0.1), 2 * max(difference.max(), 0.1)
    ticks = [tick for tick in (-2, -0.2, -0.02, 0, 0.02, 0.2, 2) if low < tick < high]
    ax.set_ylim(low, high)
    ax.set_yticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    return ax


def ported(axes: tuple[Axes, Axes], result: dict[str, Port], *, floor: float = 1e-8) -> None:
    """How far each port is from NumPy, at every step of training and at test time; 0 is drawn at `floor`."""
    for k, (name, port) in enumerate(result.items()):
        look = dict(color=COLOURS[k], marker=MARKERS[k], linestyle="-" if k < 2 else ("--", ":", "-.")[k % 3])
        axes[0].plot(np.maximum(port.training, floor), **look, markevery=(k, 5), label=name)
        axes[1].plot(max(port.test, floor), k, **look)
    axes[0].set(yscale="log", xlabel="step", ylabel="difference of the loss (nats)", title="training")
    axes[0].set_xticks([0, 5, 10, 15, 19])
    axes[1].set(xscale="log", xlabel="difference of the loss (nats)", title="test time", xlim=(floor / 3, 10))
    axes[1].set_yticks(range(len(result)), list(result))
    axes[1].yaxis.tick_right()
    axes[1].invert_yaxis()
