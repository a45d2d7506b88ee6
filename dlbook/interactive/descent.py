"""What the learning rate does to gradient descent on w² − 10 w + 25."""

from collections.abc import Sequence

import numpy as np

from dlbook.interactive.frame import Control, Slider, digits, svg, varies
from dlbook.interactive.plot import Plot, dot, marked, path, stroke
from dlbook.shapes import check_number
from dlbook.style import BLUE, RED
from dlbook.tensorflow_then_and_now.experiments import descend
from dlbook.tuning.ranking import check_whole

RATES = (
    0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75,
    0.8, 0.85, 0.9, 0.95, 0.97, 0.99, 1.0, 1.01, 1.03, 1.05,
)  # fmt: skip
LONG = 1000  # steps within which every rate that arrives has arrived


def steps_needed(rate: float, share: float = 0.01) -> int | None:
    """How many steps bring w to within `share` of its way from 0 to 5, for good; None where none do."""
    far = np.abs(descend(rate, LONG) - 5) > 5 * share * (1 + 1e-9)
    return None if far[-1] else int(np.flatnonzero(far)[-1]) + 1


def behaviour(rate: float) -> str:
    """In words, what the descent does."""
    if rate >= 1:
        return "It jumps to and fro for ever" if rate == 1 else "It jumps further out each time and diverges"
    if rate == 0.5:
        return "It arrives at once"
    return "It creeps up from one side" if rate < 0.5 else "It jumps across and rings"


def learning_rate(name: str, *, rates: Sequence[float] = RATES, start: int = 5, steps: int = 40) -> Slider:
    """Gradient descent from w = 0, `steps` steps: on the parabola, and against the step.

    `rates` are the positions of the slider, each in (0, 2); `start` the one where it stands at first. The read-out
    says by what each step multiplies the distance from 5, and after how many steps 1 % of it is left.
    """
    for rate in rates:
        check_number("rates", rate, 0, 2, open_low=True, open_high=True)
    check_whole("steps", steps, 1)
    rate = Control("Learning rate α", tuple(rates), start)
    paths = {value: descend(value, steps) for value in rates}

    bowl = Plot((-1, 11), (-2, 36), (26, 22, 280, 150))
    w = np.linspace(-1, 11, 61)
    left = svg(
        320, 206, "The parabola of the cost with the path of gradient descent from w = 0",
        bowl.axes({0: "0", 5: "5", 10: "10"}, {0: "0", 25: "25"}, xlabel="w", ylabel="cost"),
        bowl.inside(
            path(bowl.line(w, (w - 5) ** 2), **stroke("currentColor", 1, stroke_opacity=0.6)),
            dot(f"{name}-red", RED),
            path(varies(lambda a: bowl.line(paths[a], (paths[a] - 5) ** 2), rate), **marked(f"{name}-red", RED)),
        ),
    )  # fmt: skip

    time = Plot((0, steps), (-1, 11), (26, 22, 280, 150))
    count = np.arange(steps + 1)
    right = svg(
        320, 206, f"w against {steps} steps, with a line at its goal of 5",
        time.axes({0: "0", steps // 2: f"{steps // 2}", steps: f"{steps}"}, {0: "0", 5: "5", 10: "10"},
                  xlabel="step", ylabel="w"),
        time.inside(
            path(time.line((0, steps), (5, 5)), **stroke("currentColor", 1, stroke_dasharray="4 3")),
            dot(f"{name}-blue", BLUE),
            path(varies(lambda a: time.line(count, paths[a]), rate), **marked(f"{name}-blue", BLUE)),
        ),
    )  # fmt: skip

    def arrival(a: float) -> str:
        needed = steps_needed(a)
        if needed is None:
            return "the distance never falls to 1 %"
        return f"at most 1 % of the distance is left after {needed} step{'s' * (needed > 1)}"

    readout = [
        "Each step multiplies the distance from 5 by 1 − 2α = ",
        varies(lambda a: digits(1 - 2 * a, 2), rate),
        ". ",
        varies(behaviour, rate),
        ": ",
        varies(arrival, rate),
        ".",
    ]
    return Slider(name, [rate], [left, right], readout)
