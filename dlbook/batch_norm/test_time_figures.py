"""The figures of the chapter on test-time batch norm: arrays and an Axes in, Axes out."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from dlbook.batch_norm.test_time_experiments import EPOCH, Comparison, Sample, SmallBatches
from dlbook.style import BLACK, BLUE, COLOURS, GREEN, MARKERS, ORANGE, RED

PRECISE = dict(color=BLACK, marker="", linestyle="--")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))


def start(ax: Axes, decays: Sequence[float], steps: int = 5000) -> Axes:
    """The weight that the start keeps in a running average against the number of steps, on log axes."""
    t = np.unique(np.geomspace(1, steps, 200).astype(int))
    for decay, dash in zip(decays, DASHES, strict=False):
        ax.plot(t, decay**t, label=f"decay {decay}", linestyle=dash, markevery=25)
    ax.axhline(0.01, color=BLACK, linestyle=":", linewidth=1, marker="")
    ax.set(xscale="log", yscale="log", ylim=(1e-3, 1.3), xlabel="steps (mini-batches)")
    ax.set_ylabel("weight of the start")
    ax.legend()
    return ax


def gap(ax: Axes, result: Comparison, names: Mapping[str, str]) -> Axes:
    """Validation accuracy against epochs; `names` maps a way to its label. Every seed thin, the median thick."""
    looks = (
        dict(color=BLUE, marker="o"),
        dict(color=RED, marker="s"),
        dict(color=BLACK, marker="", linestyle="--"),
    )
    epochs = result.steps / EPOCH
    for (way, label), look in zip(names.items(), looks, strict=True):
        ax.plot(epochs, np.median(result.accuracy[way], axis=1), label=label, **look)
        ax.plot(epochs, result.accuracy[way], **{**look, "marker": ""}, linewidth=0.6, alpha=0.5)
    _epochs(ax, epochs)
    ax.set(ylabel="validation accuracy", ylim=(0.25, 1.0))
    ax.legend(loc="lower right")
    return ax


def neighbours(
    ax: Axes, sizes: Sequence[int], accuracy: Mapping[str, np.ndarray], reference: np.ndarray
) -> Axes:
    """Test accuracy in training mode against the digits read together; `reference` (seeds,) is in test mode."""
    looks = {"shuffled": dict(color=BLUE, marker="o"), "sorted": dict(color=RED, marker="s", linestyle="-.")}
    for order, look in looks.items():
        ax.plot(sizes, np.median(accuracy[order], axis=1), label=f"training mode, {order}", **look)
        _dots(ax, sizes, accuracy[order], look)
    ax.axhline(np.median(reference), label="test mode", **PRECISE)
    _sizes(ax, sizes)
    ax.set(xlabel="digits read together", ylabel="test accuracy", ylim=(0, 1.02))
    ax.legend()
    return ax


def ways(axes: tuple[Axes, Axes], result: Comparison) -> None:
    """How far each way is from precise statistics: in the means, and in the loss. Bands hold all seeds."""
    epochs = result.steps / EPOCH
    for k, way in enumerate(result.error):
        look = dict(color=COLOURS[k], marker=MARKERS[k], linestyle=DASHES[k])
        excess = result.loss[way] - result.loss["precise"]
        for ax, values in zip(axes, (result.error[way], excess), strict=True):
            ax.plot(epochs, np.median(values, axis=1), label=way, **look)
            ax.fill_between(
                epochs, values.min(axis=1), values.max(axis=1), color=COLOURS[k], alpha=0.12, linewidth=0
            )
    axes[0].set(yscale="log", ylabel="error of the means (σ)")
    axes[1].set_yscale("symlog", linthresh=0.02)
    axes[1].axhline(0, color=BLACK, linewidth=1, marker="")
    axes[1].set(ylabel="extra loss (nats)")
    for ax in axes:
        _epochs(ax, epochs)
    axes[0].set_xlabel("")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)


def sample(ax: Axes, sizes: Sequence[int], result: Sample) -> Axes:
    """Test accuracy against the number of training digits that the statistics come from; every draw a dot."""
    look = dict(color=BLUE, marker="o", linestyle="-")
    values = result.accuracy.reshape(len(sizes), -1)
    ax.plot(sizes, np.median(values, axis=1), label="a random part", **look)
    _dots(ax, sizes, values, look)
    ax.axhline(np.median(result.reference), label="all training digits", **PRECISE)
    _sizes(ax, sizes)
    ax.set(xlabel="training digits measured", ylabel="test accuracy")
    ax.legend(loc="lower right")
    return ax


def small_batches(ax: Axes, result: SmallBatches) -> Axes:
    """Test accuracy against the size of the mini-batch in training, for each way to use the trained network."""
    looks = {
        "precise": ("batch norm, precise", BLACK, "P", "--"),
        "decay 0.9": ("batch norm, decay 0.9", BLUE, "o", "-"),
        "decay 0.99": ("batch norm, decay 0.99", RED, "s", "-."),
        "batch": ("batch norm, training mode", ORANGE, "D", ":"),
        "no batch norm": ("no batch norm", GREEN, "^", (0, (5, 1, 1, 1, 1, 1))),
    }
    for name, (label, colour, marker, dash) in looks.items():
        look = dict(color=colour, marker=marker, linestyle=dash)
        ax.plot(result.sizes, np.median(result.accuracy[name], axis=1), label=label, **look)
        _dots(ax, result.sizes, result.accuracy[name], look)
    _sizes(ax, result.sizes)
    ax.set(xlabel="mini-batch size in training", ylabel="test accuracy", ylim=(0.25, 1.0))
    ax.legend(loc="lower right")
    return ax


def times(ax: Axes, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> Axes:
    """Microseconds for one digit before and after folding: the median a dot, a line over the middle half."""
    at = np.arange(len(before))[::-1]
    for results, shift, look in (
        (before, 0.12, dict(color=RED, marker="s", label="with batch norm")),
        (after, -0.12, dict(color=BLUE, marker="o", label="folded")),
    ):
        low, middle, high = (
            np.array([np.quantile(v, q) for v in results.values()]) for q in (0.25, 0.5, 0.75)
        )
        ax.errorbar(
            middle, at + shift, xerr=(middle - low, high - middle), linestyle="", markersize=7, **look
        )
    for y, name in zip(at, before, strict=True):
        saved = 1 - np.median(after[name]) / np.median(before[name])
        ax.annotate(f"{100 * saved:.0f} % saved", (1.02, y), xycoords=("axes fraction", "data"), va="center")
    ax.set_yticks(at, list(before))
    ticks = [5, 10, 20, 50, 100, 200, 500, 1000]
    ax.set(xscale="log", xlabel="microseconds for one digit", ylim=(-0.6, len(before) - 0.4))
    low, high = ax.get_xlim()
    ax.set_xticks([t for t in ticks if low <= t <= high], [str(t) for t in ticks if low <= t <= high])
    ax.minorticks_off()
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def _dots(ax: Axes, at: Sequence[float], values: np.ndarray, look: dict) -> None:
    """Every value a dot; `values` is (len(at), n)."""
    ax.plot(
        np.repeat(at, values.shape[1]), values.ravel(), **{**look, "linestyle": ""}, alpha=0.3, markersize=3
    )


def _epochs(ax: Axes, epochs: np.ndarray) -> None:
    ax.set_xscale("log")
    ax.set_xticks(epochs, [f"{e:g}" for e in epochs])
    ax.minorticks_off()
    ax.set_xlabel("epochs")


def _sizes(ax: Axes, sizes: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
