"""The figures of the chapter before tuning: arrays and an Axes in, Axes out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from dlbook.before_tuning.experiments import RUNGS, Control, InitialLoss, Ladder, Late
from dlbook.style import BLACK, BLUE, GREEN, MARKERS, ORANGE, RED

LOG_TEN = np.log(10)


def box(axes: Sequence[Axes], image: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
    """A digit (64,), and the ten numbers that the sealed box gives for it, one panel for each of `outputs`."""
    axes[0].imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    axes[0].set_axis_off()
    axes[0].set_title("an image")
    for ax, (name, p) in zip(axes[1:], outputs.items(), strict=True):
        ax.bar(range(10), p, color=BLUE)
        ax.axhline(0.1, color=BLACK, linestyle="--", linewidth=1, marker="")
        ax.set(title=name, xlabel="digit", ylim=(0, 1.03), xticks=range(10))
    axes[1].set_ylabel("output")


def initial_loss(ax: Axes, result: InitialLoss) -> Axes:
    """The loss before training against the spread of the logits: every network a dot, the formula a line."""
    spread = np.linspace(0, 1.05 * result.spread.max(), 101)
    ax.plot(
        spread,
        LOG_TEN + spread**2 / 2,
        color=BLACK,
        linestyle="--",
        marker="",
        label=r"$\log 10 + \sigma^2/2$",
    )
    ax.plot(
        result.spread.ravel(),
        result.loss.ravel(),
        linestyle="",
        marker="o",
        color=BLUE,
        alpha=0.6,
        label="networks",
    )
    ax.axhline(LOG_TEN, color=RED, linewidth=1, linestyle=":", marker="", label="log 10")
    ax.set(
        xlabel=r"spread $\sigma$ of the first logits",
        ylabel="loss before training (nats)",
        ylim=(2, 1.05 * result.loss.max()),
    )
    ax.legend(loc="upper left")
    return ax


def sanity(axes: tuple[Axes, Axes], loss: np.ndarray, control: Control) -> None:
    """A handful of digits learned by heart, (steps, seeds); and validation accuracy on right and shuffled labels."""
    steps = np.arange(1, len(loss) + 1)
    axes[0].semilogy(steps, loss, color=BLUE, marker="", linewidth=1)
    axes[0].axhline(LOG_TEN, color=RED, linewidth=1, linestyle=":", marker="")
    axes[0].set(xlabel="step", ylabel="loss on 20 digits (nats)", title="learn 20 digits by heart")
    for values, name, colour, marker in (
        (control.right, "right labels", BLUE, "o"),
        (control.shuffled, "shuffled labels", RED, "s"),
    ):
        for k, line in enumerate(values.T):
            label = name if k == 0 else None
            axes[1].plot(
                control.steps, line, color=colour, marker=marker, linewidth=0.8, alpha=0.6, label=label
            )
    axes[1].axhline(0.1, color=BLACK, linewidth=1, linestyle="--", marker="")
    axes[1].set(xlabel="step", ylabel="validation accuracy", title="shuffle the labels", ylim=(0, 1.02))
    axes[1].legend(loc="center right")


def ladder(ax: Axes, result: Ladder) -> Axes:
    """Test error of every rung, on a log axis: each split a line that joins its points, the mean a bar."""
    error, rungs = 100 * (1 - result.accuracy), np.arange(len(RUNGS))
    shift = np.linspace(-0.15, 0.15, error.shape[1])
    for k, line in enumerate(error.T):
        ax.plot(line, rungs + shift[k], color=BLUE, marker="o", markersize=3.5, alpha=0.45, linewidth=0.7)
    look = dict(color=BLACK, marker="|", markersize=18, markeredgewidth=2, linestyle="")
    ax.plot(error.mean(axis=1), rungs, **look)
    ax.set_yticks(rungs, RUNGS)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    ax.minorticks_off()
    ax.set(xlabel=f"test error (%), {error.shape[1]} splits")
    return ax


def luck(axes: tuple[Axes, Axes], kinds: dict[str, np.ndarray], *, n: int = 360) -> None:
    """Test accuracy of one configuration: above, the first of `kinds` with the textbook's curve; below, all of them.

    The curve is a normal one with the mean of the runs and the standard error of an accuracy counted on `n` digits.
    """
    name, values = next(iter(kinds.items()))
    mean = values.mean()
    error = np.sqrt(mean * (1 - mean) / n)
    bins = (np.arange(np.floor(n * values.min()) // 4, n // 4 + 1) * 4 - 0.5) / n
    axes[0].hist(values, bins=bins, color=BLUE, alpha=0.7, label=f"{len(values)} runs")
    at = np.linspace(mean - 4 * error, min(1, mean + 4 * error), 201)
    curve = np.exp(-(((at - mean) / error) ** 2) / 2) / (error * np.sqrt(2 * np.pi))
    label = "what $\\sqrt{p(1-p)/n}$\nmakes one expect"
    axes[0].plot(at, len(values) * 4 / n * curve, color=RED, linestyle="--", marker="", label=label)
    axes[0].set(ylabel="runs", title=name)
    axes[0].legend(loc="upper left")
    rng = np.random.default_rng(0)
    for k, (values, colour) in enumerate(zip(kinds.values(), (BLUE, ORANGE, GREEN), strict=False)):
        height = k + rng.uniform(-0.3, 0.3, len(values))
        axes[1].plot(values, height, linestyle="", marker=MARKERS[k], markersize=3, alpha=0.35, color=colour)
        axes[1].plot(values.mean(), k, color=BLACK, marker="|", markersize=18, markeredgewidth=2)
    axes[1].set_yticks(range(len(kinds)), kinds)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="test accuracy")


def missed(ax: Axes, counts: Sequence[int], shares: dict[str, np.ndarray]) -> Axes:
    """The share of studies that miss the better arm, against the number of seeds; one line for each of `shares`."""
    looks = ((RED, "s", "--"), (RED, "s", "-"), (BLUE, "o", "--"), (BLUE, "o", "-"))
    for (name, values), (colour, marker, dash) in zip(shares.items(), looks, strict=True):
        ax.plot(counts, 100 * values, label=name, color=colour, marker=marker, linestyle=dash)
    ax.set_xscale("log")
    ax.set_xticks(counts, [str(n) for n in counts])
    ax.minorticks_off()
    ax.set(xlabel="seeds in each arm", ylabel="studies that miss the better arm (%)", ylim=(-1, None))
    ax.legend()
    return ax


def late(axes: tuple[Axes, Axes], result: Late, *, start: int) -> None:
    """Validation loss and error since step `start`: every split a thin line, the mean a thick one."""
    first, later = list(result.steps).index(start), result.steps >= start
    for ax, values, label, colour in (
        (axes[0], result.loss, "change of the loss (nats)", BLUE),
        (axes[1], 100 * (1 - result.accuracy), "change of the error (points)", RED),
    ):
        change = (values - values[first])[later]
        ax.plot(result.steps[later], change, color=colour, marker="", linewidth=0.8, alpha=0.6)
        ax.plot(result.steps[later], change.mean(axis=1), color=BLACK, marker="o")
        ax.axhline(0, color=BLACK, linewidth=1, linestyle="--", marker="")
        ax.set(xlabel="step", ylabel=label)


def leaks(axes: tuple[Axes, Axes], train: Sequence[int], scaler: np.ndarray, selection: np.ndarray) -> None:
    """What a scaler that saw the test rows gains, (train sizes, seeds); and a selection that saw them, (2, seeds).

    A bar is two standard errors over the seeds to either side of the mean.
    """
    gain = 100 * scaler
    error = 2 * gain.std(axis=1, ddof=1) / np.sqrt(gain.shape[1])
    at = range(len(train))
    axes[0].errorbar(at, gain.mean(axis=1), error, color=BLUE, marker="o", linestyle="", capsize=4)
    axes[0].axhline(0, color=BLACK, linewidth=1, linestyle="--", marker="")
    axes[0].set_xticks(at, [str(n) for n in train])
    axes[0].set(xlabel="training rows", ylabel="gain in test accuracy (points)", title="scaler on all rows")
    shift = np.linspace(-0.1, 0.1, selection.shape[1])
    for k, pair in enumerate(selection.T):
        axes[1].plot(np.arange(2) + shift[k], 100 * pair, color=RED, marker="s", linewidth=0.7, alpha=0.6)
    axes[1].axhline(50, color=BLACK, linewidth=1, linestyle="--", marker="")
    axes[1].set_xticks(range(2), ["chosen on\nall rows", "chosen on\ntraining rows"])
    axes[1].set(
        ylabel="accuracy on coin flips (%)", title="selection of features", xlim=(-0.4, 1.4), ylim=(25, 100)
    )
