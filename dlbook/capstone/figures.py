"""The figures of the capstone: arrays and Axes in, Axes out. The axis plots are those of `dlbook.tuning.figures`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from dlbook.capstone.experiments import SHIFTS, Cut, Shifted, Temperatures
from dlbook.style import BLACK, BLUE, GREEN, ORANGE, RED
from dlbook.tuning.figures import axis as axis_of
from dlbook.tuning.study import Study

GREY, CEILING = "0.6", 5.0


def axis(ax: Axes, study: Study, name: str) -> Axes:
    """An axis plot on which losses above `CEILING` lie at it, so that a few huge ones do not flatten the rest."""
    done = [one._replace(loss=CEILING) if CEILING < one.loss < np.inf else one for one in study.done]
    axis_of(ax, Study(done, study.space), name)
    ax.set(yscale="log", ylim=(0.03, 6), ylabel="validation loss (nats)")
    ax.set_yticks([0.05, 0.1, 0.5, 1, 5], ["0.05", "0.1", "0.5", "1", "5"])
    ax.minorticks_off()
    for words in ax.texts:  # the warning, where no trial lies
        words.set(position=(0.04, 0.42), horizontalalignment="left")
    return ax


def curse(ax: Axes, promised: Sequence[float], same: np.ndarray, new: np.ndarray) -> Axes:
    """The loss of each finalist in the search, and its losses (finalists, seeds) when it was trained again."""
    places = np.arange(1, len(promised) + 1)
    for aside, losses, colour, marker, label in (
        (0, same, GREEN, "^", "same cut, new weights"),
        (0.25, new, BLUE, "o", "new cuts"),
    ):
        x = places[:, None] + aside + np.linspace(-0.06, 0.06, losses.shape[1])
        ax.plot(x.ravel(), losses.ravel(), color=colour, marker=marker, linestyle="", alpha=0.6, label=label)
        ax.hlines(
            losses.mean(axis=1),
            places + aside - 0.1,
            places + aside + 0.1,
            color=BLACK,
            linewidth=2,
            zorder=3,
        )
    ax.plot(
        places - 0.25,
        promised,
        color=ORANGE,
        marker="*",
        markersize=13,
        linestyle="",
        markeredgecolor=BLACK,
        label="in the search",
    )
    ax.set(xlabel="rank in the search", ylabel="validation loss (nats)", ylim=(0, None))
    ax.set_xticks(places)
    ax.legend(loc="upper left", ncols=3, fontsize=9)
    ax.set_ylim(0, 1.15 * max(same.max(), new.max()))
    return ax


def arms(ax: Axes, accuracy: Mapping[str, np.ndarray]) -> Axes:
    """Validation error of each reader, a row each; thin lines join the readers of a seed, bars are means."""
    error = 100 * (1 - np.array([np.ravel(values) for values in accuracy.values()]))
    rows = np.arange(len(error))
    ax.plot(error, rows, color=GREY, linewidth=0.7, marker="")
    ax.plot(error.ravel(), np.repeat(rows, error.shape[1]), color=BLUE, marker="o", linestyle="", alpha=0.7)
    ax.vlines(error.mean(axis=1), rows - 0.3, rows + 0.3, color=BLACK, linewidth=2.5, zorder=3)
    ax.set_yticks(rows, list(accuracy))
    ax.invert_yaxis()
    ax.set(xlabel="validation digits read wrongly (%)", xlim=(0, None))
    ax.grid(axis="y", visible=False)
    return ax


def calibration(axes: Sequence[Axes], error: float, null: np.ndarray, result: Temperatures) -> None:
    """Left, a calibration error beside those of perfect readers; right, what fitted temperatures do elsewhere."""
    counts, _, _ = axes[0].hist(null, bins=16, color=GREY, label="perfect readers")
    top = counts.max()
    axes[0].vlines(np.quantile(null, 0.95), 0, top, color=BLACK, linestyle=":", label="95 % of these")
    axes[0].vlines(error, 0, top, color=RED, linewidth=2.5, label="measured")
    axes[0].set(xlabel="calibration error", yticks=[], ylim=(0, 1.5 * top))
    axes[0].legend(fontsize=9, loc="upper right")
    axes[1].plot(result.fitted, result.after - result.before, color=BLUE, marker="o", linestyle="", alpha=0.8)
    axes[1].axhline(0, color=BLACK, linewidth=1, marker="")
    axes[1].axvline(1, color=BLACK, linewidth=1, linestyle=":", marker="")
    axes[1].set(
        xlabel="temperature fitted on one half",
        ylabel="change of the loss\non the other (nats)",
        xscale="log",
    )
    axes[1].set_xticks([0.4, 0.6, 0.8, 1, 1.2], ["0.4", "0.6", "0.8", "1", "1.2"])
    axes[1].minorticks_off()


def cut(ax: Axes, result: Cut, target: float, threshold: float) -> Axes:
    """Wrong answers among those given, and their upper bound, against the share of digits answered."""
    x, at = 100 * result.coverage, int((result.confidence >= threshold).sum()) - 1
    ax.plot(x, 100 * result.bound, color=RED, linestyle="--", marker="", label="upper 95 % bound")
    ax.plot(x, 100 * result.error, color=BLUE, marker="", label="counted")
    ax.axhline(100 * target, color=BLACK, linestyle=":", marker="", label=f"promise, {100 * target:g} %")
    ax.plot(
        x[at], 100 * result.bound[at], color=GREEN, marker="D", markersize=8, linestyle="", label="threshold"
    )
    ax.set(xlabel="digits answered (%)", ylabel="wrong among them (%)", xlim=(20, 100.5), ylim=(-0.2, 6))
    ax.legend(loc="upper center")
    return ax


def shifts(axes: Sequence[Axes], result: Shifted, target: float) -> None:
    """Under each shift the share that is answered, and the share of wrong answers among these; a dot a seed."""
    rows = np.arange(len(SHIFTS))
    for ax, values, label in zip(
        axes,
        (result.coverage, result.error),
        ("digits answered (%)", "wrong among the answered (%)"),
        strict=True,
    ):
        places = np.repeat(rows, values.shape[1])
        ax.plot(100 * values.ravel(), places, color=BLUE, marker="o", linestyle="", alpha=0.6)
        ax.vlines(100 * values.mean(axis=1), rows - 0.3, rows + 0.3, color=BLACK, linewidth=2.5)
        ax.set_yticks(rows, list(SHIFTS) if ax is axes[0] else [""] * len(rows))
        ax.invert_yaxis()
        ax.set(xlabel=label, xlim=(-2, None))
        ax.grid(axis="y", visible=False)
    axes[1].axvline(100 * target, color=RED, linestyle=":", marker="", label=f"promise, {100 * target:g} %")
    axes[1].legend()


def ease(ax: Axes, accuracy: np.ndarray) -> Axes:
    """How many trials reach an accuracy, (2, seeds, n): with and without batch norm, a thin line a search."""
    at = np.linspace(0.1, 1, 181)
    for values, name, colour, dash in zip(
        accuracy, ("batch norm", "without"), (BLUE, RED), ("-", "--"), strict=True
    ):
        shares = 100 * (values[..., None] >= at).mean(axis=1)
        ax.plot(at, shares.T, color=colour, linestyle=dash, linewidth=0.7, alpha=0.6, marker="")
        ax.plot(at, shares.mean(axis=0), color=colour, linestyle=dash, linewidth=2.2, marker="", label=name)
    ax.set(xlabel="validation accuracy after 3 epochs", ylabel="trials that reach it (%)", ylim=(0, 100))
    ax.legend()
    return ax
