"""The argument checks that the three frameworks share."""

from typing import Any

import numpy as np

from dlbook.frameworks import to_numpy
from dlbook.mlp import Params, RunningStatistics
from dlbook.shapes import check_floating, dtype_name, shape_of


def layers(params: Params) -> int:
    """How many dense layers there are, the last one included."""
    return sum(name.startswith("W") for name in params)


def check_inputs(params: Params, x: Any, y: Any | None = None) -> None:
    """`x` must fit the first layer and hold a row; `y` must have one label per row of `x`."""
    first, shape = shape_of(params["W1"]), shape_of(x)
    check_floating("x", x.dtype)
    if x.dtype != params["W1"].dtype:
        raise TypeError(
            f"x must have the dtype of the weights, {dtype_name(params['W1'].dtype)}, "
            f"got {dtype_name(x.dtype)}: convert it"
        )
    if len(shape) < 2 or (None not in (shape[-1], first[-2]) and shape[-1] != first[-2]):
        raise ValueError(
            f"x must be (..., batch, features) with {first[-2]} features, as W1 has, got shape {shape}"
        )
    if shape[-2] == 0:
        raise ValueError(f"x must hold at least one row, got shape {shape}")
    if not _fits(shape[:-2], first[:-2]):
        raise ValueError(f"x of shape {shape} has leading axes that W1 of shape {first} lacks")
    if y is not None:
        _check_labels_shape(shape_of(y), shape, first[:-2])


def check_running(running: RunningStatistics | None) -> RunningStatistics:
    """At test time batch norm needs statistics that were measured before."""
    if running is None:
        raise ValueError(
            "running must hold the statistics of each batch norm layer when training is False, got None: "
            "try running=precise_running(params, x_train)"
        )
    return running


def check_fit(params: Params, x: Any, y: Any, steps: int, record_every: int | None) -> None:
    """The data of `fit` as a whole, labels included, before the first step is taken."""
    check_inputs(params, x, y)
    check_labels(y, shape_of(params[f"W{layers(params)}"])[-1])
    for name, value in (("steps", steps), ("record_every", record_every)):
        if value is not None and (not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_labels(y: Any, classes: int) -> None:
    """Whole numbers in [0, classes)."""
    y = to_numpy(y)
    if y.dtype.kind not in "iu":
        raise TypeError(f"y must hold whole numbers, got {y.dtype}: try y.astype('int64')")
    if y.size and not 0 <= y.min() <= y.max() < classes:
        raise ValueError(
            f"y must lie in [0, {classes}), the classes of the last layer, got {y.min()} to {y.max()}"
        )


def _check_labels_shape(y: tuple, x: tuple, models: tuple) -> None:
    if not y or (None not in (y[-1], x[-2]) and y[-1] != x[-2]):
        raise ValueError(f"y must have one label per row of x, {x[-2]}, got shape {y}")
    if not _fits(y[:-1], models):
        raise ValueError(f"y of shape {y} has leading axes that the weights, {models}, lack")


def _fits(leading: tuple, models: tuple) -> bool:
    """True when `leading` broadcasts to `models` without making it longer."""
    tail = models[len(models) - len(leading) :]
    return len(leading) <= len(models) and all(n in (1, m, None) for n, m in zip(leading, tail, strict=True))
