"""The figures of the chapter on pandas and caviar: arrays and Axes in, Axes out.

Those of a single study, such as its rungs, are in `figures.py`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from dlbook.style import BLACK, BLUE, GREEN, ORANGE, RED
from dlbook.tuning.caviar_experiments import (
    BEST_OF,
    BUDGETS,
    DOMAINS,
    OLD,
    SIZES,
    Agreement,
    Arms,
    Curse,
    Diaries,
    Spent,
    Stale,
    Transfer,
)

GREY = "0.6"


def diaries(axes: Sequence[Axes], result: Diaries, thick: int = 0) -> None:
    """Loss and learning rate of babysat models day by day, one of them thick; crosses are days that were undone."""
    days = np.arange(1, len(result.rates) + 1)
    for k in range(result.rates.shape[1]):
        strong = k == thick
        look = (
            dict(color=BLUE, linewidth=2.2, zorder=3)
            if strong
            else dict(color=GREY, linewidth=0.8, alpha=0.7)
        )
        for ax, values in zip(axes, (result.losses, result.rates), strict=True):
            ax.plot(days, values[:, k], marker="", **look)
        undone = ~result.kept[:, k]
        if strong:
            axes[0].plot(
                days[undone],
                result.losses[undone, k],
                marker="x",
                markersize=8,
                color=RED,
                linestyle="",
                zorder=4,
                label="day undone",
            )
    axes[0].set(ylabel="loss in the evening\n(nats)", yscale="log")
    _plain(axes[0].yaxis, (0.2, 0.5, 1, 2))
    axes[0].legend()
    axes[1].set(ylabel="learning rate", xlabel="day", yscale="log")
    axes[1].set_xticks(days[::2])


def agreement(ax: Axes, results: Sequence[Agreement], every: int = 3) -> Axes:
    """Spearman's correlation of early and final ranks, over all trials and among the best third; a line a seed."""
    for k, result in enumerate(results):
        epochs = every * np.arange(1, len(result.all) + 1)
        ax.plot(epochs, result.all, color=BLUE, marker="o", label="all trials" if k == 0 else None)
        ax.plot(
            epochs,
            result.best,
            color=RED,
            marker="s",
            linestyle="--",
            label="the best third" if k == 0 else None,
        )
    ax.set(xlabel="epoch", ylabel="correlation of ranks\nwith the final ranks", ylim=(-0.3, 1.05))
    ax.set_xticks(epochs[::2])
    ax.legend()
    return ax


def arms(ax: Axes, result: Arms) -> Axes:
    """The share of replays that found a loss of at most x."""
    names = "halving", "random, as many epochs", "all in full"
    looks = ((BLUE, "-"), (RED, "--"), (BLACK, ":"))
    for losses, name, epochs, (colour, dash) in zip(result[:3], names, result.epochs, looks, strict=True):
        share = np.arange(1, len(losses) + 1) / len(losses)
        ax.plot(np.sort(losses), share, color=colour, linestyle=dash, marker="", label=f"{name} ({epochs})")
    ax.set(xlabel="loss found (nats)", ylabel="share of replays", xscale="log", ylim=(0, 1.02))
    _plain(ax.xaxis, (0.25, 0.5, 1, 2))
    ax.legend(fontsize=8.5, loc="lower right")
    return ax


def spent(ax: Axes, result: Spent, careful: np.ndarray) -> Axes:
    """The loss found by each way of spending a budget; `careful` are pandas that started at a small rate."""
    looks = {"random": (RED, "s", "--"), "halving": (BLUE, "o", "-")}
    for name, (colour, marker, dash) in looks.items():
        rows = getattr(result, name)
        low, middle, high = np.quantile(rows, (0.1, 0.5, 0.9), axis=1)
        label = {"random": "caviar: all in full", "halving": "caviar: halving"}[name]
        ax.plot(BUDGETS, middle, color=colour, marker=marker, linestyle=dash, label=label)
        ax.fill_between(BUDGETS, low, high, color=colour, alpha=0.12, linewidth=0)
    for x, losses, colour, marker, label in (
        (0.62, result.alone, GREY, "x", "one, unwatched"),
        (0.74, result.panda, ORANGE, "D", "panda, random start"),
        (0.86, careful, GREEN, "^", "panda, rate 0.001"),
    ):
        aside = 1 + 0.06 * (np.arange(len(losses)) * 0.618 % 1 - 0.5)
        ax.plot(
            x * aside, losses, color=colour, marker=marker, linestyle="", alpha=0.6, markersize=4, label=label
        )
    ax.set(xlabel="budget (full trainings)", ylabel="smallest loss (nats)", xscale="log", yscale="log")
    _plain(ax.xaxis, BUDGETS)
    _plain(ax.yaxis, (0.25, 0.5, 1, 2))
    ax.legend(fontsize=9)
    return ax


def stale(axes: Sequence[Axes], result: Stale) -> None:
    """For each change the best rate, and the loss at it and at the rate that was best before."""
    rows = np.arange(len(result.names))
    axes[0].plot(result.best, rows, marker="o", color=BLUE, linestyle="")
    axes[0].axvline(result.best[OLD], color=GREY, linestyle=":")
    axes[0].set(xlabel="best learning rate", xscale="log")
    axes[0].set_yticks(rows, result.names)
    for a, b, y in zip(result.at_best, result.at_old, rows, strict=True):
        axes[1].plot([a, b], [y, y], color=GREY, marker="", linewidth=1)
    axes[1].plot(result.at_best, rows, marker="o", color=BLUE, linestyle="", label="at its own best")
    axes[1].plot(result.at_old, rows, marker="s", color=RED, linestyle="", label="at the old rate")
    axes[1].set(xlabel="loss (nats)", xscale="log")
    _plain(axes[1].xaxis, (0.25, 0.5, 1, 2))
    axes[1].set_yticks(rows, [])
    axes[1].legend(fontsize=8.5, loc="upper center")
    for ax in axes:
        ax.set_ylim(len(rows) - 0.5, -1.6)


def transfer(axes: Sequence[Axes], results: Mapping[str, Transfer]) -> None:
    """What each domain (row) loses with the best rate of another (column)."""
    names = list(DOMAINS)
    for ax, (title, result) in zip(axes, results.items(), strict=True):
        ax.imshow(result.regret, cmap="Greys", vmin=0, vmax=2.3)
        for (i, j), value in np.ndenumerate(result.regret):
            colour = "white" if value > 1.1 else BLACK
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
        ax.set_xticks(
            range(4),
            [f"{name}\n{rate:.2g}" for name, rate in zip(names, result.best, strict=True)],
            fontsize=8,
        )
        ax.set_yticks(range(4), names)
        ax.set(title=title, xlabel="rate borrowed from")
        ax.grid(False)
    axes[1].set_yticks(range(4), [])
    axes[0].set_ylabel("trained on")


def curse(ax: Axes, result: Curse) -> Axes:
    """Apparent and real gains of the best of N, for two sizes of the validation set."""
    for k, (size, marker) in enumerate(zip(SIZES, "so", strict=True)):
        ax.plot(
            BEST_OF,
            result.apparent[k],
            color=RED,
            marker=marker,
            linestyle="--",
            label=f"apparent, {size} images",
        )
        ax.plot(BEST_OF, result.real[k], color=BLUE, marker=marker, label=f"real, chosen by {size}")
    ax.set(
        xlabel="seeds to choose from", ylabel="gain over their mean (points)", xscale="log", ylim=(0, None)
    )
    _plain(ax.xaxis, BEST_OF)
    ax.legend()
    return ax


def _plain(axis: Axis, values: Sequence[float]) -> None:
    axis.set_ticks(values, [f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)
