"""The figures of the chapter on why batch norm works: arrays and an Axes in, Axes out."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from dlbook.batch_norm.network_experiments import GUESSING
from dlbook.batch_norm.network_figures import NORMALISED, PLAIN, arms
from dlbook.batch_norm.why_experiments import Arm, Changed, Decay, Ghosts, Steps
from dlbook.style import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY

THIRD = dict(color=GREEN, marker="^", linestyle="-.")
FOURTH = dict(color=ORANGE, marker="D", linestyle=":")
FIFTH = dict(color=PINK, marker="v", linestyle=(0, (3, 1, 1, 1)))
LOOKS = (PLAIN, NORMALISED, THIRD, FOURTH, FIFTH)


def losses(ax: Axes, rates: Sequence[float], trained: Mapping[str, Arm]) -> Axes:
    """Final training loss against the learning rate, on log axes: every seed a dot, the median a line."""
    looks = dict(zip(trained, LOOKS, strict=False))
    arms(ax, rates, {name: arm.loss for name, arm in trained.items()}, looks)
    ax.axhline(GUESSING, color=BLACK, linestyle=":", linewidth=1, marker="")
    ax.set(yscale="log", xlabel="learning rate", ylabel="training loss (nats)", ylim=(0.015, 3))
    ax.set_yticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
    ax.minorticks_off()
    return ax


def drift(ax: Axes, trained: Mapping[str, Arm]) -> Axes:
    """Final training loss against drift, each arm at its best learning rate: every seed a dot, the medians large."""
    for (name, arm), look in zip(trained.items(), LOOKS, strict=False):
        row = np.median(arm.loss, axis=1).argmin()
        look = {**look, "linestyle": ""}
        ax.plot(arm.drift[row], arm.loss[row], **look, alpha=0.5)
        ax.plot(np.median(arm.drift[row]), np.median(arm.loss[row]), **look, markersize=9, label=name)
    ax.set(xscale="log", yscale="log", xlabel="drift in ten steps (standard deviations)")
    ax.set(ylabel="training loss (nats)", ylim=(0.015, 1.5))
    ax.set_yticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
    ax.set_xticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return ax


def changed(axes: Sequence[Axes], sizes: Sequence[float], readers: Mapping[str, Changed]) -> None:
    """Validation accuracy against the size of the change in the early layers: two panels, two kinds of change."""
    for (name, result), look in zip(readers.items(), (PLAIN, NORMALISED), strict=True):
        for ax, seen in zip(axes, result, strict=True):
            ax.plot(sizes, np.median(seen, axis=1), **look, label=name)
            ax.plot(sizes, seen, **{**look, "linestyle": ""}, alpha=0.4)
    axes[0].set(title="units rescaled", xlabel="size of the change", ylabel="validation accuracy")
    axes[1].set(title="weights disturbed", xlabel="size of the change", ylim=(0, 1.02))
    axes[0].legend(loc="lower left")


def steps(axes: Sequence[Axes], measured: Mapping[str, Steps]) -> None:
    """Against the share of the loss that one joint step takes: the share kept, and how far the gradient turns.

    A thin line for every seed, up to its largest gain, where a mark ends it.
    """
    for (name, result), look in zip(measured.items(), (PLAIN, NORMALISED), strict=True):
        for ax, values in zip(axes, (result.kept, result.whole), strict=True):
            for k, top in enumerate(result.joint.argmax(axis=0)):
                gain, value = result.joint[: top + 1, k], values[: top + 1, k]
                ax.plot(gain, value, **{**look, "marker": ""}, linewidth=1, alpha=0.6)
                ax.plot(gain[-1], value[-1], **{**look, "linestyle": ""}, label=name if k == 0 else None)
    for ax in axes:
        ax.set(xlabel="share of the loss taken by the step", xlim=(0, 0.62))
    axes[0].set(ylabel="share of the separate gains kept", ylim=(0.4, 1.05))
    axes[1].set(ylabel="cosine, gradient before and after", ylim=(-1, 1.1))
    axes[0].legend(loc="lower right")


def decay(axes: Sequence[Axes], result: Decay) -> None:
    """The two runs of one seed: their losses, and the length of their hidden weights."""
    at = np.arange(1, len(result.rates) + 1)
    axes[0].plot(at, result.decayed[:, 0], color=BLUE, marker="", linewidth=4, alpha=0.4, label="decay")
    axes[0].plot(at, result.scheduled[:, 0], color=RED, marker="", linestyle="--", label="rising rate")
    for (name, length), look in zip(result.lengths.items(), ("-", "--"), strict=True):
        axes[1].plot(at, length[:, 0], color=BLUE if name == "decayed" else RED, marker="", linestyle=look)
    axes[0].set(yscale="log", xlabel="step", ylabel="training loss (nats)")
    axes[1].set(xlabel="step", ylabel="length of the hidden weights", ylim=(0, None))
    axes[0].legend()


def ghosts(axes: Sequence[Axes], result: Mapping[int, Ghosts], rates: Sequence[float]) -> None:
    """Against the size of the group, relative to the whole batch: loss on unseen digits, and the largest reliance."""
    sizes = list(result)
    whole = result[max(sizes)]
    for ax, field in zip(axes, ("loss", "reliance"), strict=True):
        for k, (rate, look) in enumerate(zip(rates, (THIRD, NORMALISED), strict=True)):
            seen = np.array([getattr(result[size], field)[k] - getattr(whole, field)[k] for size in sizes])
            ax.plot(sizes, seen.mean(axis=1), **look, label=f"rate {rate:g}")
            ax.plot(sizes, seen, **{**look, "linestyle": ""}, alpha=0.35)
        ax.axhline(0, color=BLACK, linewidth=1, linestyle="--", marker="")
        ax.set_xscale("log", base=2)
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.set(xlabel="examples per group")
    axes[0].set_ylabel("loss − loss of whole batch (nats)")
    axes[1].set_ylabel("same, largest reliance (nats)")
    axes[0].legend(loc="upper right")


def shifts(ax: Axes, names: Sequence[str], accuracy: Mapping[str, np.ndarray]) -> Axes:
    """Test accuracy of every reader under every shift, one row a shift; every seed a dot, the median large."""
    for k, ((name, seen), look) in enumerate(zip(accuracy.items(), LOOKS, strict=False)):
        at = np.arange(len(names)) + 0.16 * (k - (len(accuracy) - 1) / 2)
        look = {**look, "linestyle": ""}
        ax.plot(seen, at[:, None] + 0 * seen, **look, alpha=0.35)
        ax.plot(np.median(seen, axis=1), at, **look, markersize=8, label=name)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xlabel="test accuracy", xlim=(-0.03, 1.03))
    ax.legend(loc="upper center", bbox_to_anchor=(0.42, 1.2), ncols=2)
    return ax


def depth(ax: Axes, lengths: Mapping[str, np.ndarray]) -> Axes:
    """The length of the gradient in every layer, relative to the last hidden one: a line for every seed."""
    looks = (PLAIN, NORMALISED, dict(color=SKY, linestyle=":"), {**THIRD, "linewidth": 1})
    for (name, length), look in zip(lengths.items(), looks, strict=True):
        at = np.arange(1, len(length) + 1)
        for k, line in enumerate(np.transpose(length / length[-1])):
            ax.plot(at, line, **{**look, "marker": ""}, label=name if k == 0 else None)
    ax.set(yscale="log", xlabel="layer", ylabel="gradient, relative to the last hidden layer")
    ax.legend()
    return ax
