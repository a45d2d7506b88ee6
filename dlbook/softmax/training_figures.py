"""The figures of the chapter on training a softmax classifier: arrays and an Axes in, Axes out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from dlbook.softmax.training_experiments import Calibrated, Rates
from dlbook.style import BLACK, BLUE, GREEN, ORANGE, RED

LOOKS = {
    "cross-entropy": dict(color=BLUE, marker="o", linestyle="-"),
    "softmax twice": dict(color=RED, marker="s", linestyle="--"),
    "squared error": dict(color=GREEN, marker="^", linestyle="-."),
}


def margin(
    axes: tuple[Axes, Axes], lead: np.ndarray, losses: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Loss and push on the right logit against its `lead` over the other; `losses[name]` is (loss, slope)."""
    for name, (loss, slope) in losses.items():
        axes[0].plot(lead, loss, label=name, markevery=20, **LOOKS[name])
        axes[1].plot(lead, -slope, markevery=20, **LOOKS[name])
    axes[0].set(xlabel="lead of the right logit", ylabel="loss", ylim=(-0.2, 6))
    axes[1].set(xlabel="lead of the right logit", ylabel="push on the right logit")
    axes[0].legend()


def rates(
    axes: tuple[Axes, Axes], at: dict[str, Sequence[float]], results: dict[tuple[str, str], Rates]
) -> None:
    """Validation accuracy against the learning rate, one panel an optimiser: every seed a dot, the median a line."""
    for ax, optimizer in zip(axes, at, strict=True):
        for name, look in LOOKS.items():
            accuracy = results[optimizer, name].accuracy
            ax.plot(at[optimizer], np.median(accuracy, axis=1), label=name, **look)
            every = np.repeat(at[optimizer], accuracy.shape[1])
            ax.plot(every, accuracy.ravel(), **{**look, "linestyle": ""}, alpha=0.35, markersize=3)
        ax.set(xscale="log", xlabel="learning rate", title=optimizer, ylim=(0, 1.02))
    axes[0].set_ylabel("validation accuracy")
    axes[0].legend(loc="lower left", fontsize=9)


def longer(axes: tuple[Axes, Axes], steps: Sequence[int], result: Calibrated) -> None:
    """Left, accuracy and confidence against the steps of training; right, loss before and after scaling."""
    left = (
        (result.accuracy, "accuracy", BLUE, "o", "-"),
        (result.confidence, "confidence", ORANGE, "s", "--"),
    )
    right = (
        (result.loss, "as trained", RED, "D", "-"),
        (result.scaled_loss, "temperature fitted", GREEN, "^", "--"),
    )
    for ax, lines in zip(axes, (left, right), strict=True):
        for values, name, colour, marker, dash in lines:
            ax.plot(steps, values.mean(axis=1), color=colour, marker=marker, linestyle=dash, label=name)
            every = np.repeat(steps, values.shape[1])
            ax.plot(
                every, values.ravel(), color=colour, marker=marker, linestyle="", alpha=0.35, markersize=3
            )
        ax.set(xscale="log", xlabel="steps of training")
        ax.set_xticks(steps, [str(step) for step in steps])
        ax.minorticks_off()
        ax.legend()
    axes[0].set_ylabel("share of the test digits")
    axes[1].set_ylabel("test cross-entropy (nats)")


def reliability(ax: Axes, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> Axes:
    """Accuracy against confidence, group by group: on the diagonal an answer is as often right as it claims."""
    ax.plot([0, 1], [0, 1], color=BLACK, linestyle=":", marker="")
    for (name, (confidence, accuracy)), (colour, marker) in zip(
        curves.items(), ((RED, "D"), (GREEN, "^")), strict=False
    ):
        ax.plot(confidence, accuracy, color=colour, marker=marker, label=name)
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0.2, 1.02), ylim=(0.2, 1.02), aspect="equal")
    ax.legend(loc="upper left", fontsize=9)
    return ax


def smoothing(axes: Sequence[Axes], at: Sequence[float], results: dict[str, Sequence[Calibrated]]) -> None:
    """Accuracy, and confidence minus accuracy, against the smoothing `at`: every split, and the mean."""
    for (name, row), (colour, marker) in zip(results.items(), ((BLUE, "o"), (RED, "s")), strict=False):
        accuracy = 100 * np.stack([result.accuracy[-1] for result in row])
        excess = 100 * np.stack([result.confidence[-1] - result.accuracy[-1] for result in row])
        for ax, values in zip(axes, (accuracy, excess), strict=True):
            ax.plot(at, values, color=colour, marker="", alpha=0.35, linewidth=1)
            ax.plot(at, values.mean(axis=1), color=colour, marker=marker, label=name)
    axes[1].axhline(0, color=BLACK, linestyle=":", linewidth=1, marker="")
    for ax, label in zip(axes, ("accuracy (%)", "confidence − accuracy (points)"), strict=True):
        ax.set(xlabel="label smoothing", ylabel=label)
    axes[0].legend(loc="center right", fontsize=9)


def reject(ax: Axes, curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> Axes:
    """Error among the answers that are given against the share that is given; one thin line a split."""
    for coverage, error in curves:
        ax.plot(100 * coverage, 100 * error, color=BLUE, marker="", alpha=0.4, linewidth=1)
    mean = np.mean([error for _, error in curves], axis=0)
    ax.plot(100 * curves[0][0], 100 * mean, color=BLACK, marker="", linewidth=2, label="mean of the splits")
    ax.set(xlabel="digits answered (%)", ylabel="wrong among them (%)", xlim=(60, 100.5), ylim=(-0.2, None))
    ax.legend(loc="upper left")
    return ax
