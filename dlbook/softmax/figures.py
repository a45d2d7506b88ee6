"""The figures of the chapter on softmax: arrays and an Axes in, Axes out."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from dlbook.softmax.experiments import HEADS, Comparison, Confidence, InARow, Regions, TwoClasses, Underlined
from dlbook.style import BLACK, BLUE, COLOURS, MARKERS, ORANGE, RED


def temperatures(ax: Axes, at: np.ndarray, p: np.ndarray, names: Sequence[str]) -> Axes:
    """Probabilities `p` (temperatures, classes) against the temperatures `at` on a log axis."""
    for values, name in zip(p.T, names, strict=True):
        ax.plot(at, values, label=name, markevery=8)
    ax.axvline(1, color=BLACK, linestyle=":", linewidth=1, marker="")
    ax.axhline(1 / len(names), color=BLACK, linestyle="--", linewidth=1, marker="")
    ax.set(xscale="log", xlabel="temperature $T$", ylabel="probability", ylim=(-0.03, 1.03))
    ax.legend(ncols=2)
    return ax


def regions(ax: Axes, result: Regions, *, title: str, W=None, b=None, dots: int = 25) -> Axes:
    """The map of regions and some points of each class; with W and b also the line of every pair of classes."""
    classes, reach = int(result.y.max()) + 1, result.reach
    ax.imshow(
        result.winner,
        origin="lower",
        extent=(-reach, reach, -reach, reach),
        cmap=ListedColormap(COLOURS[:classes]),
        alpha=0.3,
        vmin=0,
        vmax=classes - 1,
        interpolation="nearest",
    )
    if W is not None:
        for i, j in itertools.combinations(range(classes), 2):
            w, c = W[:, i] - W[:, j], b[i] - b[j]
            ax.axline(
                -c * w / (w @ w), slope=-w[0] / w[1], color=BLACK, linewidth=0.7, linestyle=":", marker=""
            )
    for k in range(classes):
        some = result.x[result.y == k][:dots]
        ax.scatter(*some.T, s=9, color=COLOURS[k], marker=MARKERS[k], linewidths=0)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=title)
    ax.set(xlabel="feature 1", ylabel="feature 2")
    ax.grid(visible=False)
    return ax


def two_classes(ax: Axes, result: TwoClasses, k: int) -> Axes:
    """Softmax's w1 - w0 against the weights of logistic regression at penalty number `k`, all seeds."""
    x = result.logistic[k].ravel()
    low, high = 1.4 * x.min(), 1.4 * x.max()
    ax.plot([low, high], [low, high], color=BLACK, linewidth=1, linestyle="--", marker="")
    look = dict(linestyle="", markersize=4)
    ax.plot(x, result.same[k].ravel(), **look, color=RED, marker="s", label="the same penalty")
    ax.plot(x, result.doubled[k].ravel(), **look, color=BLUE, marker="o", label="the penalty doubled")
    ax.set(xlabel="weight in logistic regression", ylabel="$w_1 - w_0$ in softmax regression")
    ax.legend()
    return ax


def heads(axes: tuple[Axes, Axes], results: dict[str, Comparison]) -> None:
    """Test error of the three heads, one panel a data set: each split a line that joins its three points."""
    for ax, (name, result) in zip(axes, results.items(), strict=True):
        error = 100 * (1 - result.accuracy)
        shift = np.linspace(-0.12, 0.12, error.shape[1])
        for k, column in enumerate(error.T):
            ax.plot(np.arange(3) + shift[k], column, color=BLUE, marker="o", alpha=0.5, linewidth=0.8)
        ax.plot(
            range(3),
            error.mean(axis=1),
            color=BLACK,
            marker="_",
            markersize=22,
            markeredgewidth=2,
            linestyle="",
        )
        ax.set_xticks(range(3), [head.replace(" ", "\n").replace("-vs-", "\nvs ") for head in HEADS])
        ax.set(title=f"{name}, {error.shape[1]} splits", xlim=(-0.4, 2.4), ylim=(-0.5, None))
    axes[0].set_ylabel("test error (%)")


def in_a_row(axes: tuple[Axes, Axes], result: InARow) -> None:
    """The probabilities of three classes on a line: of one softmax, and of three sigmoids that stand alone."""
    for ax, p, title in (
        (axes[0], result.p_softmax, "one softmax"),
        (axes[1], result.p_one_vs_rest, "three sigmoids"),
    ):
        for k in range(3):
            ax.plot(
                result.at,
                p[:, k],
                color=COLOURS[k],
                marker=MARKERS[k],
                markevery=(4 * k, 16),
                label=f"class {k}",
            )
            x = result.x[result.y == k]
            ax.plot(x, np.full(len(x), -0.06 - 0.04 * k), "|", color=COLOURS[k], markersize=5)
        ax.set(xlabel="feature", title=title, ylim=(-0.2, 1.03))
    axes[0].set_ylabel("probability")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)


def underlined(axes: tuple[Axes, Axes, Axes], result: Underlined) -> None:
    """An underlined digit, and what each head gives to its two right labels; every dot a test digit."""
    axes[0].imshow(result.pictures[1], cmap="gray_r", vmin=0, vmax=1)
    axes[0].set_axis_off()
    axes[0].set_title("a digit")
    for ax, p, title in (
        (axes[1], result.one_softmax, "one softmax"),
        (axes[2], result.two_heads, "two heads"),
    ):
        for k, (seed, colour) in enumerate(zip(p, itertools.cycle(COLOURS[:5]), strict=False)):
            ax.plot(*seed.T, linestyle="", color=colour, marker=MARKERS[k % 5], markersize=3, alpha=0.5)
        for line in (ax.axvline, ax.axhline):
            line(0.5, color=BLACK, linestyle="--", linewidth=1, marker="")
        ax.set(xlabel="P(right digit)", title=title, xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
    axes[1].set_ylabel("P(underlined)")


def confidence(ax: Axes, penalties: Sequence[float], result: Confidence) -> Axes:
    """Accuracy and mean confidence against the penalty: every split a dot, the mean a line."""
    for values, name, colour, marker, dash in (
        (result.accuracy, "accuracy", BLUE, "o", "-"),
        (result.confidence, "mean confidence", ORANGE, "s", "--"),
    ):
        ax.plot(penalties, values.mean(axis=0), color=colour, marker="", linestyle=dash)
        every = np.broadcast_to(penalties, values.shape).ravel()
        ax.plot(every, values.ravel(), color=colour, marker=marker, linestyle="", alpha=0.7, label=name)
    ax.set(xscale="log", xlabel="penalty λ", ylabel="share of the test digits", ylim=(0, 1.03))
    ax.legend(loc="lower left")
    return ax
