"""How a running average follows the mean of the batches, by decay and by number of steps."""

from collections.abc import Sequence

import numpy as np

from dlbook.batch_norm.test_time_experiments import corrected
from dlbook.batch_norm.test_time_experiments import running_average as weights
from dlbook.interactive.frame import Control, Slider, digits, px, svg, tag, varies
from dlbook.interactive.plot import Plot, dotted, key, path, stroke
from dlbook.shapes import check_number
from dlbook.style import BLUE, ORANGE, RED
from dlbook.tuning.ranking import check_whole

DECAYS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
STEPS = (1, 2, 3, 4, 5, 7, 10, 14, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
NOISE = 0.6  # standard deviation of a batch's mean


def drifting(t: np.ndarray) -> np.ndarray:
    """The true mean while the network before it learns: from 2 towards 4, two thirds of the way in 30 steps."""
    return 4 - 2 * np.exp(-np.asarray(t) / 30)


def running_average(
    name: str,
    *,
    decays: Sequence[float] = DECAYS,
    steps: Sequence[int] = STEPS,
    start: tuple[int, int] = (6, 9),
    seed: int = 0,
) -> Slider:
    """The running average of a noisy, drifting mean, from 0, with and without bias correction.

    Two sliders: one of `decays`, each in [0, 1), and the number of batches so far, one of `steps`; `start` holds the
    positions where they stand at first. `seed` draws the noise. Below the curves, how much each batch counts.
    """
    for decay in decays:
        check_number("decays", decay, 0, 1, open_high=True)
    for t in steps:
        check_whole("steps", t, 1)
    last = max(steps)
    batches = np.arange(1, last + 1)
    seen = drifting(batches) + NOISE * np.random.default_rng(seed).standard_normal(last)
    kept = {d: [float(weights(t, d) @ seen[:t]) for t in batches] for d in decays}
    unbiased = {d: [float(corrected(t, d) @ seen[:t]) for t in batches] for d in decays}
    d_control = Control("Decay d", tuple(decays), start[0])
    t_control = Control("Batches so far t", tuple(steps), start[1])

    plot = Plot((0, last), (0, 6), (26, 22, 300, 180))
    before = varies(lambda t: px(plot.across(t) + 2), t_control)
    looks = (
        (dotted("currentColor", 3, stroke_opacity=0.55), "mean of a batch"),
        (stroke("currentColor", 1.2, stroke_dasharray="4 3"), "true mean"),
        (stroke(RED), "running average"),
        (stroke(BLUE, stroke_dasharray="7 2"), "corrected"),
    )
    ticks = {0: "0", last // 2: f"{last // 2}", last: f"{last}"}
    means = svg(
        340, 236, "Means of batches, their true mean, and the running average up to the chosen batch",
        plot.axes(ticks, {0: "0", 2: "2", 4: "4", 6: "6"}, ylabel="mean", xlabel="batch"),
        plot.inside(
            path(plot.dots(batches, seen), **looks[0][0]),
            path(plot.line(batches, drifting(batches)), **looks[1][0]),
        ),
        plot.inside(
            path(varies(lambda d: plot.line([0, *batches], [0, *kept[d]]), d_control), **looks[2][0]),
            path(varies(lambda d: plot.line(batches, unbiased[d]), d_control), **looks[3][0]),
            width=before,
        ),
        key(190, 138, looks),
    )  # fmt: skip

    memory, whole = Plot((0, last), (0, 1), (26, 22, 300, 60)), Plot((0, 1), (0, 1), (26, 138, 300, 16))
    shape = path(varies(lambda d: _memory(memory, d, last), d_control), fill=ORANGE, fill_opacity=0.75)
    weight = svg(
        340, 188, "The weight of each batch in the running average, and the weight that its start keeps",
        memory.axes(ticks, {0: "0", 1: "1"}, ylabel="weight of each batch, the newest as 1", xlabel="batch"),
        memory.inside(
            tag("g", shape, transform=varies(lambda t: f"translate({px(memory.across(t))})", t_control))
        ),
        whole.axes({0: "0", 0.5: "½", 1: "1"}, {}, ylabel="weight that the start keeps"),
        whole.inside(
            tag("rect", x=0, y=0, height=16, fill=RED,
                width=varies(lambda d, t: px(whole.across(d**t)), d_control, t_control)),
        ),
    )  # fmt: skip
    readout = [
        "The start, which is 0, keeps ",
        varies(lambda d, t: _share(d**t), d_control, t_control),
        " of the weight, and the first batch has ",
        varies(lambda d, t: _share(float(weights(t, d)[0])), d_control, t_control),
        ". The average is ",
        varies(lambda d, t: digits(kept[d][t - 1], 2), d_control, t_control),
        ", corrected ",
        varies(lambda d, t: digits(unbiased[d][t - 1], 2), d_control, t_control),
        "; the true mean is ",
        varies(lambda t: digits(float(drifting(t)), 2), t_control),
        ". Corrected, it is as quiet as a plain mean of ",
        varies(lambda d, t: digits(1 / float(np.sum(corrected(t, d) ** 2)), 1), d_control, t_control),
        " batches.",
    ]
    return Slider(name, [d_control, t_control], [means, weight], readout)


def _share(share: float) -> str:
    return digits(100 * share, 1) + " %"


def _memory(plot: Plot, decay: float, last: int) -> str:
    """The area below the weights of the batches before the newest, which is at 0; a batch reaches from i − 1 to i."""
    newest = -np.arange(last)
    relative = weights(last, decay)[::-1] / (1 - decay)
    return plot.line([0, *newest, -last], [0, *relative, 0]) + "z"
