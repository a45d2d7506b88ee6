"""The sliders as the chapters make them: for each chapter a function that makes its slider again.

Further arguments, such as another start, are passed on.
"""

from collections.abc import Callable
from functools import partial

from dlbook import data, interactive
from dlbook.interactive import Slider

CLOUDS = data.blobs(0, classes=3, spread=1.0)
IN_CHAPTERS: dict[str, Callable[..., Slider]] = {
    "softmax": partial(interactive.temperature, "slider-temperature", *CLOUDS),
    "scales": partial(interactive.sampling, "slider-sampling", n=30, seeds=8),
    "tuning_process": partial(interactive.grid_and_random, "slider-grid-and-random", seeds=200),
    "test_time_batch_norm": partial(interactive.running_average, "slider-running-average", seed=0),
    "tensorflow_then_and_now": partial(interactive.learning_rate, "slider-learning-rate"),
}
